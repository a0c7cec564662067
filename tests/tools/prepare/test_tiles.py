"""Training tiles of GeoTIFF, made by rasterio, and of whole slides, made by tifffile."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.windows
import tifffile
from click.testing import CliRunner, Result
from rasterio.transform import from_origin
from translatekit_tools.cli.prepare import prepare
from translatekit_tools.prepare.rasters import open_raster

from translatekit.errors import TranslatekitError
from translatekit.images import read_image

SIDE = 320
UTM = "EPSG:32632"


def run(*arguments: Any) -> Result:
    result = CliRunner().invoke(prepare, [str(argument) for argument in arguments])
    if isinstance(result.exception, TranslatekitError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def bands(count: int = 5, dtype: str = "uint16", side: int = SIDE) -> np.ndarray:
    """(count, side, side): another slope and offset in each band."""
    y, x = np.indices((side, side))
    return np.stack([100 * (band + 1) + 3 * x + y for band in range(count)]).astype(dtype)


def write_raster(
    path: Path,
    values: np.ndarray,
    *,
    nodata: float | None = None,
    crs: str | None = UTM,
    origin: tuple[float, float] = (500_000, 5_000_000),
    step: float = 10,
    overviews: bool = False,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 64}
    profile |= {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    profile |= {"dtype": values.dtype.name, "nodata": nodata, "photometric": "minisblack"}
    if crs is not None:
        profile |= {"crs": crs, "transform": from_origin(*origin, step, step)}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values)
        for band in range(len(values)):
            raster.set_band_description(band + 1, f"B{band + 1:02}")
        if overviews:
            raster.build_overviews([2, 4], rasterio.enums.Resampling.average)
    return path


def write_slide(path: Path, side: int = 1024, stain: tuple[int, int, int] = (180, 60, 140)) -> Path:
    """Glass with a square of tissue in its upper left quarter, as a tiled pyramid of three levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    whole = np.full((side, side, 3), 240, np.uint8)
    whole[: side // 2, : side // 2] = stain
    whole = (whole + rng.integers(-3, 4, whole.shape)).astype(np.uint8)
    settings: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(whole, subifds=2, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **settings)
        for level in (2, 4):
            tiff.write(np.ascontiguousarray(whole[::level, ::level]), subfiletype=1, **settings)
    return path


def test_tiles_of_a_raster_keep_bands_numbers_place_and_nodata(tmp_path: Path) -> None:
    values = bands(dtype="float32") / 7
    values[:, :128, :128] = -9999  # one tile is empty, and none else
    write_raster(tmp_path / "maps" / "north.tif", values, nodata=-9999)
    result = run("tiles", tmp_path / "maps", "-o", tmp_path / "out", "--size", 128, "--json")
    summary = json.loads(result.stdout)
    assert (summary["parts"], summary["left_out"]) == (9, 1)
    assert "1 of 9 tiles are less than 50% tissue or data" in result.stderr
    assert not (tmp_path / "out/train/north_y00000_x00000.tiff").exists()
    with rasterio.open(tmp_path / "out/train/north_y00128_x00192.tiff") as tile:
        np.testing.assert_array_equal(tile.read(), values[:, 128:256, 192:320])
        assert tile.dtypes == ("float32",) * 5
        assert tile.descriptions == ("B01", "B02", "B03", "B04", "B05")
        assert (tile.crs.to_string(), tile.nodata) == (UTM, -9999)
        assert tuple(tile.transform * (0, 0)) == (500_000 + 1920, 5_000_000 - 1280)
    image = read_image(tmp_path / "out/train/north_y00128_x00192.tiff")
    np.testing.assert_array_equal(image.pixels, np.moveaxis(values[:, 128:256, 192:320], 0, 2))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 3, 4, 13])
def test_any_number_of_bands_of_any_type_comes_back_exactly(count: int, dtype: str, tmp_path: Path) -> None:
    values = bands(count, "uint16", 64).astype(dtype)
    write_raster(tmp_path / "a.tif", values, crs=None)
    run("tiles", tmp_path / "a.tif", "-o", tmp_path / "out", "--size", 64)
    pixels = read_image(next((tmp_path / "out").rglob("*.tiff"))).pixels
    assert pixels.dtype == ("float32" if dtype == "float64" else dtype)
    np.testing.assert_array_equal(pixels, np.moveaxis(values, 0, 2))


def test_a_coarser_level_or_resolution(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", bands(2, "float32"), overviews=True)
    run("tiles", path, "-o", tmp_path / "level", "--size", 80, "--level", 1)
    run("tiles", path, "-o", tmp_path / "units", "--size", 80, "--resolution", 20)
    for name in ("level", "units"):
        tiles = sorted((tmp_path / name).rglob("*.tiff"))
        assert len(tiles) == 4
        with rasterio.open(tiles[-1]) as tile:
            assert tile.res == (20, 20)
            expected = bands(2, "float32").reshape(2, 160, 2, 160, 2).mean((2, 4))[:, 80:, 80:]
            np.testing.assert_allclose(tile.read(), expected, atol=0.01)
    for arguments, sentence in (
        (("--level", 3), "levels 0 to 2, and no level 3"),
        (("--resolution", 5), "10 units a pixel, which is coarser than 5"),
    ):
        assert sentence in run("tiles", path, "-o", tmp_path / "no", *arguments).stderr


def test_pairs_are_cut_at_the_same_places(tmp_path: Path) -> None:
    sat, labels = bands(4), (bands(1)[:, :, :] // 64 % 5 + 1).astype(np.uint8)
    labels[:, 200:] = 0
    write_raster(tmp_path / "sat" / "x_sat.tif", sat)
    write_raster(tmp_path / "map" / "x_map.tif", labels, nodata=0)
    out = tmp_path / "out"
    result = run("tiles", tmp_path / "sat", tmp_path / "map", "-o", out, "--size", 100, "--json", "--whole")
    assert json.loads(result.stdout)["left_out"] == 3
    names = [sorted(path.name for path in (out / "train" / side).iterdir()) for side in "AB"]
    assert names[0] == names[1]
    assert len(names[0]) == 6
    for side, values in (("A", sat), ("B", labels)):
        pixels = read_image(out / "train" / side / "x_sat_y00100_x00200.tiff").pixels
        np.testing.assert_array_equal(pixels, np.moveaxis(values[:, 100:200, 200:300], 0, 2))


def test_rasters_on_two_grids_are_refused_or_brought_together(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", bands(2, side=128))
    write_raster(tmp_path / "finer.tif", bands(1, "float32", 256), step=5)
    write_raster(tmp_path / "moved.tif", bands(1, "uint8", 128), origin=(500_040, 5_000_000))
    write_raster(tmp_path / "other.tif", bands(1, side=128), crs="EPSG:3035")
    for name, sentence in (
        ("finer", "is 256x256, and A 128x128"),
        ("moved", "lies up to 4 pixels from A"),
        ("other", "has the coordinate system EPSG:3035, and A EPSG:32632"),
    ):
        result = run("tiles", tmp_path / "a.tif", tmp_path / f"{name}.tif", "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert sentence in result.stderr
        assert "--resample-b" in result.stderr
    arguments = ("--size", 64, "--resample-b", "average")
    run("tiles", tmp_path / "a.tif", tmp_path / "finer.tif", "-o", tmp_path / "finer", *arguments)
    made = read_image(tmp_path / "finer/train/B/a_y00064_x00000.tiff").pixels[:, :, 0]
    expected = bands(1, "float32", 256)[0].reshape(128, 2, 128, 2).mean((1, 3))[64:, :64]
    np.testing.assert_allclose(made, expected, atol=0.01)
    # What B does not reach is no data, and not black.
    arguments = ("--size", 64, "--resample-b", "nearest")
    run("tiles", tmp_path / "a.tif", tmp_path / "moved.tif", "-o", tmp_path / "moved", *arguments)
    image = read_image(tmp_path / "moved/train/B/a_y00000_x00000.tiff")
    assert image.alpha is not None
    assert not image.alpha[:, :4].any()
    assert image.alpha[:, 4:].all()
    np.testing.assert_array_equal(image.pixels[:, 4:, 0], bands(1, "uint8", 128)[0, :64, :60])


def test_class_numbers_are_never_averaged_at_a_coarser_resolution(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice(np.array([1, 7], np.uint8), (1, SIDE, SIDE))
    a = write_raster(tmp_path / "a.tif", bands(1))
    b = write_raster(tmp_path / "b.tif", classes)
    options = ("--size", 64, "--resolution", 20)
    run("tiles", a, b, "-o", tmp_path / "pairs", "--resample-b", "nearest", *options)
    assert set(np.unique(read_image(next((tmp_path / "pairs/train/B").iterdir())).pixels)) == {1, 7}
    with rasterio.open(b, "r+") as raster:
        raster.write_colormap(1, {1: (0, 128, 0), 7: (0, 0, 255)})
    run("tiles", b, "-o", tmp_path / "alone", *options)
    assert set(np.unique(read_image(next((tmp_path / "alone/train").iterdir())).pixels)) == {1, 7}


@pytest.mark.parametrize("turned", [0, 30])
def test_a_part_of_a_raster_lies_where_it_was_cut_out(turned: float, tmp_path: Path) -> None:
    place = from_origin(500_000, 5_000_000, 10, 10) @ rasterio.Affine.rotation(turned)
    path = write_raster(tmp_path / "maps" / "a.tif", bands())
    with rasterio.open(path, "r+") as raster:
        raster.transform = place
    cut, tiled, small = (tmp_path / name for name in ("cut", "tiles", "small"))
    run("crop", tmp_path / "maps", "-o", cut, "--box", "40,20,64,32")
    run("tile", tmp_path / "maps", "-o", tiled, "--size", 64)
    run("resize", cut, "-o", small, "--size", "32x16")
    found = {
        cut / "a.tif": place @ rasterio.Affine.translation(40, 20),
        tiled / "a_y00064_x00128.tif": place @ rasterio.Affine.translation(128, 64),
        small / "a.tif": place @ rasterio.Affine.translation(40, 20) @ rasterio.Affine.scale(2),
    }
    for file, expected in found.items():
        with rasterio.open(file) as raster:
            assert raster.transform.almost_equals(expected, 1e-6), file
            assert raster.crs == UTM


def test_a_split_says_that_it_tears_a_raster_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        write_raster(tmp_path / "maps" / f"{name}.tif", random.integers(0, 255, (1, SIDE, SIDE), np.uint8))
    run("tiles", tmp_path / "maps", "-o", tmp_path / "tiles", "--size", 64)
    for data in (tmp_path / "tiles", tmp_path / "tiles" / "train"):
        torn = run("split", data, "-o", tmp_path / f"out of {data.name}", "--val", 0.3, "--near", -1)
        assert "cut out of one file or volume are in more than one split" in torn.stderr
        assert "a.tif" in torn.stderr
    run("resize", tmp_path / "tiles", "-o", tmp_path / "whole", "--size", 32)
    whole = run("split", tmp_path / "whole", "-o", tmp_path / "out", "--val", 0.3, "--near", -1)
    assert "cut out of one" not in whole.stderr


def test_glass_is_left_out_of_a_slide_and_the_threshold_said(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tif")
    result = run("tiles", path, "-o", tmp_path / "out", "--size", 256, "--json")
    summary = json.loads(result.stdout)
    assert (summary["parts"], summary["left_out"]) == (16, 12)
    assert any("tissue of A is more saturated than 0." in note for note in summary["notes"])
    tile = read_image(tmp_path / "out/train/slide_y00256_x00000.tiff")
    np.testing.assert_array_equal(tile.pixels, tifffile.imread(path)[256:512, :256])
    coarse = json.loads(
        run("tiles", path, "-o", tmp_path / "coarse", "--size", 64, "--level", 2, "--json").stdout
    )
    assert (coarse["parts"], coarse["left_out"]) == (16, 12)
    # 0.5 micrometres a pixel, read at 1.5: three pixels become one.
    by_resolution = run("tiles", path, "-o", tmp_path / "mpp", "--size", 128, "--resolution", 1.5, "--json")
    assert json.loads(by_resolution.stdout)["parts"] == 9


def test_a_slide_without_tissue_is_named(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "blank.tif", stain=(240, 240, 240))
    result = run("tiles", path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "blank.tif: all of its 16 parts are empty" in result.stderr


def test_a_rerun_makes_what_is_missing(tmp_path: Path) -> None:
    write_raster(tmp_path / "maps" / "a.tif", bands())
    out = tmp_path / "out"
    run("tiles", tmp_path / "maps", "-o", out, "--size", 160)
    files = sorted(out.rglob("*.tiff"))
    files[2].unlink()
    again = json.loads(run("tiles", tmp_path / "maps", "-o", out, "--size", 160, "--json").stdout)
    assert again["written"] == [str(files[2])]
    assert len(again["skipped"]) == 3
    refused = run("tiles", tmp_path / "maps", "-o", out, "--size", 120)
    assert "was made of it with other options" in refused.stderr
    assert sorted(out.rglob("*.tiff")) == files


def test_rasters_of_one_name_do_not_overwrite_each_others_tiles(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tiff", "b.tif"):
        write_raster(tmp_path / "maps" / name, bands())
    result = run("tiles", tmp_path / "maps", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count("another file has the same name but for its suffix: rename one") == 2
    assert {path.name[0] for path in (tmp_path / "out").rglob("*.tiff")} == {"b"}


def test_tiles_that_other_options_leave_out_do_not_stay_unnoticed(tmp_path: Path) -> None:
    values = bands()
    values[:, :, :100] = 0
    path = write_raster(tmp_path / "a.tif", values, nodata=0)
    out = tmp_path / "out"
    few = json.loads(run("tiles", path, "-o", out, "--size", 64, "--json").stdout)
    more = json.loads(run("tiles", path, "-o", out, "--size", 64, "--min-content", 0, "--json").stdout)
    assert few["left_out"] > more["left_out"]
    refused = run("tiles", path, "-o", out, "--size", 64)
    assert refused.exit_code == 1
    assert "was made of it with other options" in refused.stderr


def test_a_raster_is_never_read_as_a_whole(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "height": 40_000, "width": 40_000}
    path = tmp_path / "large.tif"
    with rasterio.open(path, "w", tiled=True, sparse_ok=True, nodata=0, **profile) as raster:
        window = rasterio.windows.Window(30_000, 20_000, 256, 256)
        raster.write(bands(1, side=256), window=window)
    tracemalloc.start()
    with open_raster(path) as raster:
        pixels, valid = raster.read(30_000, 20_000, 256, 128)
        assert raster.width == raster.height == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(pixels[:, :, 0], bands(1, side=256)[0, :128])
    assert valid is None
    assert peak < 10e6


def test_hostile_rasters_are_named_in_one_sentence_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    write_raster(folder / "good.tif", bands(1))
    data = write_raster(folder / "cut.tif", bands(3)).read_bytes()
    (folder / "cut.tif").write_bytes(data[: len(data) // 2])
    (folder / "text.tif").write_text("no raster")
    (folder / "empty.svs").write_bytes(b"")
    lying = bytearray(write_raster(folder / "lying.tif", bands(1)).read_bytes())
    with tifffile.TiffFile(folder / "lying.tif") as tiff:
        offsets = [tiff.pages[0].tags[tag].valueoffset for tag in (256, 257)]
    for offset in offsets:
        lying[offset : offset + 2] = (60000).to_bytes(2, "little")
    (folder / "lying.tif").write_bytes(bytes(lying))
    write_raster(folder / "complex.tif", bands(1).astype(np.complex64))
    slide = write_slide(folder / "cut-slide.tif").read_bytes()
    (folder / "cut-slide.tif").write_bytes(slide[: len(slide) // 3])
    write_raster(folder / "small.tif", bands(1, side=32))
    result = run("tiles", folder, "-o", tmp_path / "out", "--size", 256)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith(str(folder))]
    assert {Path(line.split(": ")[0]).stem for line in lines} == {
        "complex", "cut", "cut-slide", "empty", "lying", "small", "text",
    }  # fmt: skip
    assert len(lines) == 7
    assert all(len(line) < 500 for line in lines)
    assert len(list((tmp_path / "out").rglob("good_*.tiff"))) == 4
