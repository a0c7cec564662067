"""Files that a browser cannot show, through the painting server: opened, seen in a window, saved as what they are."""

from __future__ import annotations

import io
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import Browser, expect
from translatekit_tools.paint.files import KEPT

from tests.tools.paint.serving import Negative, served
from translatekit.image_spec import ImageSpec, labels_spec, levels_spec
from translatekit.images import read_image

SIDE = 32
CT = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1000, 1000, unit="HU")
BANDS = levels_spec(13, "uint16")


class Scanner(Negative):
    """The negative of values around 0."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return -batch


class Bands(Negative):
    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return (1 - batch[..., :4]).astype(np.float32)


class Reader(Negative):
    """From class numbers to gray."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return batch * np.uint8(10)


@pytest.fixture(scope="module")
def scanner() -> Iterator[str]:
    with served(Scanner(input=CT, output=CT, data={}, size_multiple=8), palette=None) as address:
        yield address


def opened(address: str, data: bytes, **query: Any) -> dict[str, Any]:
    url = f"{address}/open?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, data, method="POST")) as answer:
        return dict(json.load(answer))


def got(address: str, path: str, **query: Any) -> Any:
    return urllib.request.urlopen(f"{address}/{path}?{urllib.parse.urlencode(query)}")


def look(address: str, **query: Any) -> np.ndarray:
    with got(address, "shown", **query) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())))


def scan(**options: Any) -> bytes:
    values = np.linspace(-1000, 1000, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.int16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def test_values_are_seen_in_a_window_and_saved_in_their_unit(scanner: str) -> None:
    file = opened(scanner, scan(resolution=(25, 25), resolutionunit="CENTIMETER"), name="head.tif")
    assert (file["pages"], file["width"], file["height"]) == (1, SIDE, SIDE)
    before, after = (look(scanner, id=file["id"], side=side) for side in ("before", "after"))
    assert before.shape == (SIDE, SIDE, 3)
    assert np.abs(before.astype(int) - (255 - after)).max() <= 1
    narrow = look(scanner, id=file["id"], side="before", level=0, width=200)
    assert (narrow == 0).mean() == pytest.approx(0.45, abs=0.02)
    assert (narrow == 255).mean() == pytest.approx(0.45, abs=0.02)
    with got(scanner, "file", id=file["id"]) as answer:
        assert answer.headers["content-disposition"].endswith("head-translated.tif")
        made = answer.read()
    image = read_image(made)
    assert image.pixels.dtype == np.int16
    np.testing.assert_array_equal(image.pixels, -read_image(scan()).pixels)
    with tifffile.TiffFile(io.BytesIO(made)) as tiff:
        assert tiff.pages.first.resolution[0] == pytest.approx(25)


def test_thirteen_bands_of_16_bits_are_opened(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (SIDE, SIDE, 13)).astype(np.uint16)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric="minisblack", planarconfig="contig")
    model = Bands(input=BANDS, output=levels_spec(4, "uint16"), data={}, size_multiple=8)
    with served(model, palette=None) as address:
        with got(address, "model") as answer:
            about = json.load(answer)
        assert (about["draw"], about["browser"], about["mode"]) == (False, False, "photo")
        file = opened(address, buffer.getvalue(), name="scene.tif")
        assert look(address, id=file["id"], side="before").shape == (SIDE, SIDE, 3)
        with got(address, "file", id=file["id"]) as answer:
            image = read_image(answer.read())
    assert image.pixels.dtype == np.uint16
    np.testing.assert_allclose(image.pixels, 65535 - pixels[:, :, :4].astype(int), atol=1)


def test_slices_of_a_volume_are_turned_over(scanner: str, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((SIDE, SIDE, 5), np.int16) + np.arange(5, dtype=np.int16) * 100
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "body.nii.gz")
    data = (tmp_path / "body.nii.gz").read_bytes()
    file = opened(scanner, data, name="body.nii.gz")
    assert (file["pages"], file["page"]) == (5, 2)  # the middle one
    other = opened(scanner, b"", id=file["id"], page=4)
    assert other["page"] == 4
    with got(scanner, "file", id=other["id"]) as answer:
        assert answer.headers["content-disposition"].endswith("body-0005-translated.tiff")
        assert (read_image(answer.read()).pixels == -400).all()


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("shown", {"id": "x"}, 404, "not open any more"),
        ("shown", {"side": "beside"}, 422, "neither before nor after"),
        ("shown", {"width": "nan"}, 422, "is no number"),
        ("shown", {"width": "-5", "level": "0"}, 422, "above 0"),
        ("file", {"id": "../../etc/passwd"}, 404, "not open any more"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(
    scanner: str, path: str, query: dict[str, str], status: int, words: str
) -> None:
    file = opened(scanner, scan(), name="head.tif")
    with pytest.raises(urllib.error.HTTPError) as failed:
        got(scanner, path, **{"id": file["id"], **query})
    assert failed.value.code == status
    assert words in json.load(failed.value)["error"]


@pytest.mark.parametrize(
    ("name", "data"), [("a.dcm", b"DICM"), ("a.tif", b"II*\0"), ("", b""), ("a.nii", b"x" * 400)]
)
def test_damaged_files_are_a_sentence(scanner: str, name: str, data: bytes) -> None:
    with pytest.raises(urllib.error.HTTPError) as failed:
        opened(scanner, data, name=name)
    assert failed.value.code == 422
    assert json.load(failed.value)["error"]


def test_only_the_last_files_are_kept(scanner: str) -> None:
    first = opened(scanner, scan(), name="head.tif")["id"]
    for _ in range(KEPT):
        last = opened(scanner, scan(), name="head.tif")["id"]
    look(scanner, id=last)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        look(scanner, id=first)


def test_maps_of_classes_are_drawn_in_their_colours() -> None:
    classes = labels_spec([0, 7, 9], ["sky", "road", "tree"])
    model = Reader(input=classes, output=levels_spec(1), data={}, size_multiple=8)
    with served(model, palette=None) as address:
        with got(address, "model") as answer:
            about = json.load(answer)
        assert (about["draw"], about["mode"]) == (True, "paint")
        assert [item["name"] for item in about["palette"]] == ["sky", "road", "tree"]
        colours = np.array([item["color"] for item in about["palette"]], np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(np.repeat(colours[None], 8, axis=0)).save(buffer, "PNG")
        url = f"{address}/translate"
        with urllib.request.urlopen(urllib.request.Request(url, buffer.getvalue(), method="POST")) as answer:
            drawn = np.asarray(Image.open(io.BytesIO(answer.read())))
    assert drawn[0].tolist() == [0, 70, 90]


def test_the_page_shows_a_scan_in_a_window(scanner: str, browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(scanner)
    expect(page.locator("#drop-words")).to_contain_text("1 channel (CT) of int16, -1000 to 1000 HU")
    expect(page.locator(".tabs")).to_be_hidden()
    (tmp_path / "head.tif").write_bytes(scan())
    with page.expect_file_chooser() as chooser:
        page.click("#photo-open")
    chooser.value.set_files(tmp_path / "head.tif")
    expect(page.locator("#photo-save")).to_be_enabled()
    expect(page.locator("#window-before output").first).to_have_text("0 HU")
    dark = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 32, 32).data).filter(v => v === 0).length"
    before = page.locator("#before").evaluate(dark)
    page.locator("#window-before input").last.fill("200")
    page.wait_for_function(
        f"before => ({dark})(document.getElementById('before')) > before + 500", arg=before
    )
    with page.expect_download() as download:
        page.click("#photo-save")
    assert download.value.suggested_filename == "head-translated.tif"
    np.testing.assert_array_equal(
        tifffile.imread(download.value.path()), -tifffile.imread(tmp_path / "head.tif")
    )
    folder = Path(os.environ.get("TRANSLATEKIT_TEST_ARTEFACTS", tmp_path)) / "paint"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / "window.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=folder / "window-phone.png")
    assert not faults
    page.close()
