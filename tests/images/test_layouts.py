"""Every layout of TIFF and PNG against decoders of others: tifffile, OpenCV, and files written byte by byte."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from translatekit.images import (
    Image,
    UnreadableImageError,
    count_pages,
    encode_image,
    image_of,
    read_levels,
    read_size,
)

HEIGHT, WIDTH = 13, 19
COMPRESSIONS = (None, "zlib", "lzw", "packbits", "zstd")


def noise(channels: int, dtype: str, seed: int = 0) -> np.ndarray:
    """(H, W, C) over all of a type's range; floats in [0, 1]."""
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        return rng.random((HEIGHT, WIDTH, channels)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, channels), dtype, endpoint=True)


def unit(values: np.ndarray) -> np.ndarray:
    """As float64 in [0, 1]."""
    return values.astype(np.float64) / (1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max)


def levels(image: Image) -> np.ndarray:
    """Pixels, and alpha where there is one, as float64 in [0, 1]."""
    samples = image.pixels
    if image.alpha is not None:
        samples = np.concatenate([samples, image.alpha[:, :, None]], axis=2)
    return unit(samples)


def expected(stored: np.ndarray, photometric: str, extra: str | None) -> np.ndarray:
    """What a viewer shows of stored samples, as float64 in [0, 1], by the formulas of TIFF 6.0."""
    values = unit(stored)
    alpha = values[:, :, -1:] if extra in ("assocalpha", "unassalpha") else None
    colour = values[:, :, : {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4}[photometric]]
    if extra == "assocalpha":
        colour = np.minimum(colour / np.where(alpha > 0, alpha, 1), 1.0)
        colour = np.where(alpha > 0, colour, 0.0)
    if photometric == "miniswhite":
        colour = 1 - colour
    if photometric == "separated":
        colour = (1 - colour[:, :, :3]) * (1 - colour[:, :, 3:])
    return colour if alpha is None else np.concatenate([colour, alpha], axis=2)


def tiff_layouts() -> Iterator[tuple[str, str, str | None, str, str | None, str, bool]]:
    dtypes = ("u1", "u2", "f2", "f4", "f8")
    extras = (None, "unspecified", "assocalpha", "unassalpha")
    photometrics = ("minisblack", "miniswhite", "rgb", "separated")
    for dtype, photometric, extra, planar in itertools.product(
        dtypes, photometrics, extras, ("contig", "separate")
    ):
        if photometric in ("minisblack", "miniswhite") and extra is None and planar == "separate":
            continue
        # Every compression with every layout, and either byte order, with and without tiles, in turn.
        for index, compression in enumerate(COMPRESSIONS):
            yield dtype, photometric, extra, planar, compression, "<>"[index % 2], index % 3 == 1


def test_every_tiff_layout_is_what_was_stored() -> None:
    count = 0
    for dtype, photometric, extra, planar, compression, order, tiled in tiff_layouts():
        channels = {"minisblack": 1, "miniswhite": 1, "rgb": 3, "separated": 4}[photometric]
        stored = noise(channels + (extra is not None), dtype)
        if extra == "assocalpha":  # colours that were multiplied are no larger than alpha
            stored[:, :, :-1] = np.minimum(stored[:, :, :-1], stored[:, :, -1:])
        samples = stored.transpose(2, 0, 1) if planar == "separate" else stored
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            samples if stored.shape[2] > 1 else stored[:, :, 0],
            photometric=photometric,
            planarconfig=planar if stored.shape[2] > 1 else None,
            extrasamples=[extra] if extra else None,
            compression=compression,
            predictor=compression in ("zlib", "lzw") and dtype[0] == "u",
            byteorder=order,
            tile=(16, 16) if tiled else None,
            rowsperstrip=None if tiled else 5,
            metadata=None,
        )
        image = read_levels(buffer.getvalue())
        layout = f"{dtype} {photometric} {extra} {planar} {compression} {order} tiled={tiled}"
        assert image.pixels.dtype == (np.uint8 if dtype == "u1" else np.float32), layout
        # Converted and unpremultiplied 8 bits are rounded once.
        tolerance = 0.5001 / 255 if dtype == "u1" else 3e-7
        if dtype == "u1" and photometric == "separated":
            tolerance = 1.0001 / 255  # Pillow's arithmetic of CMYK rounds twice
        wanted = expected(stored, photometric, extra)
        np.testing.assert_allclose(levels(image), wanted, rtol=0, atol=tolerance, err_msg=layout)
        assert read_size(buffer.getvalue()) == (HEIGHT, WIDTH)
        count += 1
    assert count == 5 * (4 * 4 * 2 - 2) * 5


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_opencv_reads_the_same_in_a_plain_tiff(dtype: str, channels: int, predictor: bool) -> None:
    buffer = io.BytesIO()
    stored = noise(channels, dtype)
    tifffile.imwrite(
        buffer,
        stored if channels > 1 else stored[:, :, 0],
        photometric="rgb" if channels == 3 else "minisblack",
        compression="zlib",
        predictor=predictor,
        metadata=None,
    )
    other = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    other = other[:, :, ::-1] if channels == 3 else other[:, :, None]
    np.testing.assert_allclose(levels(read_levels(buffer.getvalue())), unit(other), rtol=0, atol=1e-7)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_bits_is_a_fraction_of_white(
    bits: int, channels: int, white_is_zero: bool, order: str
) -> None:
    if white_is_zero and channels == 3:
        return
    values = np.random.default_rng(bits).integers(0, 2**bits, (HEIGHT, WIDTH, channels))
    values[0, 0], values[0, 1] = 0, 2**bits - 1
    photometric = 2 if channels == 3 else 1 - white_is_zero
    data = raw_tiff(values, bits, photometric, order)
    wanted = values / (2**bits - 1)
    image = read_levels(data)
    assert image.pixels.dtype == (np.uint8 if bits <= 8 else np.float32)
    np.testing.assert_allclose(
        levels(image),
        1 - wanted if white_is_zero else wanted,
        rtol=0,
        atol=0.5001 / 255 if bits <= 8 else 1e-7,
    )
    assert unit(image.pixels).min() == 0
    assert unit(image.pixels).max() == 1


def raw_tiff(
    values: np.ndarray,
    bits: int,
    photometric: int,
    order: str = "<",
    more: tuple[tuple[int, int, int], ...] = (),
) -> bytes:
    """An uncompressed TIFF of one strip, packed and laid out byte by byte (TIFF 6.0, sections 2 and 7).

    Args:
        values: (H, W, C), each below 2**bits.
        bits: of each sample, packed from the highest on; a row begins at a byte.
        photometric: PhotometricInterpretation.
        order: of bytes.
        more: other entries: tag, type (3 or 4) and value.
    """
    height, width, channels = values.shape
    if bits in (8, 16, 32):
        strip = values.astype(f"{order}u{bits // 8}").tobytes()
    else:
        shifts = np.arange(bits - 1, -1, -1)
        rows = ((values.reshape(height, -1, 1) >> shifts) & 1).reshape(height, -1)
        strip = np.packbits(rows.astype(np.uint8), axis=1).tobytes()
    entries = [
        *((256, 4, width), (257, 4, height), (259, 3, 1), (262, 3, photometric), (273, 4, 8)),
        *((277, 3, channels), (278, 4, height), (279, 4, len(strip)), *more),
    ]
    after = 8 + len(strip) + len(strip) % 2
    bits_of_all = struct.pack(f"{order}{channels}H", *[bits] * channels)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, after + 8)
    directory = {258: struct.pack(f"{order}HHI", 258, 3, channels)}
    directory[258] += bits_of_all.ljust(4, b"\0") if channels <= 2 else struct.pack(f"{order}I", after)
    for tag, kind, value in entries:
        packed = struct.pack(f"{order}H", value) if kind == 3 else struct.pack(f"{order}I", value)
        directory[tag] = struct.pack(f"{order}HHI", tag, kind, 1) + packed.ljust(4, b"\0")
    body = b"".join(directory[tag] for tag in sorted(directory))
    return (
        head
        + strip
        + b"\0" * (len(strip) % 2)
        + bits_of_all[:8].ljust(8, b"\0")
        + struct.pack(f"{order}H", len(directory))
        + body
        + bytes(4)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_is_turned_by_its_orientation(bits: int, orientation: int) -> None:
    shown = noise(1, f"u{bits // 8}")
    stored = {
        1: shown,
        2: shown[:, ::-1],
        3: shown[::-1, ::-1],
        4: shown[::-1],
        5: shown.transpose(1, 0, 2),
        6: np.rot90(shown, 1),
        7: np.rot90(shown, 2).transpose(1, 0, 2),
        8: np.rot90(shown, -1),
    }[orientation]
    data = raw_tiff(stored.astype(int), bits, 1, more=((274, 3, orientation),))
    np.testing.assert_allclose(levels(read_levels(data)), unit(shown), rtol=0, atol=1e-7)
    assert read_size(data) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("scale", [257, 256, 1])
def test_a_palette_of_8_bits_stays_one_of_8_bits(scale: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (3, 256))
    index = noise(1, "u1")[:, :, 0]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, index, photometric="palette", colormap=(colours * scale).astype(np.uint16))
    image = read_levels(buffer.getvalue())
    if scale > 1:
        np.testing.assert_array_equal(image.pixels, colours.T[index])
    assert image.pixels.dtype == np.uint8


def test_a_palette_of_16_bits_keeps_them() -> None:
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    index = noise(1, "u1")[:, :, 0]
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, index, photometric="palette", colormap=colours)
    np.testing.assert_allclose(
        read_levels(buffer.getvalue()).pixels, colours.T[index] / 65535, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(("bits", "dtype"), [(8, "i1"), (16, "i2")])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_lab_of_8_and_of_16_bits_is_the_same_colour(bits: int, dtype: str, compression: str | None) -> None:
    lab = np.array([[[0, 0, 0], [100, 0, 0], [54.3, 80.8, 69.9], [87.8, -79.3, 81], [29.6, 68.3, -112]]])
    scale = 2 ** (bits - 8)
    stored = np.zeros(lab.shape, dtype)
    stored[:, :, 0] = np.rint(lab[:, :, 0] / 100 * (2**bits - 1)).astype(f"u{bits // 8}").astype(dtype)
    stored[:, :, 1:] = np.rint(lab[:, :, 1:] * scale)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        stored.view(f"u{bits // 8}"),
        photometric="cielab",
        planarconfig="contig",
        compression=compression,
        metadata=None,
    )
    image = read_levels(buffer.getvalue())
    assert image.pixels.dtype == (np.uint8 if bits == 8 else np.float32)
    shown = np.rint(unit(image.pixels) * 255)[0]
    # sRGB's black, white and primaries, in CIE L*a*b* of D50; steep where the gamut ends.
    wanted = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert np.abs(shown - wanted)[:2].max() == 0
    assert np.abs(shown - wanted).max() <= (10 if bits == 8 else 4)


def test_16_bit_cmyk_goes_through_its_profile() -> None:
    # A profile of another kind of colour is not used; sRGB stands in for one of CMYK, which nothing here can make.
    stored = noise(4, "u2")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, stored, photometric="separated", iccprofile=profile, metadata=None)
    image = read_levels(buffer.getvalue())
    np.testing.assert_allclose(image.pixels, expected(stored, "separated", None), rtol=0, atol=3e-7)
    assert image.icc_profile is None


@pytest.mark.parametrize("dtype", ["i2", "i4", "u4", "i8", "f4", "f8"])
def test_values_without_a_meaning_are_refused_and_never_clipped(dtype: str) -> None:
    top = 1.0 if dtype[0] == "f" else 65535 if dtype != "i2" else 32767
    inside = np.array([[0, top]], dtype)
    for values, problem in (
        (inside, None),
        (np.array([[-1, 1]], dtype) if dtype[0] != "u" else inside, "-1 to 1, are not in 0 to"),
        (np.array([[0, 70000]], dtype) if dtype != "i2" else inside, "0 to 70000, are not in 0 to"),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, photometric="minisblack", metadata=None)
        if problem is None or values is inside:
            assert read_levels(buffer.getvalue()).pixels[0, :, 0].tolist() == pytest.approx(
                [0, 32767 / 65535 if dtype == "i2" else 1]
            )
        else:
            with pytest.raises(UnreadableImageError, match=problem):
                read_levels(buffer.getvalue())


def test_not_a_number_is_refused() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.array([[0, np.nan]], np.float32), photometric="minisblack", metadata=None)
    with pytest.raises(UnreadableImageError, match="rescale"):
        read_levels(buffer.getvalue())


def test_bands_that_are_no_colours_are_refused() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noise(5, "u2"), photometric="minisblack", planarconfig="contig", metadata=None)
    with pytest.raises(UnreadableImageError, match=r"holds 5 channels \(channel 1, .*but gray are wanted"):
        read_levels(buffer.getvalue())


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_tiff_of_16_bits_that_was_cut_off_is_refused(compression: str | None) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noise(3, "u2"), compression=compression, metadata=None, rowsperstrip=4)
    data = buffer.getvalue()
    assert read_levels(data).pixels.dtype == np.float32
    for length in (10, len(data) // 2, len(data) - 40):
        with pytest.raises(UnreadableImageError):
            read_levels(data[:length])


def test_a_tiff_that_claims_more_tiles_than_it_has_is_refused_at_once() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, noise(3, "u2"), tile=(16, 16), compression="zlib", metadata=None)
    data = bytearray(buffer.getvalue())
    place = data.index(struct.pack("<HHII", 257, 4, 1, HEIGHT))
    data[place : place + 12] = struct.pack("<HHII", 257, 4, 1, 2_000_000)
    with pytest.raises(UnreadableImageError, match="of 250000 strips or tiles"):
        read_levels(bytes(data))


def test_a_tiff_that_claims_too_much_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_levels(raw_tiff(np.zeros((1, 1, 1), int), 16, 1, more=((256, 4, 100_000), (257, 4, 100_000))))


# PNG


def png(
    values: np.ndarray, bits: int, colour_type: int, interlaced: bool, *chunks: tuple[bytes, bytes]
) -> bytes:
    """A PNG, byte by byte (PNG specification, third edition): (H, W, C), each below 2**bits."""
    height, width, _ = values.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [
            *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
            *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
        ]
    rows = b""
    for top, left, down, right in passes:
        part = values[top::down, left::right]
        if not part.size:
            continue
        shifts = np.arange(bits - 1, -1, -1)
        stream = ((part.reshape(len(part), -1, 1) >> shifts) & 1).reshape(len(part), -1)
        packed = np.packbits(stream.astype(np.uint8), axis=1)
        rows += np.insert(packed, 0, 0, axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, int(interlaced))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


PNG_KINDS = [(0, b) for b in (1, 2, 4, 8, 16)] + [(3, b) for b in (1, 2, 4, 8)]
PNG_KINDS += [(kind, bits) for kind in (2, 4, 6) for bits in (8, 16)]


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour_type", "bits"), PNG_KINDS)
def test_every_png_layout_is_what_was_stored(
    colour_type: int, bits: int, interlaced: bool, transparent: bool
) -> None:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    values = np.random.default_rng(bits).integers(0, 2**bits, (HEIGHT, WIDTH, channels))
    chunks = []
    wanted = values / (2**bits - 1)
    if colour_type == 3:
        palette = np.random.default_rng(1).integers(0, 256, (2**bits, 3))
        chunks.append((b"PLTE", palette.astype(np.uint8).tobytes()))
        wanted = palette[values[:, :, 0]] / 255
    if transparent and colour_type == 3:
        chunks.append((b"tRNS", bytes([255, 7])))
        opacity = np.array([255, 7, *[255] * 2**bits])[values] / 255
        wanted = np.concatenate([wanted, opacity], axis=2)
    elif transparent and colour_type in (0, 2):
        key = values[4, 4]
        chunks.append((b"tRNS", struct.pack(f">{channels}H", *key)))
        wanted = np.concatenate([wanted, (values != key).any(axis=2, keepdims=True)], axis=2)
    elif transparent:
        return
    data = png(values, bits, colour_type, interlaced, *chunks)
    image = read_levels(data)
    assert image.pixels.dtype == (np.float32 if bits == 16 else np.uint8)
    np.testing.assert_allclose(levels(image), wanted, rtol=0, atol=1e-7)
    if not transparent and colour_type in (0, 2, 6):
        other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        other = other[:, :, None] if other.ndim == 2 else other[:, :, [2, 1, 0, 3][: other.shape[2]]]
        np.testing.assert_allclose(levels(image), unit(other), rtol=0, atol=1e-7)


# Other formats of more than 8 bits


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_2000_keeps_16_bits(channels: int) -> None:
    stored = noise(channels, "u2")
    data = imagecodecs.jpeg2k_encode(stored if channels > 1 else stored[:, :, 0], level=0)
    np.testing.assert_allclose(levels(read_levels(data)), unit(stored), rtol=0, atol=1e-7)


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_keeps_its_bits(bits: int) -> None:
    stored = np.random.default_rng(0).integers(0, 2**bits, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    data = imagecodecs.avif_encode(stored, level=100, bitspersample=bits)
    wanted = imagecodecs.avif_decode(data) / (2**bits - 1)
    image = read_levels(data)
    assert image.pixels.dtype == np.float32
    np.testing.assert_allclose(image.pixels, wanted, rtol=0, atol=1e-7)
    assert np.abs(image.pixels - stored / (2**bits - 1)).max() < 0.02


@pytest.mark.parametrize("top", [255, 1023, 4095, 65535])
@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
def test_netpbm_is_a_fraction_of_its_maximum(magic: str, top: int) -> None:
    channels = 3 if magic in ("P3", "P6") else 1
    values = np.random.default_rng(top).integers(0, top + 1, (HEIGHT, WIDTH, channels))
    body = values.astype(np.uint8 if top < 256 else ">u2").tobytes()
    if magic in ("P2", "P3"):
        body = " ".join(map(str, values.ravel())).encode()
    image = read_levels(f"{magic}\n# a comment\n{WIDTH} {HEIGHT}\n{top}\n".encode() + body)
    assert image.pixels.dtype == (np.uint8 if top == 255 else np.float32)
    np.testing.assert_allclose(levels(image), values / top, rtol=0, atol=1e-7)


# Round trips


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [0, 4])
def test_every_level_survives_a_round_trip(
    suffix: str, channels: int, alpha: bool, bits: int, compression: int
) -> None:
    if suffix == ".bmp" and (alpha or bits == 16):
        return
    every = np.arange(2**16).reshape(256, 256) % 2**bits
    pixels = np.stack([np.roll(every, 71 * c) for c in range(channels)], axis=2)
    as_levels = (lambda v: v.astype(np.uint8)) if bits == 8 else (lambda v: (v / 65535).astype(np.float32))
    colours, mask = as_levels(pixels), as_levels(every.T) if alpha else None
    data = encode_image(image_of(colours, mask), suffix, compression=compression)
    again = read_levels(data, channels)
    np.testing.assert_allclose(again.pixels, colours, rtol=0, atol=1e-7 if bits == 16 else 0)
    assert (again.alpha is None) == (mask is None)
    if alpha:
        np.testing.assert_array_equal(again.alpha, mask)
    if bits == 16:  # and others read 16 bits there
        other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert other.dtype == np.uint16
        np.testing.assert_array_equal(
            other.reshape(256, 256, -1)[:, :, 0 if channels == 1 else 2], pixels[:, :, 0]
        )
    assert count_pages(data) == 1
