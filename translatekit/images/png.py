"""PNG of 16 bits a channel (PNG specification, third edition): Pillow cuts colours to 8, and writes only plain gray."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from translatekit.images.pixels import UnreadableImageError

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels

# Of each pass of an interlaced image: its first column and row, and its steps (section 8.1).
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def encode(samples: np.ndarray, icc: bytes | None, compression: int) -> bytes:
    """A file of uint16 samples, (H, W, C): gray, gray and alpha, RGB or RGBA.

    Args:
        samples: the image.
        icc: its colour profile.
        compression: effort from 0 (none) to 9.
    """
    height = len(samples)
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), 2, np.uint8)  # 2: each byte less the one above
    filtered[:, 1:] = rows
    filtered[1:, 1:] -= rows[:-1]
    profile = [] if icc is None else [(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))]
    return _file(samples.shape, zlib.compress(filtered.tobytes(), compression), profile)


def decode(data: bytes) -> np.ndarray:
    """uint16 samples, (H, W, C), of a file that is one of 16 bits; a colour that stands for transparency stays one.

    Raises:
        UnreadableImageError: it is cut off.
    """
    import imagecodecs

    width, height, _, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    channels = next(count for count, kind in _COLOUR_TYPES.items() if kind == colour_type)
    shape = (height, width, channels)
    pixels = b"".join(_chunks(data, b"IDAT"))
    try:
        # libpng prints a warning of its own about interlaced images and odd chunks: it is given neither.
        return _joined(shape, pixels) if interlaced else _samples(shape, pixels)
    except (imagecodecs.PngError, zlib.error):
        raise UnreadableImageError(
            "it is damaged or not accessible (it is cut off); replace or remove it"
        ) from None


def _joined(shape: tuple[int, int, int], pixels: bytes) -> np.ndarray:
    """The samples of an interlaced image: each of its passes is an image by itself."""
    values = np.empty(shape, np.uint16)
    parts = [values[top::down, left::right] for left, top, right, down in _PASSES]
    parts = [part for part in parts if part.size]
    sizes = [len(part) * (1 + 2 * part[0].size) for part in parts]
    rows = zlib.decompressobj().decompress(pixels, sum(sizes))
    for part, size in zip(parts, sizes, strict=True):
        part[:] = _samples(part.shape, zlib.compress(rows[:size], 0))
        rows = rows[size:]
    return values


def _samples(shape: tuple[int, ...], pixels: bytes) -> np.ndarray:
    import imagecodecs

    values: np.ndarray = imagecodecs.png_decode(_file(shape, pixels))
    return values.reshape(shape)


def _file(shape: tuple[int, ...], pixels: bytes, more: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    height, width, channels = shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _chunks(data: bytes, kind: bytes) -> Iterator[bytes]:
    place = 8
    while place + 8 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == kind:
            yield data[place + 8 : place + 8 + size]
        place += 12 + size
