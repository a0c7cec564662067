"""Images as their files have them, for a spec, and on the way back."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, levels_spec
from translatekit.images import (
    Image,
    encode_image,
    fit_image,
    image_from,
    read_header,
    read_image,
    read_levels,
    resize,
    with_edges,
)
from translatekit.images.image import file_spec

CT = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")


def noise(channels: int, dtype: str, height: int = 13, width: int = 19) -> np.ndarray:
    rng = np.random.default_rng(channels)
    if dtype == "float32":
        return rng.normal(0, 1000, (height, width, channels)).astype(np.float32)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (height, width, channels), dtype, endpoint=True)


def tiff(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **{"photometric": "minisblack", **options})  # type: ignore[arg-type]
    return buffer.getvalue()


# As files have them


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_keeps_its_integers(channels: int) -> None:
    stored = noise(channels, "uint16")
    data = cv2.imencode(".png", stored[:, :, ::-1])[1].tobytes()
    image = read_image(data)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, stored)
    assert image.white == 65535
    assert str(image.spec) == ("gray" if channels == 1 else "RGB") + " of uint16"
    assert read_header(data).spec == image.spec


def test_white_is_what_the_file_says() -> None:
    pgm = b"P5 3 1 1023 " + np.array([0, 512, 1023], ">u2").tobytes()
    ten_bits = imagecodecs.avif_encode(noise(3, "uint16", 64, 64) >> 6, level=100, bitspersample=10)
    twelve_bits = imagecodecs.jpeg2k_encode(noise(1, "uint16")[:, :, 0] >> 4, level=0, bitspersample=12)
    for data, white in ((pgm, 1023), (ten_bits, 1023), (twelve_bits, 4095)):
        image = read_image(data)
        assert (image.white, image.pixels.dtype) == (white, np.uint16)
        assert read_header(data).spec == image.spec
        fitted = fit_image(image, levels_spec(image.spec.count), "x")
        np.testing.assert_allclose(fitted, image.pixels / np.float32(white), rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 4, 5, 13])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_tiff_of_any_channels_and_type_is_kept(channels: int, dtype: str, planar: str) -> None:
    stored = noise(channels, dtype)
    samples = stored.transpose(2, 0, 1) if planar == "separate" else stored
    several = {"planarconfig": planar, "extrasamples": ["unspecified"] * (channels - 1)}
    data = tiff(samples if channels > 1 else stored[:, :, 0], **(several if channels > 1 else {}))
    image = read_image(data)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, stored)
    assert image.white == {"uint8": 255, "uint16": 65535}.get(dtype)
    assert image.spec.levels == (image.white is not None)
    assert read_header(data).spec == image.spec
    again = read_image(encode_image(image, ".tif"))
    np.testing.assert_array_equal(again.pixels, stored)
    assert again.spec == image.spec


def test_values_that_are_no_numbers_are_marked() -> None:
    stored = noise(2, "float32")
    stored[2, 3, 1], stored[4, 5, 0] = np.nan, np.inf
    image = read_image(tiff(stored, planarconfig="contig"))
    assert image.valid is not None
    assert sorted(map(tuple, np.argwhere(~image.valid))) == [(2, 3), (4, 5)]
    fitted = fit_image(
        image, ImageSpec(channels=("a", "b"), meaning="values").with_range((-5, 7), (50, 70)), "x"
    )
    assert fitted[2, 3].tolist() == [-5, 7]
    assert np.isfinite(fitted).all()


def test_neighbouring_slices_have_the_range_of_their_channel() -> None:
    stored = noise(1, "float32")
    stored[0, 0] = np.nan
    spec = ImageSpec(channels=("a", "b", "c"), meaning="values", slices=3).with_range((-1, -2, -3), 9)
    image = read_image(tiff(stored[:, :, 0]))
    fitted = fit_image(image, spec, "x")
    assert fitted.shape == stored.shape
    assert fitted[0, 0].tolist() == [-1]


def test_where_a_map_has_nothing_the_network_sees_black() -> None:
    stored = np.full((4, 4), 255, np.uint8)
    stored[1, 1] = 7
    data = tiff(stored, extratags=[(42113, "s", 0, "255", True)])
    image = read_image(data)
    assert fit_image(image, GRAY, "x")[:2, :2, 0].tolist() == [[0, 0], [0, 7]]
    again = read_image(encode_image(image_from(fit_image(image, GRAY, "x"), GRAY, image), ".tif"))
    np.testing.assert_array_equal(again.pixels[:, :, 0], stored)


def test_the_8_bit_path_makes_no_copies(data_dir: Path) -> None:
    image = read_image(data_dir / "images" / "hopper.png")
    assert fit_image(image, RGB, "x") is image.pixels
    assert read_header(data_dir / "images" / "hopper.png").spec is image.spec


def test_the_header_of_every_real_image_says_what_it_holds(data_dir: Path) -> None:
    for path in sorted((data_dir / "images").iterdir()):
        header, image = read_header(path), read_image(path)
        assert header.spec == image.spec, path
        assert (header.height, header.width) == image.pixels.shape[:2], path
        assert image.pixels.dtype == image.spec.dtype, path
        assert image.pixels.shape[2] == image.spec.count, path


# For a spec


def image_of(
    pixels: np.ndarray, channels: int | tuple[str, ...], white: float | None, **more: object
) -> Image:
    spec = file_spec(channels, pixels.dtype.name, white is not None)
    return Image(pixels=pixels, spec=spec, white=white, **more)  # type: ignore[arg-type]


def test_values_are_the_numbers_of_the_file() -> None:
    for dtype in ("uint8", "uint16", "int16", "float32"):
        stored = noise(1, dtype)
        fitted = fit_image(image_of(stored, ("CT",), None), CT, "x")
        assert fitted.dtype == np.float32
        np.testing.assert_array_equal(fitted, stored)


def test_gray_and_rgb_become_each_other_at_every_depth() -> None:
    deep = noise(3, "uint16")
    gray = fit_image(image_of(deep, 3, 65535.0), GRAY, "x")
    np.testing.assert_allclose(
        gray[:, :, 0], deep @ np.array([0.299, 0.587, 0.114]) / 65535, rtol=0, atol=1e-6
    )
    repeated = fit_image(image_of(deep[:, :, :1].copy(), 1, 65535.0), RGB, "x")
    assert repeated.shape[2] == 3
    assert (repeated == repeated[:, :, :1]).all()


def test_channels_are_found_by_their_names() -> None:
    stored = noise(4, "uint16")
    image = image_of(stored, ("B02", "B03", "B04", "B08"), None)
    wanted = ImageSpec(channels=("B08", "B02"), meaning="values").with_range(0, 10000)
    np.testing.assert_array_equal(fit_image(image, wanted, "x"), stored[:, :, [3, 0]])


def test_of_rgb_and_another_band_the_colours_are_taken() -> None:
    data = tiff(noise(4, "uint8"), photometric="rgb", extrasamples=["unspecified"])
    image = read_image(data)
    assert image.spec.channels == ("red", "green", "blue", "channel 4")
    np.testing.assert_array_equal(fit_image(image, RGB, "x"), noise(4, "uint8")[:, :, :3])
    np.testing.assert_array_equal(read_levels(data).pixels, noise(4, "uint8")[:, :, :3])
    np.testing.assert_array_equal(fit_image(image, levels_spec(4), "x"), noise(4, "uint8"))


def test_alpha_is_dropped_or_the_channel_that_is_wanted() -> None:
    rgba = noise(4, "uint8")
    image = image_of(rgba[:, :, :3].copy(), 3, 255.0, alpha=rgba[:, :, 3])
    np.testing.assert_array_equal(fit_image(image, RGB, "x"), rgba[:, :, :3])
    np.testing.assert_array_equal(fit_image(image, levels_spec(4), "x"), rgba)


@pytest.mark.parametrize(
    ("image", "spec", "sentence"),
    [
        (image_of(noise(5, "uint8"), 5, 255.0), RGB, r"^scan.tif holds 5 channels .* but RGB are wanted"),
        (
            image_of(noise(3, "uint8"), 3, 255.0),
            levels_spec(13),
            "holds RGB, but 13 channels .*--in-channels 3",
        ),
        (image_of(noise(1, "int16"), ("CT",), None), GRAY, "scan.tif cannot be read as levels.*pass --range"),
        (
            Image(pixels=noise(1, "int16"), spec=file_spec(("MR",), "int16", False, "K")),
            CT,
            "scan.tif is in K, but HU is wanted",
        ),
        (
            image_of(noise(2, "uint16"), ("B02", "B03"), None),
            ImageSpec(channels=("B03", "B04"), meaning="values").with_range(0, 1),
            r"holds 2 channels \(B02, B03\), but 2 channels \(B03, B04\) are wanted",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(image: Image, spec: ImageSpec, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        fit_image(image, spec, "scan.tif")
    assert "\n" not in str(error.value)


# Labels


def test_palette_and_gray_hold_class_numbers() -> None:
    ids = np.array([[0, 3, 7], [7, 7, 0]], np.uint8)
    palette = PillowImage.fromarray(ids)
    palette.putpalette([level for index in range(8) for level in (index * 30, 0, 255 - index)])
    buffers = [io.BytesIO() for _ in range(2)]
    palette.save(buffers[0], "PNG")
    PillowImage.fromarray(ids).save(buffers[1], "PNG")
    for buffer in buffers:
        labels = fit_image(read_image(buffer.getvalue()), labels_spec((0, 3, 7)), "x")
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels[:, :, 0], ids)
    assert read_header(buffers[0].getvalue()).palette[3] == (90, 0, 252)
    with pytest.raises(DataError, match=r"map\.png has the class number 7 at row 0, column 2, none of 0, 3"):
        fit_image(read_image(buffers[1].getvalue()), labels_spec((0, 3)), "map.png")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_numbers_of_few_bits_are_not_scaled(bits: int) -> None:
    ids = np.arange(2**bits, dtype=np.uint8)[None].repeat(4, axis=0)
    image = PillowImage.fromarray(ids)
    if bits == 1:
        image = image.point(lambda level: 255 * level).convert("1")
    buffer = io.BytesIO()
    if bits == 1:
        image.save(buffer, "PNG")
    else:
        import struct
        import zlib

        packed = np.packbits(np.unpackbits(ids[:, :, None], axis=2)[:, :, -bits:].reshape(4, -1), axis=1)
        rows = b"".join(b"\0" + row.tobytes() for row in packed)
        chunks = (
            (b"IHDR", struct.pack(">IIBBBBB", ids.shape[1], 4, bits, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
        buffer.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in chunks:
            buffer.write(
                struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            )
    labels = fit_image(read_image(buffer.getvalue()), labels_spec(range(2**bits)), "x")
    np.testing.assert_array_equal(labels[:, :, 0], ids)


def test_colours_are_classes_by_the_palette_of_the_spec() -> None:
    from dataclasses import replace

    spec = replace(labels_spec((4, 2)), palette=((255, 0, 0), (0, 0, 255)))
    colours = np.array([[[0, 0, 255], [255, 0, 0]]], np.uint8)
    assert fit_image(image_of(colours, 3, 255.0), spec, "x")[0, :, 0].tolist() == [2, 4]
    colours[0, 1] = (1, 2, 3)
    with pytest.raises(DataError, match=r"map.png has the colour \(1, 2, 3\) at row 0, column 1"):
        fit_image(image_of(colours, 3, 255.0), spec, "map.png")
    spec_of_grays = replace(labels_spec((0, 1, 5)), palette=((255, 0, 0), (0, 0, 0), (70, 70, 70)))
    grays = np.repeat(np.array([[0, 70], [70, 0]], np.uint8)[:, :, None], 3, axis=2)
    numbers = fit_image(image_of(grays, 3, 255.0), spec_of_grays, "x")
    assert numbers[:, :, 0].tolist() == [[1, 5], [5, 1]]  # and no number 0 of what is black
    as_numbers = np.repeat(np.array([[0, 5], [1, 0]], np.uint8)[:, :, None], 3, axis=2)
    numbers = fit_image(image_of(as_numbers, 3, 255.0), spec_of_grays, "x")
    assert numbers[:, :, 0].tolist() == [[0, 5], [1, 0]]
    labels = image_from(np.array([[[2], [4]]], np.uint8), spec)
    again = read_image(encode_image(labels, ".png"))
    assert fit_image(again, spec, "x")[0, :, 0].tolist() == [2, 4]
    assert again.pixels[0].tolist() == [[0, 0, 255], [255, 0, 0]]


def test_edges_are_where_instances_meet() -> None:
    instances = np.zeros((4, 5), np.int32)
    instances[:, 3:] = 1001
    labels = np.full((4, 5, 1), 7, np.uint8)
    edges = with_edges(labels, instances)
    assert edges.shape == (4, 5, 2)
    assert edges[0, :, 1].tolist() == [0, 0, 1, 1, 0]
    both = np.stack([labels[:, :, 0].astype(np.uint16), instances.astype(np.uint16)], axis=2)
    np.testing.assert_array_equal(
        fit_image(image_of(both, 2, 65535.0), labels_spec((7,), edges=True), "x"), edges
    )
    with pytest.raises(DataError, match="holds classes but no instances"):
        fit_image(image_of(labels, 1, 255.0), labels_spec((7,), edges=True), "x")


# Back


def test_levels_come_back_in_the_depth_that_came_in() -> None:
    for dtype, white in (("uint8", 255.0), ("uint16", 65535.0), ("uint16", 1023.0)):
        stored = np.minimum(noise(3, dtype), int(white)).astype(dtype)
        image = image_of(stored, 3, white, icc_profile=None)
        fitted = fit_image(image, RGB, "x")
        back = image_from(fitted, RGB, image)
        assert back.pixels.dtype == dtype
        again = fit_image(back, RGB, "x")
        np.testing.assert_allclose(again, fitted, rtol=0, atol=0 if white != 1023 else 0.5001 / 65535)
    floats = image_from(np.full((2, 2, 3), 0.5, np.float32), RGB, image_of(noise(3, "uint8"), 3, 255.0))
    assert floats.pixels.dtype == np.uint8
    assert floats.pixels[0, 0].tolist() == [128, 128, 128]


def test_values_come_back_in_their_unit() -> None:
    values = np.array([[[-1023.6], [40.2], [3071.0]]], np.float32)
    image = image_from(values, CT)
    assert (image.pixels.dtype, image.white) == (np.int16, None)
    assert image.pixels[0, :, 0].tolist() == [-1024, 40, 3071]
    np.testing.assert_array_equal(read_image(encode_image(image, ".tif")).pixels, image.pixels)


def test_what_a_format_cannot_hold_is_refused() -> None:
    image = image_from(np.zeros((4, 4, 1), np.float32), CT)
    for suffix in (".png", ".jpg", ".webp"):
        with pytest.raises(
            DataError, match=rf"\(CT\) of int16.* cannot be written as {suffix}.*choose .tiff"
        ):
            encode_image(image, suffix)


def test_resizing_values_clips_nothing() -> None:
    values, spec = noise(5, "float32"), ImageSpec(channels=tuple("abcde"), meaning="values", levels=False)
    small = resize(values, (7, 9), spec)
    assert small.min() < -100
    assert small.max() > 100
    flat = np.full((4, 4, 5), 3000, np.float32)
    np.testing.assert_array_equal(resize(flat, (8, 8), spec), 3000)
