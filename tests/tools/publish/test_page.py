"""The published page in real browsers, with the real runtime, which TRANSLATEKIT_TEST_WEB_RUNTIME names."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.publish import Published, publish
from translatekit_tools.publish.check import difference
from translatekit_tools.publish.graph import not_on_webgpu
from translatekit_tools.publish.model import Model
from translatekit_tools.publish.options import PublishOptions
from translatekit_tools.publish.page import _describe
from translatekit_tools.publish.runtime import open_runtime

import translatekit
from tests.firefox import Page
from tests.pages import DESKTOP, PHONE
from tests.tools.publish.graphs import write_graph
from translatekit.errors import OptionError, TranslatekitError
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec
from translatekit.images.preview import class_colours
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

READY, DRAWN = "body[data-provider]", "#result[data-count]"
PIXELS = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)"
PATIENCE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def runtime() -> str:
    path = os.environ.get("TRANSLATEKIT_TEST_WEB_RUNTIME")
    if not path or not Path(path).exists():
        pytest.skip("TRANSLATEKIT_TEST_WEB_RUNTIME names no npm package of ONNX Runtime Web")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_graph(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def published_site(model: Path, runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Published:
    out = tmp_path_factory.mktemp("published") / "site"
    card = {"title": "Façades <b>&amp;</b>", "licence": "CC-BY-4.0", "description": 'Walls of "labels".'}
    return publish(model, out, web_runtime=runtime, check="no", **card)


@pytest.fixture(scope="module")
def site(published_site: Published) -> Path:
    return Path(published_site.path)


@pytest.fixture(scope="module")
def one_file(model: Path, runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "page.html"
    examples = tmp_path_factory.mktemp("examples")
    for number, color in enumerate(((200, 40, 40), (40, 160, 60))):
        Image.new("RGB", (64, 48), color).save(examples / f"{number}.png")
    publish(model, out, single=True, mode="photo", examples=str(examples), web_runtime=runtime, check="no")
    return out


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A static host, which sends no header of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def opened(browser: Any, address: str, viewport: Any = DESKTOP) -> Iterator[Any]:
    """The page, ready; in the end, nothing may have failed, and nothing been asked of another place."""
    context = browser.new_context(viewport=viewport, accept_downloads=True, has_touch=viewport == PHONE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    here = address.split("#")[0].split("?")[0]
    context.on(
        "request",
        lambda request: request.url.startswith((here, "data:", "blob:")) or faults.append(request.url),
    )
    page.goto(address, wait_until="commit")
    page.wait_for_selector(READY)
    try:
        yield page
        assert faults == []
    finally:
        context.close()


def pixels(page: Any, canvas: str) -> np.ndarray:
    locator = page.locator(canvas)
    height, width = (locator.evaluate(f"canvas => canvas.{side}") for side in ("height", "width"))
    return np.array(locator.evaluate(PIXELS), np.uint8).reshape(height, width, 4)


def translated(model: Path, image: np.ndarray) -> np.ndarray:
    """What Python makes of it."""
    with translatekit.open(model, device="cpu") as predictor:
        return np.asarray(predictor.translate(image))


def differ(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def saved(page: Any, press: str) -> tuple[str, np.ndarray]:
    with page.expect_download() as download:
        page.keyboard.press(press)
    data = Path(download.value.path()).read_bytes()
    return download.value.suggested_filename, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def draw(page: Any) -> None:
    """A stroke across the drawing, and its translation awaited."""
    before = int(page.get_attribute("#result", "data-count"))
    box = page.locator("#overlay").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.2 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], middle + 20, steps=3)
    page.mouse.up()
    page.wait_for_function(f"Number(document.getElementById('result').dataset.count) > {before}")
    page.wait_for_selector("#status[data-state=idle]")


@pytest.mark.slow
def test_a_folder_is_painted_on_saved_and_opened_without_a_network(
    browser: Any, site: Path, model: Path
) -> None:
    with served(site) as address, opened(browser, address) as page:
        page.wait_for_selector(DRAWN)
        # A plain host sends no headers; the service worker does, and threads need them.
        assert page.evaluate("crossOriginIsolated")
        assert int(page.get_attribute("body", "data-threads")) == min(8, os.cpu_count() or 1)
        assert page.title() == page.inner_text("h1") == "Façades <b>&amp;</b>"
        asked: list[str] = []
        page.context.on("request", lambda request: asked.append(request.url))
        draw(page)
        drawing, result = pixels(page, "#board")[:, :, :3], pixels(page, "#result")[:, :, :3]
        assert differ(result, translated(model, drawing)) <= 1
        name, both = saved(page, "Control+s")
        assert name == "small.png"
        np.testing.assert_array_equal(both, np.concatenate([drawing, result], axis=1))
        page.click("#about-button")
        facts = page.locator("#about").inner_text()
        assert all(word in facts for word in ("CC-BY-4.0", 'Walls of "labels".', "no picture leaves it"))
        page.keyboard.press("Escape")
        assert [url for url in asked if url.startswith("http")] == []  # nothing is asked for once it is there
        page.context.set_offline(True)
        page.reload(wait_until="commit")
        page.wait_for_selector(DRAWN)
        np.testing.assert_array_equal(pixels(page, "#board")[:, :, :3], drawing)


@pytest.mark.slow
def test_a_single_file_opens_from_the_disk_and_translates_pictures_of_any_size(
    browser: Any, one_file: Path, model: Path, tmp_path: Path
) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (37, 50, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "odd.png")
    with opened(browser, one_file.as_uri(), PHONE) as page:
        page.wait_for_selector("#after[data-count='1']")  # an example
        assert pixels(page, "#before").shape == (48, 64, 4)
        page.set_input_files("#file", [])
        with page.expect_file_chooser() as chooser:
            page.click("#photo-open")
        chooser.value.set_files(tmp_path / "odd.png")
        page.wait_for_selector("#after[data-count='2']")
        np.testing.assert_array_equal(pixels(page, "#before")[:, :, :3], picture)
        result = pixels(page, "#after")[:, :, :3]
        assert result.shape == (37, 50, 3)
        assert differ(result, translated(model, picture)) <= 1
        name, kept = saved(page, "Control+s")
        assert name == "small.png"
        np.testing.assert_array_equal(kept, result)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.slow
@pytest.mark.parametrize("spec", [GRAY, labels_spec((0, 1, 2))], ids=["gray", "labels"])
def test_what_is_taken_and_what_is_given_may_be_of_two_kinds(
    spec: ImageSpec, browser: Any, runtime: str, tmp_path: Path
) -> None:
    model = write_graph(tmp_path / "small.onnx", spec, RGB, data={})
    publish(model, tmp_path / "site", mode="photo", web_runtime=runtime, webgpu=False, check="no")
    random = np.random.default_rng(3)
    if spec == GRAY:
        shown = given = random.integers(0, 256, (32, 48, 3), np.uint8)
    else:
        given = random.integers(0, 3, (32, 48, 1), np.uint8)
        shown = np.array(class_colours(spec), np.uint8)[given[..., 0]]
    Image.fromarray(shown).save(tmp_path / "shown.png")
    with served(tmp_path / "site") as address, opened(browser, address) as page:
        with page.expect_file_chooser() as chooser:
            page.click("#photo-open")
        chooser.value.set_files(tmp_path / "shown.png")
        page.wait_for_selector("#after[data-count]")
        assert differ(pixels(page, "#after")[:, :, :3], translated(model, given)) <= 1


@pytest.mark.slow
def test_webgpu_gives_what_python_gives(browser: Any, site: Path, model: Path) -> None:
    """By Chromium's software renderer: the same shaders as on a GPU, slowly."""
    with served(site) as address, opened(browser, f"{address}?run=webgpu") as page:
        if not page.evaluate("navigator.gpu?.requestAdapter().then(Boolean)"):
            pytest.skip("this Chromium has no WebGPU")
        page.wait_for_selector(DRAWN)
        assert page.get_attribute("body", "data-provider") == "webgpu"
        drawing, result = pixels(page, "#board")[:, :, :3], pixels(page, "#result")[:, :, :3]
        assert drawing.std() > 0
        assert differ(result, translated(model, drawing)) <= 1


@pytest.mark.slow
def test_firefox_paints_saves_and_opens_photographs(
    firefox: Page, site: Path, model: Path, tmp_path: Path
) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (37, 50, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "odd.png")
    with served(site) as address:
        firefox.goto(address)
        firefox.wait_for("document.body.dataset.provider && document.querySelector('#result').dataset.count")
        assert firefox.evaluate("crossOriginIsolated && Number(document.body.dataset.threads)") == min(
            8, os.cpu_count() or 1
        )
        loaded = [url for url in firefox.asked if url.startswith("http")]
        assert all(url.startswith(address) for url in loaded)
        firefox.drag("#overlay", (0.2, 0.5), (0.5, 0.6), (0.8, 0.4))
        firefox.wait_for("Number(document.querySelector('#result').dataset.count) > 1")
        firefox.wait_for("document.querySelector('#status').dataset.state === 'idle'")
        firefox.press("Control", "s")
        both = np.asarray(Image.open(io.BytesIO(firefox.saved("small.png"))).convert("RGB"))
        drawing, result = np.split(both, 2, axis=1)
        assert drawing.std() > 0
        assert differ(result, translated(model, drawing)) <= 1
        firefox.click("#tab-photo")
        firefox.choose("#photo-open", tmp_path / "odd.png")
        firefox.wait_for("document.querySelector('#after').dataset.count")
        firefox.wait_for("document.querySelector('#status').dataset.state === 'idle'")
        (firefox.downloads / "small.png").unlink()
        firefox.press("Control", "s")
        kept = np.asarray(Image.open(io.BytesIO(firefox.saved("small.png"))).convert("RGB"))
        assert differ(kept, translated(model, picture)) <= 1
        assert [url for url in firefox.asked if url.startswith("http")] == loaded  # nothing leaves the page
        assert firefox.errors == []
        # Had anything been asked or said, it would have been heard.
        assert firefox.evaluate("fetch('model.json').then(() => console.error('heard')).then(() => true)")
        assert firefox.asked[-1] == f"{address}model.json"
        assert firefox.errors == ["heard"]


@pytest.mark.slow
def test_outputs_are_compared_in_a_browser_before_the_page_is_written(
    browser: Any, runtime: str, tmp_path: Path
) -> None:
    gray = write_graph(tmp_path / "gray.onnx", GRAY, data={})
    published = publish(
        gray, tmp_path / "site", web_runtime=runtime, webgpu=False, check="yes", weights="fp16"
    )
    checked = published.details["checked"]
    assert checked["max_error"] <= 1
    assert checked["browser"] == "Chromium"
    licence = (tmp_path / "site/runtime/LICENSE.txt").stat().st_size  # for people, and asked for by no page
    assert published.details["transfer"] == published.bytes - licence < 5_000_000
    assert not list((tmp_path / "site").rglob("*asyncify*"))


def test_all_runs_on_webgpu_or_is_named(
    published_site: Published, model: Path, runtime: str, tmp_path: Path
) -> None:
    assert published_site.details["not_on_webgpu"] == []  # `Round`, which it lacks, is written otherwise
    assert "With WebGPU, all of it runs on the GPU." in published_site.notes
    assert not any("no Chromium" in note for note in published_site.notes)
    import onnx

    other = onnx.load(str(model))
    (tanh,) = [node for node in other.graph.node if node.op_type == "Tanh"]
    tanh.op_type = "Softsign"
    onnx.save(other, str(tmp_path / "other.onnx"))
    known = open_runtime(runtime, lambda *_: None)
    assert not_on_webgpu(tmp_path / "other.onnx", known) == ["Round", "Softsign"]


def test_what_is_published_is_the_paint_pages_own_code(site: Path, one_file: Path) -> None:
    page = Path(__file__).parents[3] / "tools/translatekit_tools/paint/page"
    for name in ("app.js", "painting.js", "photos.js", "style.css"):
        assert (site / name).read_bytes() == (page / name).read_bytes()
    text = one_file.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:|#)[^"']""", text)
    assert "&lt;b&gt;&amp;amp;" in (site / "index.html").read_text(encoding="utf-8")


def test_of_classes_the_share_that_differs_is_compared() -> None:
    """Class numbers have no distance: whether one pixel is 0 or 30 is one pixel."""
    one, other = np.zeros(100, np.uint8), np.zeros(100, np.uint8)
    other[7] = 30
    assert difference(one, other, labels_spec(list(range(31)))) == 0.01
    assert difference(one, other, RGB) == 30


def test_a_graph_of_one_size_is_given_pictures_of_that_size(tmp_path: Path) -> None:
    """As of a network that cannot be exported for any size, though its model file takes any."""
    info = ModelInfo(method="pix2pix", generator="unet", size=64, size_multiple=16)
    graph = dataclasses.replace(info, compiled={"shapes": "96x64"})
    model = Model(path=tmp_path / "model.safetensors", info=info, name="maps")
    assert _describe(model, graph, PublishOptions(), 1)["fixed"] == [96, 64]
    assert _describe(model, info, PublishOptions(), 1)["fixed"] is None


def test_a_model_of_what_no_browser_shows_is_refused(tmp_path: Path) -> None:
    scan = ImageSpec(
        channels=("ct",), meaning="values", levels=False, low=(-1000.0,), high=(1000.0,), unit="HU"
    )
    with pytest.raises(OptionError, match="which no browser shows"):
        publish(write_graph(tmp_path / "scan.onnx", scan, data={}), tmp_path / "site")
    noise = tmp_path / "noise.safetensors"
    save_model(noise, {}, ModelInfo(method="cgan", generator="dcgan", source="latent"))
    for kind in ("page", "hub", "triton", "docker"):
        with pytest.raises(TranslatekitError, match="draws images from noise and translates none: "):
            publish(noise, tmp_path / "site", kind=kind)
    with pytest.raises(OptionError, match=r"--single, -o names a file such as model\.html"):
        publish(write_graph(tmp_path / "rgb.onnx"), tmp_path / "site", single=True)
    assert not (tmp_path / "site").exists()
