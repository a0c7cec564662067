"""Images of more than `MAX_PIXELS` are read by parts, translated in tiles, and written as tiled TIFF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from translatekit_tools.bulk import large, translate

from translatekit import images
from translatekit.image_spec import GRAY, RGB, ImageSpec
from translatekit.images import read_image
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import Translator
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator

SIZE = (301, 270)  # no multiples of what the networks need: borders are reflected
TILE = 64


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 2**14)


def scene(channels: int, dtype: str = "uint8") -> np.ndarray:
    random = np.random.default_rng(0)
    top = 255 if dtype == "uint8" else 65535
    coarse = random.integers(0, top, (SIZE[0] // 16 + 1, SIZE[1] // 16 + 1, channels))
    return coarse.repeat(16, 0).repeat(16, 1)[: SIZE[0], : SIZE[1]].astype(dtype)


def write_tiled(path: Path, pixels: np.ndarray, **tags: object) -> Path:
    rgb = pixels.shape[2] in (3, 4)
    tifffile.imwrite(
        path,
        pixels if pixels.shape[2] > 1 else pixels[:, :, 0],
        tile=(32, 32),
        photometric="rgb" if rgb else "minisblack",
        compression="zlib",
        **tags,
    )
    return path


def model_file(folder: Path, norm: str, spec: ImageSpec = GRAY) -> Path:
    network = make_generator(
        "unet", {"depth": 3, "width": 2, "norm": norm}, in_channels=spec.count, out_channels=spec.count
    )
    info = ModelInfo(
        method="test",
        generator="unet",
        generator_options=network.arguments,
        input=spec,
        output=spec,
        size_multiple=8,
        norm_inference="running",
    )
    path = folder / f"{norm}.safetensors"
    save_model(path, network.state_dict(), info)
    return path


class Inverse:
    """Gives the negative, and counts how often it is asked; it stops where it is told to."""

    device = "cpu"

    def __init__(self, spec: ImageSpec = GRAY, output: ImageSpec | None = None) -> None:
        self.info = ModelInfo(
            method="test",
            generator="none",
            generator_options={"norm": "none"},
            input=spec,
            output=output or spec,
            size_multiple=8,
        )
        self.asked = 0
        self.most = 10**9

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.asked += 1
        if self.asked > self.most:
            raise KeyboardInterrupt
        if self.info.output.meaning == "labels":
            return (batch[..., :1] // 128).astype(np.uint8)
        return (255 if batch.dtype == np.uint8 else 1) - batch


def run(
    source: Path, model: Path | Translator, out: Path, tile: int | None = TILE, **options: object
) -> Path:
    summary = translate(source, model, out, tile=tile, device="cpu", **options)
    assert not summary.failed, summary.failed
    (made,) = summary.outputs
    assert not [path for path in made.parent.iterdir() if ".parts" in path.name]
    return made


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_it_is_what_tiles_of_the_whole_image_give(tmp_path: Path, norm: str) -> None:
    import translatekit

    pixels = scene(1)
    model = model_file(tmp_path, norm)
    made = run(write_tiled(tmp_path / "a.tif", pixels), model, tmp_path / "out")
    (whole,) = Predictor(translatekit.load(model, "cpu"), tile=TILE).predict([pixels])
    assert np.array_equal(read_image(made).pixels, whole)
    with tifffile.TiffFile(made) as tiff:
        assert tiff.pages.first.is_tiled


@pytest.mark.parametrize(("channels", "spec"), [(3, RGB), (4, RGB), (1, GRAY)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_depth_transparency_and_resolution_are_kept(
    tmp_path: Path, channels: int, spec: ImageSpec, dtype: str
) -> None:
    pixels = scene(channels, dtype)
    tags = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    source = write_tiled(
        tmp_path / "a.tif", pixels, resolution=(123, 45), resolutionunit="CENTIMETER", metadata=None, **tags
    )
    made = run(source, Inverse(spec), tmp_path / "out")
    image = read_image(made)
    assert image.pixels.dtype == dtype
    top = np.iinfo(dtype).max
    assert np.abs((top - pixels[:, :, : spec.count].astype(int)) - image.pixels).max() <= (dtype == "uint16")
    if channels == 4:
        assert image.alpha is not None
        assert np.array_equal(image.alpha, pixels[:, :, 3])
    with tifffile.TiffFile(made) as tiff:
        across = tiff.pages.first.tags["XResolution"].value
        assert across[0] / across[1] == pytest.approx(123)


def test_a_model_of_16_bits_writes_them_of_an_image_of_8(tmp_path: Path) -> None:
    pixels = scene(1)
    deep = replace(GRAY, dtype="uint16")
    made = run(write_tiled(tmp_path / "a.tif", pixels), Inverse(GRAY, deep), tmp_path / "out")
    again = read_image(made).pixels
    assert again.dtype == np.uint16
    assert np.abs(again.astype(int) - 257 * (255 - pixels.astype(int))).max() <= 1


def test_class_numbers_are_chosen_and_not_blended(tmp_path: Path) -> None:
    pixels = scene(1)
    classes = ImageSpec(channels=("class",), meaning="labels", levels=False, classes=("a", "b"), ids=(0, 1))
    made = run(write_tiled(tmp_path / "a.tif", pixels), Inverse(GRAY, classes), tmp_path / "out")
    assert np.array_equal(read_image(made).pixels, pixels // 128)


def test_a_geotiff_keeps_its_place_and_its_missing_values(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = scene(1, "uint16").astype(np.float32) / 65535
    pixels[100:140, 30:200] = -9999
    spec = ImageSpec(channels=("height",), meaning="values", dtype="float32").with_range(0, 1)
    place = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=SIZE[0], width=SIZE[1], count=1, dtype="float32",
        crs="EPSG:32633", transform=place, nodata=-9999, tiled=True, blockxsize=64, blockysize=64,
    ) as file:  # fmt: skip
        file.write(pixels[:, :, 0], 1)
    made = run(tmp_path / "a.tif", Inverse(spec), tmp_path / "out")
    with rasterio.open(made) as file:
        assert (file.crs.to_epsg(), file.transform, file.nodata) == (32633, place, -9999)
        written = file.read(1)
    missing = pixels[:, :, 0] == -9999
    assert np.array_equal(written == -9999, missing)
    assert np.allclose(written[~missing], 1 - pixels[:, :, 0][~missing], atol=1e-5)


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = scene(1)
    source, model = write_tiled(tmp_path / "a.tif", pixels), model_file(tmp_path, "none")
    whole = run(source, model, tmp_path / "whole")
    asked = []
    stop_at = 17

    def counted(self: large._Regions, tile: object) -> np.ndarray:
        asked.append(tile)
        if len(asked) == stop_at:
            raise KeyboardInterrupt
        return original(self, tile)  # type: ignore[arg-type]

    original = large._Regions.__call__
    monkeypatch.setattr(large._Regions, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        run(source, model, tmp_path / "out")
    assert not (tmp_path / "out/a.tif").exists()
    asked.clear()
    stop_at = -1
    made = run(source, model, tmp_path / "out")
    assert np.array_equal(read_image(made).pixels, read_image(whole).pixels)
    columns = 1 + -(-(272 - TILE) // (TILE - 16))
    rows = 1 + -(-(304 - TILE) // (TILE - 16))
    assert len(asked) == columns * (rows - 16 // columns)


def test_tiles_are_chosen_where_none_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "TILE", 60)
    said: list[str] = []

    class Listener:
        def __call__(self, result: object) -> None:
            pass

        def say(self, text: str) -> None:
            said.append(text)

    source = write_tiled(tmp_path / "a.tif", scene(1))
    summary = translate(source, Inverse(), tmp_path / "out", progress=Listener())
    assert not summary.failed
    assert any("270x301 pixels are read by parts and translated in tiles of 64" in text for text in said)


def test_progress_is_told_in_rows_of_tiles(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []

    class Listener:
        def __call__(self, result: object) -> None:
            pass

        def frames(self, done: int, total: int, unit: str = "frame") -> None:
            told.append((done, total, unit))

    source = write_tiled(tmp_path / "a.tif", scene(1))
    assert not translate(source, Inverse(), tmp_path / "out", tile=TILE, progress=Listener()).failed
    assert told == [(part, 6, "part") for part in range(1, 7)]


class TooLarge(Inverse):
    """Finds no memory for some of the tiles it is asked for, as a GPU's says it."""

    def __init__(self, lacking: set[int]) -> None:
        super().__init__()
        self.device, self.lacking = "cuda", lacking

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        import torch

        if self.asked in self.lacking:
            self.asked += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().__call__(batch)


def test_a_device_that_was_too_full_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    pixels = scene(1)
    made = run(write_tiled(tmp_path / "a.tif", pixels), TooLarge({9}), tmp_path / "out")
    assert np.array_equal(read_image(made).pixels, 255 - pixels)


def test_too_little_memory_of_a_device_is_one_sentence(tmp_path: Path) -> None:
    source = write_tiled(tmp_path / "a.tif", scene(1))
    summary = translate(source, TooLarge(set(range(20, 99))), tmp_path / "out", tile=TILE)
    ((_, reason),) = summary.failed
    assert "1 of 64x64 pixels do not fit into the memory of cuda: pass --tile below 64, --size" in reason
    assert not list((tmp_path / "out").glob("a.*"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"format": "png"}, "pass --format tiff"),
        ({"fit": "resize"}, "--fit resize would need all"),
    ],
)
def test_what_cannot_be_done_by_parts_is_refused(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    source = write_tiled(tmp_path / "a.tif", scene(1))
    summary = translate(source, Inverse(), tmp_path / "out", tile=TILE, **options)
    ((_, reason),) = summary.failed
    assert sentence in reason
    assert not list((tmp_path / "out").glob("a.*"))


def test_a_header_that_claims_an_absurd_size_is_refused_at_once(tmp_path: Path) -> None:
    source = write_tiled(tmp_path / "a.tif", scene(1))
    with tifffile.TiffFile(source, mode="r+") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tag = tiff.pages.first.tags[name]
            tag.overwrite(2**31 - 1, dtype="I")
    summary = translate(source, Inverse(), tmp_path / "out", tile=TILE)
    ((_, reason),) = summary.failed
    assert "a row of tiles of" in reason
    assert "--memory" in reason
    assert not list((tmp_path / "out").glob("a.*"))


def test_what_cannot_be_read_by_parts_is_to_be_saved_as_a_tiled_tiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from translatekit.images import reading

    monkeypatch.setattr(reading, "MAX_PIXELS", 2**14)
    (tmp_path / "a.png").write_bytes(_png(scene(1)))
    summary = translate(tmp_path / "a.png", Inverse(), tmp_path / "out", format="tiff")
    ((_, reason),) = summary.failed
    assert "save it as a tiled TIFF" in reason


def _png(pixels: np.ndarray) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0]).save(buffer, "PNG")
    return buffer.getvalue()
