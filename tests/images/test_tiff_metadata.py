"""What a TIFF says beside its pixels is kept; stacks, parts and pyramids. Judged by rasterio and tifffile."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from translatekit.errors import DataError
from translatekit.image_spec import RGB, ImageSpec, labels_spec
from translatekit.images import (
    Image,
    UnreadableImageError,
    encode_image,
    fit_image,
    image_from,
    open_image,
    read_header,
    read_image,
    write_volume,
)
from translatekit.images.image import file_spec
from translatekit.images.tiled import TiledTiffWriter

BANDS = ("B02", "B03", "B04", "B08", "B11")


def noise(*shape: int, dtype: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(0)
    if dtype == "float32":
        return rng.normal(0, 100, shape).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


# GeoTIFF


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five bands of reflectance in UTM, with nodata in a corner."""
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path_factory.mktemp("geo") / "scene.tif"
    values = np.minimum(noise(5, 40, 60), 10000)
    values[:, :4, :6] = 65535
    transform = rasterio.transform.from_origin(399960, 5100000, 10, 10)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=40,
        width=60,
        count=5,
        dtype="uint16",
        crs="EPSG:32632",
        transform=transform,
        nodata=65535,
        tiled=True,
        blockxsize=16,
        blockysize=16,
        compress="deflate",
        interleave="band",
    ) as file:
        file.write(values)
        file.descriptions = BANDS
        file.update_tags(MISSION="S2A")
    return path


def test_bands_georeference_and_missing_values_are_kept(scene: Path, tmp_path: Path) -> None:
    import rasterio

    image = read_image(scene)
    assert image.spec.channels == BANDS
    assert image.white is None  # reflectances are no levels
    assert read_header(scene).spec == image.spec
    assert image.valid is not None
    assert not image.valid[:4, :6].any()
    assert image.valid[4:, 6:].all()
    spec = ImageSpec(channels=BANDS[:3], meaning="values", dtype="float32").with_range(0, 10000)
    fitted = fit_image(image, spec, "x")
    assert (fitted[:4, :6] == 0).all()
    with rasterio.open(scene) as file:
        np.testing.assert_array_equal(fitted[4:, 6:], file.read([1, 2, 3]).transpose(1, 2, 0)[4:, 6:])

    out = tmp_path / "out.tif"
    out.write_bytes(encode_image(image_from(fitted + 0.5, spec, image), ".tif"))
    with rasterio.open(scene) as was, rasterio.open(out) as now:
        assert (now.crs, now.transform, now.nodata) == (was.crs, was.transform, 65535)
        assert now.descriptions == BANDS[:3]
        assert now.tags()["MISSION"] == "S2A"
        assert now.dtypes == ("float32",) * 3
        made = now.read()
    assert (made[:, :4, :6] == 65535).all()
    np.testing.assert_array_equal(made[:, 4:, 6:], fitted.transpose(2, 0, 1)[:, 4:, 6:] + 0.5)


def test_a_result_of_another_size_covers_the_same_ground(scene: Path, tmp_path: Path) -> None:
    import rasterio

    image = read_image(scene)
    output = np.zeros((80, 120, 3), np.uint8)
    (tmp_path / "out.tif").write_bytes(encode_image(image_from(output, RGB, image), ".tif"))
    with rasterio.open(scene) as was, rasterio.open(tmp_path / "out.tif") as now:
        assert now.bounds == was.bounds
        assert now.res == (5, 5)
        assert now.crs == was.crs


def test_a_plain_8_bit_map_keeps_its_place(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    pixels = noise(3, 20, 30, dtype="uint8")
    transform = rasterio.transform.from_origin(8, 47, 0.01, 0.01)
    with rasterio.open(
        path, "w", driver="GTiff", height=20, width=30, count=3, dtype="uint8", crs="EPSG:4326",
        transform=transform, photometric="rgb",
    ) as file:  # fmt: skip
        file.write(pixels)
    image = read_image(path)
    assert image.spec == RGB
    np.testing.assert_array_equal(image.pixels, pixels.transpose(1, 2, 0))
    (tmp_path / "out.tif").write_bytes(encode_image(image_from(image.pixels, RGB, image), ".tif"))
    with rasterio.open(tmp_path / "out.tif") as now:
        assert (now.crs, now.transform) == (rasterio.CRS.from_epsg(4326), transform)


def test_a_map_in_colours_of_a_palette_keeps_its_place(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.from_origin(399960, 5100000, 10, 10)
    numbers = noise(20, 30, dtype="uint8") % 3
    with rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", height=20, width=30, count=1, dtype="uint8", nodata=0,
        crs="EPSG:32632", transform=transform, photometric="palette",
    ) as file:  # fmt: skip
        file.write(numbers, 1)
        file.write_colormap(1, {1: (255, 0, 0, 255), 2: (0, 255, 0, 255)})
    image = read_image(tmp_path / "map.tif")
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, numbers != 0)
    (tmp_path / "out.tif").write_bytes(encode_image(image_from(image.pixels, RGB, image), ".tif"))
    with rasterio.open(tmp_path / "out.tif") as now:
        assert (now.crs, now.transform) == (rasterio.CRS.from_epsg(32632), transform)


def test_no_class_is_taken_for_a_missing_value(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = noise(1, 20, 30, dtype="uint8")
    pixels[:, :5] = 0
    transform = rasterio.transform.from_origin(399960, 5100000, 10, 10)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=20, width=30, count=1, dtype="uint8", nodata=0,
        crs="EPSG:32632", transform=transform,
    ) as file:  # fmt: skip
        file.write(pixels)
    image = read_image(tmp_path / "scene.tif")
    assert image.valid is not None
    made = image_from(noise(20, 30, 1, dtype="uint8") % 3, labels_spec((0, 1, 2)), image)
    (tmp_path / "plain.tif").write_bytes(encode_image(made, ".tif"))
    with TiledTiffWriter(tmp_path / "tiled.tif", (20, 30), made) as writer:
        writer.write(made.pixels)
    for name in ("plain.tif", "tiled.tif"):
        with rasterio.open(tmp_path / name) as now:
            assert (now.crs.to_epsg(), now.transform, now.nodata) == (32632, transform, None)
            assert np.unique(now.read(1, masked=True)).tolist() == [0, 1, 2]


def test_premultiplied_colours_keep_their_resolution() -> None:
    buffer = io.BytesIO()
    kind = {"photometric": "rgb", "extrasamples": ["assocalpha"], "metadata": None}
    resolution = {"resolution": (300.0, 300.0), "resolutionunit": 2}
    tifffile.imwrite(buffer, np.full((8, 8, 4), 255, np.uint8), **kind, **resolution)  # type: ignore[arg-type]
    again = encode_image(read_image(buffer.getvalue()), ".tif")
    with tifffile.TiffFile(io.BytesIO(again)) as tiff:
        assert tiff.pages.first.resolution == (300.0, 300.0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("dtype", "nodata", "photometric", "missing"),
    [
        ("uint8", "-1", "minisblack", None),  # which would be 255, were it wrapped
        ("uint16", "-9999", "minisblack", None),
        ("int16", "0.5", "minisblack", None),
        ("int16", "-9999", "minisblack", -9999),
        ("uint16", "0", "miniswhite", 0),  # of the numbers in the file, and not of what is shown
    ],
)
def test_a_missing_value_is_a_number_that_the_file_can_hold(
    dtype: str, nodata: str, photometric: str, missing: int | None
) -> None:
    pixels = noise(8, 8, dtype=dtype)
    pixels[:2] = np.array(float(nodata)).astype(np.int64).astype(dtype)
    pixels[2:] = 7
    buffer = io.BytesIO()
    extra = [(42113, 2, 0, nodata, True)]
    tifffile.imwrite(buffer, pixels, photometric=photometric, metadata=None, extratags=extra)
    valid = read_image(buffer.getvalue()).valid
    if missing is None:
        assert valid is None
    else:
        assert valid is not None
        np.testing.assert_array_equal(valid, pixels != missing)


# Resolution and description


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_resolution_and_description_are_kept(dtype: str) -> None:
    buffer = io.BytesIO()
    pixels = noise(16, 24, dtype=dtype)
    settings = {"resolution": (1200.0, 600.0), "resolutionunit": 3, "description": "liver, 40x"}
    tifffile.imwrite(buffer, pixels, metadata=None, photometric="minisblack", **settings)  # type: ignore[arg-type]
    image = read_image(buffer.getvalue())
    again = encode_image(image, ".tif")
    with tifffile.TiffFile(io.BytesIO(again)) as tiff:
        page: object = tiff.pages.first
        assert page.resolution == (1200.0, 600.0)  # type: ignore[attr-defined]
        assert page.resolutionunit == 3  # type: ignore[attr-defined]
        assert page.description == "liver, 40x"  # type: ignore[attr-defined]
        np.testing.assert_array_equal(page.asarray(), pixels)  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])  # which Pillow reads, and tifffile
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_resolution_turns_with_the_image(dtype: str, orientation: int) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, noise(16, 24, 3, dtype=dtype), photometric="rgb", resolution=(1200.0, 600.0), metadata=None,
        extratags=[(274, 3, 1, orientation, True)],
    )  # fmt: skip
    image = read_image(buffer.getvalue())
    again = encode_image(image_from(image.pixels, image.spec, image), ".tif")
    with tifffile.TiffFile(io.BytesIO(again)) as tiff:
        page: object = tiff.pages.first
        expected = (1200.0, 600.0) if orientation < 5 else (600.0, 1200.0)
        assert page.resolution == expected  # type: ignore[attr-defined]


# Stacks


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "CYX"])
def test_channels_of_ome_are_channels_and_the_rest_are_slices(axes: str) -> None:
    names = ["DAPI", "GFP", "RFP", "Cy5"]
    lengths = {"Z": 3, "C": 4, "Y": 32, "X": 33}
    values = noise(*(lengths[axis] for axis in axes))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        values,
        ome=True,
        photometric="minisblack",
        metadata={"axes": axes, "Channel": {"Name": names}},
    )
    slices = values if axes == "ZCYX" else values.swapaxes(0, 1) if axes == "CZYX" else values[None]
    with open_image(buffer.getvalue(), suffix=".tif") as image:
        header = image.header()
        assert header.pages == len(slices)
        assert header.spec.channels == tuple(names)
        for page, wanted in enumerate(slices):
            read = image.read(page)
            assert read.spec == header.spec
            np.testing.assert_array_equal(read.pixels, wanted.transpose(1, 2, 0))
    assert read_image(encode_image(read, ".tif")).spec.channels == tuple(names)


@pytest.mark.parametrize("axes", ["CYX", "ZCYX", "TZCYX", "TYX"])
def test_ome_is_written_where_it_was_read(tmp_path: Path, axes: str) -> None:
    shape = {"T": 2, "Z": 3, "C": 2, "Y": 16, "X": 24}
    pixels = noise(*(shape[axis] for axis in axes))
    metadata = {
        "axes": axes,
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeZUnit": "µm",
    }
    if "C" in axes:
        metadata["Channel"] = {"Name": ["DAPI", "GFP"]}  # type: ignore[assignment]
    source = tmp_path / "cells.ome.tif"
    tifffile.imwrite(source, pixels, ome=True, photometric="minisblack", metadata=metadata)
    with open_image(source) as file:
        pages = [file.read(page) for page in range(file.header().pages)]
    made = tmp_path / "out.ome.tif"
    write_volume(made, iter(pages), pages=len(pages), suffix=".tif")
    with tifffile.TiffFile(made) as tiff:
        assert tiff.is_ome
        assert (tiff.series[0].axes, tiff.series[0].shape) == (axes, pixels.shape)
        xml = tiff.ome_metadata
        assert xml is not None
        np.testing.assert_array_equal(tiff.asarray(), pixels)
    for words in ('PhysicalSizeX="0.25"', 'PhysicalSizeY="0.5"', 'PhysicalSizeZ="2.0"'):
        assert words in xml
    assert ('Name="GFP"' in xml) == ("C" in axes)
    again = tmp_path / "again.ome.tif"
    write_volume(again, iter(pages), pages=len(pages), suffix=".tif")
    assert again.read_bytes() == made.read_bytes()


def test_ome_of_another_size_has_pixels_of_another_size() -> None:
    buffer = io.BytesIO()
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}
    tifffile.imwrite(buffer, noise(2, 32, 40), ome=True, photometric="minisblack", metadata=metadata)
    source = read_image(buffer.getvalue())
    spec = ImageSpec(channels=("nuclei",), meaning="values", dtype="float32").with_range(0, 1)
    made = encode_image(image_from(np.zeros((16, 20, 1), np.float32), spec, source), ".tif")
    with tifffile.TiffFile(io.BytesIO(made)) as tiff:
        assert tiff.is_ome
        xml = str(tiff.ome_metadata)
    assert 'PhysicalSizeX="0.5" PhysicalSizeXUnit="nm"' in xml
    assert 'Name="nuclei"' in xml
    assert read_image(made).spec.channels == ("nuclei",)


def test_the_size_of_a_pixel_of_ome_is_the_resolution_of_the_result() -> None:
    buffer = io.BytesIO()
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5}
    tifffile.imwrite(buffer, noise(2, 32, 40), ome=True, photometric="minisblack", metadata=metadata)
    image = read_image(buffer.getvalue())
    with tifffile.TiffFile(io.BytesIO(encode_image(image, ".tif"))) as tiff:
        page: object = tiff.pages.first
        assert page.resolution == (40000, 20000)  # type: ignore[attr-defined]
        assert page.resolutionunit == 3  # type: ignore[attr-defined]


def test_hyperstacks_of_imagej_are_read(tmp_path: Path) -> None:
    values = noise(3, 2, 20, 30)
    tifffile.imwrite(tmp_path / "x.tif", values, imagej=True, metadata={"axes": "ZCYX"})
    with open_image(tmp_path / "x.tif") as image:
        assert image.header().pages == 3
        np.testing.assert_array_equal(image.read(2).pixels, values[2].transpose(1, 2, 0))


def test_pages_of_any_kind_are_written_and_read(tmp_path: Path) -> None:
    slices = [noise(20, 30, 5, dtype="float32") + page for page in range(4)]
    images = (Image(pixels=s, spec=file_spec(5, "float32", False)) for s in slices)
    write_volume(tmp_path / "x.tif", images, pages=4)
    with open_image(tmp_path / "x.tif") as image:
        assert image.header().pages == 4
        for page, wanted in enumerate(slices):
            np.testing.assert_array_equal(image.read(page).pixels, wanted)


# Parts, and files larger than the memory


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg"])
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_part_is_what_the_whole_has_there(compression: str | None, tiled: bool, planar: str) -> None:
    if compression == "jpeg" and planar == "separate":
        pytest.skip("JPEG in TIFF is interleaved")
    values = noise(70, 90, 3, dtype="uint8")
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        values if planar == "contig" else values.transpose(2, 0, 1),
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        predictor=compression in ("zlib", "lzw"),
        metadata=None,
        tile=(32, 32) if tiled else None,
        rowsperstrip=None if tiled else 16,
    )
    with open_image(buffer.getvalue(), suffix=".tif") as image:
        whole = image.read().pixels
        for top, left, height, width in ((0, 0, 70, 90), (3, 5, 1, 1), (30, 30, 40, 60), (64, 64, 6, 26)):
            part = image.read_region(top, left, height, width).pixels
            if compression == "jpeg":  # Pillow's decoder rounds otherwise than tifffile's
                assert np.abs(part.astype(int) - whole[top : top + height, left : left + width]).max() <= 2
            else:
                np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])
        with pytest.raises(UnreadableImageError, match="no part 10x10 at row 65"):
            image.read_region(65, 0, 10, 10)


def test_tiles_that_were_left_out_have_no_values(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "sparse.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=64, width=64, count=1, dtype="float32", tiled=True, blockxsize=32,
        blockysize=32, nodata=-9999, sparse_ok=True, crs="EPSG:32632",
        transform=rasterio.transform.from_origin(0, 0, 10, 10),
    ) as file:  # fmt: skip
        file.write(np.ones((32, 32), np.float32), 1, window=rasterio.windows.Window(0, 0, 32, 32))
    with open_image(path) as image:
        for read in (image.read(), image.read_region(0, 0, 64, 64)):
            assert set(np.unique(read.pixels)) == {-9999, 1}
            assert read.valid is not None
            assert read.valid.mean() == 0.25


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_rows_become_a_tiled_pyramid(tmp_path: Path, channels: int, dtype: str) -> None:
    values = noise(1100, 700, channels, dtype=dtype)
    like = Image(pixels=values[:1], spec=file_spec(channels, dtype, dtype != "float32"))
    path = tmp_path / "slide.tif"
    with TiledTiffWriter(path, (1100, 700), like, compression=1) as writer:
        for top in range(0, 1100, 333):
            writer.write(values[top : top + 333])
    np.testing.assert_array_equal(read_image(path).pixels, values)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert tiff.pages.first.is_tiled
        (series,) = tiff.series
        assert [level.shape[:2] for level in series.levels] == [(1100, 700), (550, 350), (275, 175)][
            : len(series.levels)
        ]
        assert len(series.levels) == 3
        half = series.levels[1].asarray().reshape(550, 350, channels)
    mean = values.astype(np.float64).reshape(550, 2, 350, 2, channels).mean(axis=(1, 3))
    np.testing.assert_allclose(half, mean, rtol=1e-4, atol=0.5001)
    assert [item.name for item in tmp_path.iterdir()] == ["slide.tif"]


def test_too_few_or_odd_rows_leave_no_file(tmp_path: Path) -> None:
    values = noise(300, 64, 3, dtype="uint8")
    like = Image(pixels=values, spec=RGB)
    writer = TiledTiffWriter(tmp_path / "a.tif", (600, 64), like)
    writer.write(values)
    with pytest.raises(DataError, match="600 rows was given 300"):
        writer.close()
    with (
        pytest.raises(DataError, match="do not fit"),
        TiledTiffWriter(tmp_path / "b.tif", (600, 64), like) as writer,
    ):
        writer.write(values[:, :32])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="figures of Linux")
def test_a_large_file_is_written_and_read_in_little_memory(tmp_path: Path) -> None:
    # 20,000 x 20,000 RGB is 1.2 GB; the process must stay far below. VmHWM is its own peak, where getrusage counts what
    # the test's process had when it began.
    import subprocess

    script = f"""
import numpy as np
from pathlib import Path
from translatekit.images import Image, open_image
from translatekit.image_spec import RGB
from translatekit.images.tiled import TiledTiffWriter
strip = np.broadcast_to(np.arange(20000, dtype=np.uint16)[None, :, None], (256, 20000, 3)).astype(np.uint8)
path = Path({str(tmp_path / "large.tif")!r})
with TiledTiffWriter(path, (20000, 20000), Image(pixels=strip, spec=RGB), compression=1) as writer:
    for top in range(0, 20000, 256):
        writer.write(strip[: min(256, 20000 - top)])
with open_image(path) as image:
    header = image.header()
    assert (header.height, header.width, header.pages) == (20000, 20000, 1), header
    part = image.read_region(19000, 500, 512, 512).pixels
    assert (part == strip[:1, 500:1012]).all()
print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 700, done.stdout  # MB
