"""TIFFs of several pages, and the depth of what is written."""

from __future__ import annotations

from dataclasses import replace
from itertools import starmap
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import translatekit
from tests.fakes import Told
from translatekit.errors import TranslatekitError
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, levels_spec
from translatekit.images import (
    count_pages,
    encode_image,
    fit_image,
    image_of,
    read_image,
    read_levels,
    write_pages,
)
from translatekit.images.image import with_alpha
from translatekit.inference.inputs import cut_to_8_bits
from translatekit.inference.tiles import TiledTranslator
from translatekit.model_info import ModelInfo


class Inverse:
    """A translator to the negative."""

    def __init__(self, dtypes: tuple[str, ...] = ("uint8", "float32"), **info: object) -> None:
        self.info = ModelInfo(**{"method": "test", "generator": "inverse", "size_multiple": 4} | info)  # type: ignore[arg-type]
        self.dtypes = dtypes
        self.seen: set[str] = set()

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.seen.add(batch.dtype.name)
        return 255 - batch if batch.dtype == np.uint8 else 1 - batch


def noise(height: int, width: int, channels: int, dtype: type, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 65536, (height, width, channels))
    return (values // 257).astype(np.uint8) if dtype is np.uint8 else (values / 65535).astype(np.float32)


PAGES = [
    (noise(20, 30, 3, np.uint8), None),
    (noise(41, 17, 1, np.float32, 1), None),
    (noise(8, 9, 3, np.float32, 2), noise(8, 9, 1, np.float32, 3)[:, :, 0]),
    (noise(20, 30, 1, np.uint8, 4), noise(20, 30, 1, np.uint8, 5)[:, :, 0]),
]


@pytest.mark.parametrize("suffix", [".tif", ".tiff"])
def test_every_page_is_translated_at_its_own_size_and_depth(tmp_path: Path, suffix: str) -> None:
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    write_pages(source, starmap(image_of, PAGES), compression=4)
    summary = translatekit.translate(source, Inverse(), out)
    assert summary.translated == 1
    assert count_pages(out) == len(PAGES)
    for number, (pixels, alpha) in enumerate(PAGES):
        again = read_levels(out, 3, page=number)
        wanted = np.broadcast_to(pixels, again.pixels.shape)
        assert again.pixels.dtype == pixels.dtype
        negative = 255 - wanted if wanted.dtype == np.uint8 else 1 - wanted
        np.testing.assert_allclose(
            again.pixels, negative, rtol=0, atol=1.01 / 65535 if wanted.dtype != np.uint8 else 0
        )
        assert (again.alpha is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(again.alpha, alpha)
    with tifffile.TiffFile(out) as tiff:  # and another reader sees the same pages
        assert [page.shape[:2] for page in tiff.pages] == [pixels.shape[:2] for pixels, _ in PAGES]
    assert translatekit.translate(source, Inverse(), out, force=True).translated == 1


def test_a_file_of_pages_is_entered_into_the_manifest(tmp_path: Path) -> None:
    from translatekit_tools.bulk.manifest import Manifest

    write_pages(tmp_path / "in.tif", starmap(image_of, PAGES[:2]), compression=0)
    first = translatekit.translate(tmp_path / "in.tif", Inverse(), tmp_path / "out")
    assert first.outputs == [tmp_path / "out" / "in.tif"]
    assert Manifest(tmp_path / "out").source_of(tmp_path / "out" / "in.tif").resolve() == tmp_path / "in.tif"


def test_thumbnails_and_masks_are_no_pages(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.full((4, 6), 9, np.uint8), subfiletype=1, contiguous=False)
        tiff.write(np.full((16, 24), 100, np.uint8), contiguous=False)
        tiff.write(np.full((8, 12), 50, np.uint8), subfiletype=1, contiguous=False)
        tiff.write(np.ones((16, 24), bool), subfiletype=4, contiguous=False)
        tiff.write(np.full((12, 20), 200, np.uint8), subfiletype=2, contiguous=False)
    assert count_pages(path) == 2
    assert read_levels(path).pixels.shape == (16, 24, 1)
    assert read_levels(path, page=1).pixels.max() == 200
    translatekit.translate(path, Inverse(), tmp_path / "out.tif")
    assert count_pages(tmp_path / "out.tif") == 2


def test_a_page_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_pages(tmp_path / "in.tif", starmap(image_of, PAGES[:2]), compression=0)
    with pytest.raises(TranslatekitError, match="2 pages, and no page 3"):
        read_levels(tmp_path / "in.tif", page=2)
    with pytest.raises(TranslatekitError, match="no page 2"):
        read_levels(encode_image(image_of(*PAGES[0]), ".png"), page=1)


def test_a_damaged_page_fails_the_file_and_leaves_no_output(tmp_path: Path) -> None:
    source = tmp_path / "in.tif"
    write_pages(source, starmap(image_of, PAGES[:3]), compression=4)
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages[1]
        place, length = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(source.read_bytes())
    data[place : place + length] = bytes(length)
    source.write_bytes(data)
    summary = translatekit.translate(source, Inverse(), tmp_path / "out")
    assert len(summary.failed) == 1
    assert [path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".tif"] == []


@pytest.mark.parametrize("output", ["out.png", "out.jpg"])
def test_pages_that_the_output_cannot_hold_are_said(tmp_path: Path, output: str) -> None:
    write_pages(tmp_path / "in.tif", starmap(image_of, PAGES[:2]), compression=0)
    told = Told()
    translatekit.translate(tmp_path / "in.tif", Inverse(), tmp_path / output, progress=told)
    assert any("only the first frame or page" in text and "in.tif" in text for text in told.said)


def test_an_animation_that_becomes_a_still_is_said(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (90 * index, 0, 0)) for index in range(3)]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=100)
    told = Told()
    translatekit.translate(tmp_path / "in.gif", Inverse(), tmp_path / "out.jpg", progress=told)
    assert any("in.gif" in text for text in told.said)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_model_of_8_bits_writes_8_bits_and_says_so_once(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / "in"
    source.mkdir()
    deep = image_of(noise(16, 16, 3, np.float32), noise(16, 16, 1, np.float32, 1)[:, :, 0])
    for name in "abc":
        (source / f"{name}{suffix}").write_bytes(encode_image(deep, suffix))
    told, model = Told(), Inverse(("uint8",))
    translatekit.translate(source, model, tmp_path / "out", progress=told)
    assert told.said.count(cut_to_8_bits("an image")) == 1
    assert model.seen == {"uint8"}
    for name in "abc":
        assert read_levels(tmp_path / "out" / f"{name}{suffix}").pixels.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_model_of_floats_keeps_16_bits_and_says_nothing(tmp_path: Path, suffix: str) -> None:
    pixels = noise(16, 16, 3, np.float32)
    (tmp_path / f"in{suffix}").write_bytes(encode_image(image_of(pixels), suffix))
    told = Told()
    translatekit.translate(tmp_path / f"in{suffix}", Inverse(), tmp_path / f"out{suffix}", progress=told)
    assert told.said == []
    again = read_levels(tmp_path / f"out{suffix}").pixels
    np.testing.assert_allclose(again, 1 - pixels, rtol=0, atol=1.01 / 65535)
    assert np.unique(again).size > 256


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_that_is_translated_as_a_channel_is_not_kept_beside_it(
    tmp_path: Path, suffix: str
) -> None:
    levels = noise(16, 16, 4, np.uint8)
    image = image_of(levels[:, :, :3], levels[:, :, 3])
    (tmp_path / f"in{suffix}").write_bytes(encode_image(image, suffix))
    model = Inverse(input=levels_spec(4), output=levels_spec(4))
    summary = translatekit.translate(tmp_path / f"in{suffix}", model, tmp_path / f"out{suffix}")
    assert not summary.failed
    made = read_image(tmp_path / f"out{suffix}")
    assert with_alpha(made).shape == levels.shape
    np.testing.assert_array_equal(fit_image(made, levels_spec(4), "made"), 255 - levels)


class Deeper(Inverse):
    """Gives 16 bits of what has 8: a tenth of each level, or of each number."""

    def __init__(self, taken: ImageSpec = RGB) -> None:
        super().__init__(
            input=taken, output=replace(GRAY, dtype="uint16"), generator_options={"norm": "none"}
        )

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.seen.add(batch.dtype.name)
        white = 255 if batch.dtype == np.uint8 or not self.info.input.levels else 1
        made = batch[..., :1].astype(np.float32) / white / 10
        return np.rint(255 * made).astype(np.uint8) if batch.dtype == np.uint8 else made


@pytest.mark.parametrize("taken", [RGB, GRAY, labels_spec(range(256))])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_model_of_16_bits_writes_them_of_images_of_8(tmp_path: Path, suffix: str, taken: ImageSpec) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    (tmp_path / f"in{suffix}").write_bytes(encode_image(image_of(levels), suffix))
    made = tmp_path / f"out{suffix}"
    translatekit.translate(tmp_path / f"in{suffix}", Deeper(taken), made)
    again = read_image(made).pixels
    assert again.dtype == np.uint16
    np.testing.assert_allclose(again, levels * 25.7, rtol=0, atol=1)


def test_tiles_of_a_model_of_8_bits_have_8_bits() -> None:
    info = {"generator_options": {"norm": "none"}}
    assert TiledTranslator(Inverse(("uint8",), **info), 64).dtypes == ("uint8",)
    assert TiledTranslator(Inverse(**info), 64).dtypes == ("uint8", "float32")
