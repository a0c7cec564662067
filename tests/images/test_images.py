from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from translatekit.errors import DataError, OptionError
from translatekit.images import (
    UnreadableImageError,
    encode_image,
    image_of,
    image_suffixes,
    read_levels,
    read_size,
    resize,
    to_gray,
    writable_suffixes,
)
from translatekit.images.formats import format_named

HOSTILE_THAT_DECODE = {"hopper_bad_exif.jpg", "hopper_idat_after_image_end.png"}
DEEP = {
    *("12in16bit.tif", "16bit.cropped.tif", "apng_mode_16bit.png", "hopper_16bit.pgm"),
    *(f"bas{kind}{colour}16.png" for kind in "in" for colour in ("0g", "2c", "4a", "6a")),
}


def random_pixels(height: int, width: int, channels: int, dtype: type, seed: int = 0) -> np.ndarray:
    """Noise; as float32 on the 16-bit steps, so that 16 bits hold it exactly."""
    rng = np.random.default_rng(seed)
    if dtype is np.uint8:
        return rng.integers(0, 256, (height, width, channels), np.uint8)
    return (rng.integers(0, 65536, (height, width, channels)) / 65535.0).astype(np.float32)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# Real files


def test_every_real_image_opens(data_dir: Path) -> None:
    files = sorted((data_dir / "images").iterdir())
    assert files
    for path in files:
        assert path.suffix in image_suffixes()
        picture = read_levels(path)
        height, width, channels = picture.pixels.shape
        assert channels in (1, 3), path
        assert (height, width) == read_size(path), path
        assert picture.pixels.dtype == (np.float32 if path.name in DEEP else np.uint8), path
        if picture.alpha is not None:
            assert picture.alpha.shape == (height, width), path
            assert picture.alpha.dtype == picture.pixels.dtype, path
        assert read_levels(path, deep=False).pixels.dtype == np.uint8


def test_all_exif_orientations_show_one_picture(data_dir: Path) -> None:
    # Each file bears its number in the middle: compare the sky above and the pebbles below it.
    pictures = [
        read_levels(data_dir / "images" / f"exif_orientation_{number}.jpg").pixels.astype(int)
        for number in range(1, 9)
    ]
    for picture in pictures[1:]:
        assert picture.shape == pictures[0].shape == (1800, 1200, 3)
        for rows in (slice(0, 600), slice(1100, 1800)):
            assert np.abs(picture[rows] - pictures[0][rows]).mean() < 5  # mirrored, it is 46


@pytest.mark.parametrize(
    "name",
    [
        "hopper.bmp",
        "hopper.gif",
        "hopper.tif",
        "hopper.webp",
        "hopper_orientation_6.webp",
        "avif_hopper.avif",
    ],
)
def test_one_subject_looks_alike_in_every_format(data_dir: Path, name: str) -> None:
    reference = read_levels(data_dir / "images" / "hopper.png").pixels.astype(int)
    assert np.abs(read_levels(data_dir / "images" / name).pixels.astype(int) - reference).mean() < 8


def test_gray_kinds_look_like_the_colour_picture(data_dir: Path) -> None:
    reference = to_gray(read_levels(data_dir / "images" / "hopper.png").pixels).astype(int)
    for name in ("hopper_gray.jpg", "hopper_16bit.pgm"):
        gray = read_levels(data_dir / "images" / name, deep=False).pixels.astype(int)
        assert gray.shape == reference.shape
        assert np.abs(gray - reference).mean() < 8


def test_cmyk_of_adobe_is_not_inverted(data_dir: Path) -> None:
    pixels = read_levels(data_dir / "images" / "pil_sample_cmyk.jpg").pixels
    assert pixels[:, :, 0].max() > 200  # red letters
    assert np.median(pixels) < 30  # on black


def test_tiff_orientation_is_applied_once(data_dir: Path) -> None:
    assert read_levels(data_dir / "images" / "g4_orientation_6.tif").pixels.shape[:2] == (88, 590)


def test_profiles_are_kept(data_dir: Path) -> None:
    profile = read_levels(data_dir / "images" / "cat.jpg").icc_profile
    assert profile is not None
    assert ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    assert read_levels(data_dir / "images" / "cat.jpg", channels=1).icc_profile is None


def test_hostile_files_decode_or_are_refused_in_one_sentence(data_dir: Path) -> None:
    files = sorted((data_dir / "hostile_images").iterdir())
    assert files
    for path in files:
        start = time.monotonic()
        if path.name in HOSTILE_THAT_DECODE:
            assert read_levels(path).pixels.size
        else:
            with pytest.raises(UnreadableImageError) as error:
                read_levels(path)
            assert str(path) in str(error.value)
            assert "\n" not in str(error.value)
        assert time.monotonic() - start < 10


def test_nothing_is_printed_about_odd_files(data_dir: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "from translatekit.images import *\n"
        "for folder in sys.argv[1:]:\n"
        "    for path in sorted(pathlib.Path(folder).iterdir()):\n"
        "        try: read_levels(path)\n"
        "        except UnreadableImageError: pass\n"
    )
    folders = [str(data_dir / name) for name in ("images", "hostile_images")]
    done = subprocess.run(
        [sys.executable, "-c", program, *folders], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Made files


def test_exif_orientation_restores_the_picture() -> None:
    upright = random_pixels(5, 9, 3, np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(np.ascontiguousarray(pixels)), "PNG", exif=exif)
        np.testing.assert_array_equal(read_levels(data).pixels, upright, err_msg=f"orientation {orientation}")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_lossless_formats_give_back_what_was_written(
    suffix: str, channels: int, alpha: bool, dtype: type
) -> None:
    pixels = random_pixels(13, 17, channels, dtype)
    mask = random_pixels(13, 17, 1, dtype, seed=1)[:, :, 0] if alpha else None
    again = read_levels(encode_image(image_of(pixels, mask), suffix), channels)
    np.testing.assert_allclose(again.pixels, pixels, rtol=0, atol=1e-6)
    assert again.pixels.dtype == dtype
    if mask is None:
        assert again.alpha is None
    else:
        np.testing.assert_array_equal(again.alpha, mask)


@pytest.mark.parametrize("suffix", sorted(writable_suffixes()))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_format_takes_every_kind_of_pixels(suffix: str, channels: int, dtype: type) -> None:
    held = format_named(suffix).channels
    if held and channels not in held:
        pytest.skip(f"{suffix} holds no images of {channels} channels")
    smooth = resize(random_pixels(3, 3, channels, np.float32), (40, 30))
    pixels = smooth if dtype is np.float32 else np.rint(smooth * 255).astype(np.uint8)
    again = read_levels(encode_image(image_of(pixels, pixels[:, :, 0]), suffix), channels, deep=False)
    difference = again.pixels.astype(float) - smooth * 255
    assert np.abs(difference).mean() < 3


def test_16_bits_survive_interlacing_and_either_byte_order() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (12, 10, 3), np.uint16)
    for order in "<>":
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, photometric="rgb", byteorder=order)
        pixels = read_levels(buffer.getvalue()).pixels
        np.testing.assert_array_equal(np.rint(pixels * 65535), values)


def test_interlaced_and_plain_16_bit_png_are_equal(data_dir: Path) -> None:
    for kind in ("0g", "2c", "4a", "6a"):
        plain, interlaced = (read_levels(data_dir / "images" / f"bas{i}{kind}16.png") for i in "ni")
        np.testing.assert_array_equal(plain.pixels, interlaced.pixels)


def test_a_16_bit_png_agrees_with_its_8_bit_reading(data_dir: Path) -> None:
    path = data_dir / "images" / "basn2c16.png"
    with Image.open(path) as image:
        coarse = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_levels(path).pixels * 65535 // 256, coarse)


def test_transparent_palette_entries_become_alpha() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    picture = read_levels(encoded(image, "PNG", transparency=1))
    assert picture.pixels.tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0]]


def test_a_transparent_colour_of_16_bit_gray_becomes_alpha() -> None:
    image = Image.fromarray(np.array([[0, 1000, 65535]], np.uint16))
    picture = read_levels(encoded(image, "PNG", transparency=1000))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[1.0, 0.0, 1.0]]


def test_one_bit_images_are_black_and_white() -> None:
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert read_levels(encoded(image, "PNG")).pixels[:, :, 0].tolist() == [[0, 255], [255, 0]]


def test_channels_are_converted_on_request() -> None:
    red = encoded(Image.new("RGB", (2, 2), (255, 0, 0)), "PNG")
    assert read_levels(red, channels=1).pixels.tolist() == [[[76], [76]], [[76], [76]]]
    gray = encoded(Image.new("L", (2, 1), 9), "PNG")
    assert read_levels(gray, channels=3).pixels.tolist() == [[[9, 9, 9], [9, 9, 9]]]


def test_float_tiff_in_0_to_1_is_read_and_others_are_refused() -> None:
    inside = Image.fromarray(np.array([[0.0, 0.25, 1.0]], np.float32))
    assert read_levels(encoded(inside, "TIFF")).pixels[0, :, 0].tolist() == [0.0, 0.25, 1.0]
    outside = Image.fromarray(np.array([[0.0, 900.0]], np.float32))
    with pytest.raises(UnreadableImageError, match="0 to 900, are not in 0 to 1; pass --range"):
        read_levels(encoded(outside, "TIFF"))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".avif"])
def test_a_profile_is_written_and_read_again(suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for dtype in (np.uint8, np.float32):
        data = encode_image(image_of(random_pixels(8, 8, 3, dtype), icc_profile=profile), suffix)
        assert read_levels(data).icc_profile == profile


def test_missing_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    for name, reason in (("nope.png", "no image"), ("empty.png", "is empty"), ("text.png", "is no image")):
        with pytest.raises(UnreadableImageError, match=reason) as error:
            read_levels(tmp_path / name)
        assert name in str(error.value)
    with pytest.raises(UnreadableImageError):
        read_levels(tmp_path)


def test_a_truncated_file_is_refused_at_every_length() -> None:
    for suffix in (".jpg", ".png", ".webp", ".tif", ".bmp"):
        data = encode_image(image_of(random_pixels(40, 40, 3, np.uint8)), suffix)
        for length in (1, 20, len(data) // 2, len(data) * 9 // 10):
            with pytest.raises(UnreadableImageError):
                read_levels(data[:length])


def test_huge_dimensions_are_refused_before_decoding() -> None:
    header = encode_image(image_of(np.zeros((1, 1, 1), np.uint8)), ".bmp")
    huge = bytearray(header)
    huge[18:26] = (20_000).to_bytes(4, "little") * 2
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_levels(bytes(huge))


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'\.xyz'"):
        encode_image(image_of(np.zeros((2, 2, 3), np.uint8)), ".xyz")
    with pytest.raises(DataError, match=r"70000x1 pixels.*\.jpg"):
        encode_image(image_of(np.zeros((1, 70_000, 3), np.uint8)), ".jpg")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 3), (20, 30, 4)])
def test_resize_keeps_dtype_axes_and_range(dtype: type, shape: tuple[int, ...]) -> None:
    pixels = random_pixels(20, 30, 4, dtype)[:, :, : shape[2] if len(shape) == 3 else 1].reshape(shape)
    small = resize(pixels, (7, 11))
    assert small.shape == (7, 11, *shape[2:])
    assert small.dtype == dtype
    assert small.max() <= (255 if dtype is np.uint8 else 1.0)
    assert abs(float(small.mean()) - float(pixels.mean())) < 0.06 * pixels.max()


def test_resize_agrees_between_8_bits_and_float() -> None:
    pixels = random_pixels(16, 16, 3, np.uint8) // 2 + 64  # room for the overshoot
    coarse, fine = resize(pixels, (9, 40)), resize(pixels.astype(np.float32) / 255, (9, 40))
    assert np.abs(coarse - fine * 255).max() <= 1.5  # Pillow rounds between its two passes


@pytest.mark.parametrize("quality", [95, 80])
@pytest.mark.parametrize("icc", [False, True])
def test_jpeg_is_written_as_pillow_writes_it(quality: int, icc: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if icc else None
    expected = io.BytesIO()
    subsampling = 0 if quality == 95 else 2
    Image.fromarray(pixels).save(
        expected, "JPEG", quality=quality, subsampling=subsampling, icc_profile=profile
    )
    written = Image.open(
        io.BytesIO(encode_image(image_of(pixels, icc_profile=profile), ".jpg", quality=quality))
    )
    assert np.array_equal(np.asarray(written), np.asarray(Image.open(expected)))
    assert written.info.get("icc_profile") == profile
