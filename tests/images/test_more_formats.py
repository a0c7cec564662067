"""Deep, light, raw and large: each format judged by a decoder or an encoder of others."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB, ImageSpec
from translatekit.images import (
    Image,
    UnreadableImageError,
    encode_image,
    fit_image,
    image_from,
    open_image,
    read_header,
    read_image,
)
from translatekit.images.image import file_spec
from translatekit.images.tiff_tags import TIFF


def noise(channels: int, dtype: str, height: int = 40, width: int = 56) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if dtype == "float32":
        return rng.gamma(2, 3, (height, width, channels)).astype(np.float32)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def image_of(pixels: np.ndarray, white: float | None = None, channels: int | tuple[str, ...] = 0) -> Image:
    spec = file_spec(channels or pixels.shape[2], pixels.dtype.name, white is not None)
    return Image(pixels=pixels, spec=spec, white=white)


# Levels of more than 8 bits


@pytest.mark.parametrize("suffix", [".pgm", ".jp2", ".j2k"])
@pytest.mark.parametrize("white", [1023, 4095, 65535])
def test_the_value_of_white_is_kept(suffix: str, white: int) -> None:
    pixels = (noise(1, "uint16").astype(int) % (white + 1)).astype(np.uint16)
    pixels[0, 0], pixels[0, 1] = 0, white
    data = encode_image(image_of(pixels, float(white)), suffix)
    again = read_image(data, suffix=suffix)
    assert again.white == white
    np.testing.assert_array_equal(again.pixels, pixels)
    if suffix == ".pgm":
        cv2 = pytest.importorskip("cv2")
        other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(other, pixels[:, :, 0])


@pytest.mark.parametrize("white", [1023.0, 65535.0])
def test_deep_avif_is_written_in_10_and_12_bits(white: float) -> None:
    ramp = np.linspace(0, white, 64 * 64).reshape(64, 64, 1).repeat(3, axis=2).astype(np.uint16)
    again = read_image(encode_image(image_of(ramp, white), ".avif", quality=100))
    assert again.white == (1023 if white == 1023 else 4095)
    assert np.unique(again.pixels).size > 600
    both = [fit_image(image, RGB, "x") for image in (image_of(ramp, white), again)]
    np.testing.assert_allclose(both[0], both[1], rtol=0, atol=4 / 1023)


# Light


def test_exr_keeps_named_channels_and_alpha(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    pixels = noise(3, "float32") - 2
    rgba = Image(pixels=pixels, spec=file_spec(RGB.channels, "float32", False), alpha=pixels[:, :, 0].copy())
    again = read_image(encode_image(rgba, ".exr"))
    np.testing.assert_array_equal(again.pixels, pixels)
    np.testing.assert_array_equal(again.alpha, pixels[:, :, 0])
    assert again.spec == rgba.spec
    data = encode_image(image_of(pixels, channels=("depth.Z", "normal.X", "normal.Y")), ".exr")
    again = read_image(data)
    assert again.spec.channels == ("depth.Z", "normal.X", "normal.Y")
    np.testing.assert_array_equal(again.pixels, pixels)
    half = np.arange(4 * 5 * 3, dtype=np.float16).reshape(4, 5, 3)
    openexr.File({}, {"RGB": half.copy()}).write(str(tmp_path / "half.exr"))
    np.testing.assert_array_equal(read_image(tmp_path / "half.exr").pixels, half)


def test_light_is_taken_for_levels_only_where_it_is_within_them() -> None:
    pytest.importorskip("OpenEXR")
    dim = read_image(
        encode_image(image_of(np.full((4, 4, 3), 0.5, np.float32), channels=RGB.channels), ".exr")
    )
    assert (fit_image(dim, RGB, "x") == 0.5).all()
    lamp = read_image(
        encode_image(image_of(np.full((4, 4, 3), 7, np.float32), channels=RGB.channels), ".exr")
    )
    with pytest.raises(DataError, match="--range"):
        fit_image(lamp, RGB, "x")
    spec = replace(RGB.with_range(0, 10), dtype="float32")
    back = image_from(fit_image(lamp, spec, "x"), spec, lamp)
    assert (read_image(encode_image(back, ".exr")).pixels == 7).all()


def test_radiance_is_what_opencv_reads() -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = noise(3, "float32")
    data = encode_image(image_of(pixels, channels=RGB.channels), ".hdr")
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    again = read_image(data)
    np.testing.assert_allclose(again.pixels, other, rtol=0.02, atol=0.01)
    np.testing.assert_allclose(again.pixels, pixels, rtol=0.02, atol=pixels.max() / 200)
    with pytest.raises(DataError, match=r"no negative numbers: choose \.exr"):
        encode_image(image_of(-pixels, channels=RGB.channels), ".hdr")
    lying = data.replace(b"-Y 40 +X 56", b"-Y 999999 +X 999999")
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_header(lying)


# The last resort


@pytest.mark.parametrize("suffix", [".pcx", ".sgi", ".dds", ".xbm", ".msp"])
def test_imageio_reads_the_rest(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    is_bitmap = suffix in (".xbm", ".msp")
    pixels = np.tile(np.arange(48, dtype=np.uint8)[None, :, None] * 2, (48, 1, 3))
    pillow = PillowImage.fromarray(pixels)
    (pillow.convert("1") if is_bitmap else pillow).save(path)
    image, header = read_image(path), read_header(path)
    assert header.spec == image.spec
    assert image.spec == (GRAY if is_bitmap else RGB)
    if suffix not in (".xbm", ".msp"):
        np.testing.assert_array_equal(image.pixels, pixels)
    np.testing.assert_array_equal(iio.imread(path, plugin="pillow").shape[:2], image.pixels.shape[:2])


def test_no_program_is_run_to_read_a_file() -> None:
    with pytest.raises(UnreadableImageError, match="PostScript, a program"):
        read_image(b"%!PS-Adobe-3.0 EPSF-3.0\n", suffix=".psd")


# Raw, slides and rasters


def dng(mosaic: np.ndarray) -> bytes:
    """A raw file of a camera's sensor (DNG 1.4), without a preview."""
    buffer = io.BytesIO()
    one = (10000, 10000)
    matrix = (*one, 0, 1, 0, 1, 0, 1, *one, 0, 1, 0, 1, 0, 1, *one)
    tags = [
        (50706, "B", 4, (1, 4, 0, 0), True),  # DNGVersion
        (50708, "s", 0, "Test Camera", True),
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, (0, 1, 1, 2), True),  # CFAPattern: RGGB
        (50717, "I", 1, 65535, True),  # WhiteLevel
        (50721, "2i", 9, matrix, True),  # ColorMatrix1
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), True),  # AsShotNeutral
        (50778, "H", 1, 21, True),
        (271, "s", 0, "Test", True),
        (272, "s", 0, "Camera", True),
    ]
    tifffile.imwrite(
        buffer, mosaic, photometric="cfa", metadata=None, extratags=tags, rowsperstrip=len(mosaic)
    )
    return buffer.getvalue()


def test_raw_files_are_developed_in_16_bits(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    mosaic = np.full((96, 128), 20000, np.uint16)
    path = tmp_path / "x.dng"
    path.write_bytes(dng(mosaic))
    image, header = read_image(path), read_header(path)
    assert (header.height, header.width) == image.pixels.shape[:2] == (96, 128)
    assert header.spec == image.spec
    assert (image.pixels.dtype, image.white) == (np.uint16, 65535)
    assert 1000 < image.pixels[8:-8, 8:-8].mean() < 60000
    with pytest.raises(UnreadableImageError):
        read_image(path.read_bytes()[:2000], suffix=".dng")


def test_slides_are_read_by_parts_and_keep_their_resolution(tmp_path: Path) -> None:
    pytest.importorskip("tiffslide")
    path = tmp_path / "x.svs"
    pixels = noise(3, "uint8", 600, 700)
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        tile=(256, 256),
        description="Aperio Image Library v1\n700x600 |AppMag = 20|MPP = 0.5",
        metadata=None,
    )
    with open_image(path) as slide:
        assert slide.has_regions
        header = slide.header()
        assert (header.height, header.width) == (600, 700)
        np.testing.assert_array_equal(slide.read_region(250, 300, 100, 200).pixels, pixels[250:350, 300:500])
        part = slide.read_region(0, 0, 600, 700)
    data = encode_image(image_from(part.pixels, RGB, part), ".tif")
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page: object = tiff.pages.first
        assert page.resolution == (20000, 20000)  # type: ignore[attr-defined]


def test_a_slide_in_the_layout_of_aperio_is_its_first_level(tmp_path: Path) -> None:
    """JPEG tiles of 240, a stripped thumbnail behind them, a smaller level, and label and macro at the end."""
    pytest.importorskip("tiffslide")
    y, x = np.mgrid[0:1000, 0:1200]
    pixels = np.stack([x // 5, y // 4, (x + y) // 9], axis=2).astype(np.uint8)
    jpeg = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 95}, "metadata": None}
    head = "Aperio Image Library v12.0.15\r\n1200x1000"
    path = tmp_path / "x.svs"
    with tifffile.TiffWriter(path) as tiff:
        said = f"{head} [0,0 1200x1000] (240x240) JPEG/RGB Q=95|AppMag = 20|MPP = 0.4990"
        tiff.write(pixels, tile=(240, 240), description=said, **jpeg)
        tiff.write(pixels[::8, ::8], rowsperstrip=16, description=f"{head} -> 150x125 - |AppMag = 20", **jpeg)
        said = f"{head} [0,0 1200x1000] (240x240) -> 300x250 JPEG/RGB Q=95|AppMag = 20"
        tiff.write(pixels[::4, ::4], tile=(240, 240), description=said, **jpeg)
        label = np.full((200, 180, 3), 250, np.uint8)
        tiff.write(label, subfiletype=1, description="Aperio Image Library v12.0.15\r\nlabel 180x200", **jpeg)
        macro = np.full((200, 500, 3), 220, np.uint8)
        tiff.write(macro, subfiletype=9, description="Aperio Image Library v12.0.15\r\nmacro 500x200", **jpeg)
    with open_image(path) as slide:
        header = slide.header()
        assert (header.height, header.width, header.pages) == (1000, 1200, 1)
        part = slide.read_region(470, 500, 300, 400)
    assert np.abs(part.pixels.astype(int) - pixels[470:770, 500:900]).mean() < 4
    assert part.metadata[TIFF].resolution[0] == pytest.approx(1e4 / 0.499)


def test_virtual_rasters_stack_the_bands_of_several_files(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.transform.from_origin(399960, 5100000, 10, 10)
    bands = []
    for name in ("B02", "B08"):
        values = noise(1, "uint16")[:, :, 0] // (2 if name == "B08" else 1)
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", height=40, width=56, count=1, dtype="uint16",
            crs="EPSG:32632", transform=transform,
        ) as file:  # fmt: skip
            file.write(values, 1)
        bands.append(values)
    rows = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}"><Description>{name}</Description><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band, name in enumerate(("B02", "B08"), 1)
    )
    (tmp_path / "x.vrt").write_text(
        '<VRTDataset rasterXSize="56" rasterYSize="40"><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>399960, 10, 0, 5100000, 0, -10</GeoTransform>{rows}</VRTDataset>"
    )
    image = read_image(tmp_path / "x.vrt")
    assert image.spec.channels == ("B02", "B08")
    np.testing.assert_array_equal(image.pixels, np.stack(bands, axis=2))
    spec = ImageSpec(channels=("B08",), meaning="values", dtype="uint16").with_range(0, 1)
    out = tmp_path / "out.tif"
    out.write_bytes(encode_image(image_from(fit_image(image, spec, "x"), spec, image), ".tif"))
    with rasterio.open(out) as file:
        assert (file.crs, file.transform) == (rasterio.CRS.from_epsg(32632), transform)
        np.testing.assert_array_equal(file.read(1), bands[1])


def test_without_its_package_a_format_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "x.nii").write_bytes(b"\0" * 500)
    script = (
        "import sys\n"
        "sys.modules['nibabel'] = None\n"
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'nibabel' else find(name, *rest)\n"
        "from pathlib import Path\n"
        "from translatekit.errors import TranslatekitError\n"
        "from translatekit.images import read_image\n"
        f"try: read_image(Path({str(tmp_path / 'x.nii')!r}))\n"
        "except TranslatekitError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "x.nii cannot be read: format 'nifti' needs what is not installed: run pip install" in done.stdout
    assert "'translatekit[medical]'" in done.stdout
