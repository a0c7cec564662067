"""Animations put together from single frames that Pillow encodes, frame by frame, none of them merged or left out."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from translatekit.errors import DataError
from translatekit.images import encode_image, image_of, read_levels, to_uint8

Timed = tuple[np.ndarray, Fraction, Fraction]
"""A frame, (H, W, 3 or 4) uint8, or for a PNG float32 in [0, 1]; and when it is shown, from and until, in seconds."""

Region = tuple[np.ndarray, int, int, Fraction, Fraction]
"""What of a frame differs from the one before, its left and top, and when it is shown."""


def units(start: Fraction, stop: Fraction, per_second: int) -> int:
    """A duration in parts of a second, at least one; rounding does not add up over the frames."""
    return max(1, round(stop * per_second) - round(start * per_second))


def write_gif(path: Path, frames: Iterable[Timed], plays: int, alpha: bool, comment: Any = None) -> None:
    """Write a GIF (GIF89a specification), each frame in up to 256 colours of its own.

    Raises:
        DataError: a frame is shown for longer than GIF can say, or is too large.
    """
    with path.open("wb") as file:
        started = False
        # Transparent pixels leave what is there, so frames with some are whole, on a cleared canvas.
        for samples, left, top, start, stop in _changed_regions(frames, 1, whole=alpha):
            height, width = samples.shape[:2]
            table, key, data = _gif_image(samples)
            size = (len(table) // 3).bit_length() - 2
            own_table = bytes([0x80 | size]) + table
            if not started:  # the first table stands for the whole file
                started, own_table = True, b"\0"
                if max(height, width) > 65535:
                    raise DataError(
                        f"a GIF cannot be {width}x{height} pixels: pass --size or another --format"
                    )
                file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF0 | size, key or 0, 0) + table)
                if plays != 1:
                    repeats = min(max(0, plays - 1), 65535)
                    file.write(b"!\xff\x0bNETSCAPE2.0" + struct.pack("<BBHB", 3, 1, repeats, 0))
                if comment:
                    _write_comment(file, comment)
            delay = units(start, stop, 100)
            _check_duration(delay, 65535, "GIF")
            packed = (2 if alpha else 1) << 2 | (key is not None)  # cleared afterwards, or left
            file.write(b"!\xf9" + struct.pack("<BBHBB", 4, packed, delay, key or 0, 0))
            file.write(b"," + struct.pack("<HHHH", left, top, width, height) + own_table + data)
        file.write(b";")


def write_webp(
    path: Path, frames: Iterable[Timed], plays: int, alpha: bool, settings: Mapping[str, Any], quality: int
) -> None:
    """Write a WebP (WebP Container Specification, "Animation").

    Args:
        path: the file.
        frames: all of them.
        plays: how often they are shown, 0 for ever.
        alpha: whether they have an alpha channel.
        settings: ``icc_profile``, ``exif`` and ``xmp``, as bytes.
        quality: 1 to 100.

    Raises:
        DataError: a frame is shown for longer than WebP can say, or is too large.
    """
    icc, exif, xmp = (_bytes(settings.get(name)) for name in ("icc_profile", "exif", "xmp"))
    with path.open("wb") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        started = False
        for samples, left, top, start, stop in _changed_regions(frames, 2):
            height, width = samples.shape[:2]
            if not started:
                started = True
                if max(height, width) > 16383:
                    raise DataError(
                        f"a WebP cannot be {width}x{height} pixels: pass --size or another --format"
                    )
                flags = 0x02 | 0x10 * alpha | 0x20 * bool(icc) | 0x08 * bool(exif) | 0x04 * bool(xmp)
                _write_riff(file, b"VP8X", bytes([flags, 0, 0, 0]) + _u24(width - 1) + _u24(height - 1))
                if icc:
                    _write_riff(file, b"ICCP", icc)
                _write_riff(file, b"ANIM", bytes(4) + struct.pack("<H", min(plays, 65535)))
            duration = units(start, stop, 1000)
            _check_duration(duration, 2**24 - 1, "WebP")
            buffer = io.BytesIO()
            Image.fromarray(samples).save(buffer, "WEBP", quality=quality, method=4)
            body = b"".join(_riff_chunks(buffer.getvalue(), (b"ALPH", b"VP8 ", b"VP8L")))
            # 2: the frame replaces what is there, alpha included.
            place = _u24(left // 2) + _u24(top // 2) + _u24(width - 1) + _u24(height - 1)
            _write_riff(file, b"ANMF", place + _u24(duration) + b"\x02" + body)
        for name, data in ((b"EXIF", exif), (b"XMP ", xmp)):
            if data:
                _write_riff(file, name, data)
        length = file.tell()
        file.seek(4)
        file.write(struct.pack("<I", length - 8))


def write_png(path: Path, frames: Iterable[Timed], plays: int, icc: bytes | None, compression: int) -> None:
    """Write an animated PNG (PNG specification, third edition, section 4.9).

    Raises:
        DataError: a frame is shown for longer than it can say.
    """
    with path.open("wb") as file:
        count = sequence = where = 0
        for samples, left, top, start, stop in _changed_regions(frames, 1):
            height, width = samples.shape[:2]
            alpha = samples[:, :, 3] if samples.shape[2] == 4 else None
            image = image_of(samples[:, :, :3], alpha, icc)
            chunks = list(_png_chunks(encode_image(image, ".png", compression=compression)))
            if count == 0:
                file.write(b"\x89PNG\r\n\x1a\n")
                head = [(kind, data) for kind, data in chunks if kind not in (b"IDAT", b"IEND")]
                for kind, data in head[:1]:
                    _write_png_chunk(file, kind, data)
                where = file.tell()
                _write_png_chunk(file, b"acTL", bytes(8))
                for kind, data in head[1:]:
                    _write_png_chunk(file, kind, data)
            delay = (stop - start).limit_denominator(65535)
            if delay.numerator > 65535:
                delay = Fraction(round(delay))
            _check_duration(delay.numerator, 65535, "PNG")
            control = struct.pack(">IIIIIHH", sequence, width, height, left, top, *delay.as_integer_ratio())
            _write_png_chunk(
                file, b"fcTL", control + b"\0\0"
            )  # left as it is afterwards; replaces what was there
            sequence += 1
            for kind, data in chunks:
                if kind == b"IDAT" and count == 0:
                    _write_png_chunk(file, kind, data)
                elif kind == b"IDAT":
                    _write_png_chunk(file, b"fdAT", struct.pack(">I", sequence) + data)
                    sequence += 1
            count += 1
        _write_png_chunk(file, b"IEND", b"")
        file.seek(where)
        _write_png_chunk(file, b"acTL", struct.pack(">II", count, plays))


def read_png(data: bytes) -> Iterator[np.ndarray]:
    """The frames of an animated PNG as they are shown (PNG specification, third edition, section 13.12).

    Pillow cuts 16 bits to 8, and blends what is half transparent into less of it.

    Returns:
        (H, W, 4), not premultiplied: uint8, or float32 in [0, 1] where the file has 16 bits.
    """
    chunks = list(_png_chunks(data))
    width, height = struct.unpack(">II", chunks[0][1][:8])
    special = (b"IHDR", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
    shared = [(kind, body) for kind, body in chunks if kind not in special]
    parts: list[tuple[bytes, list[bytes]]] = []
    for kind, body in chunks:
        if kind == b"fcTL":
            parts.append((body, []))
        elif parts and kind in (b"IDAT", b"fdAT"):
            parts[-1][1].append(body if kind == b"IDAT" else body[4:])
    canvas = np.zeros((height, width, 4), np.float32)
    for number, (control, bodies) in enumerate(parts):
        size, (left, top) = control[4:12], struct.unpack(">II", control[12:20])
        disposal, blend = control[24:26]
        buffer = io.BytesIO(b"")
        buffer.write(b"\x89PNG\r\n\x1a\n")
        own = [(b"IHDR", size + chunks[0][1][8:]), *shared, (b"IDAT", b"".join(bodies)), (b"IEND", b"")]
        for kind, body in own:
            _write_png_chunk(buffer, kind, body)
        image = read_levels(buffer.getvalue(), 3)
        colour = image.pixels.astype(np.float32) / (255 if image.pixels.dtype == np.uint8 else 1)
        alpha = np.ones((*colour.shape[:2], 1), np.float32)
        if image.alpha is not None:
            alpha = (image.alpha / (255 if image.alpha.dtype == np.uint8 else 1)).astype(np.float32)[
                :, :, None
            ]
        region = canvas[top : top + colour.shape[0], left : left + colour.shape[1]]
        before = region.copy()
        if blend == 1:
            colour, alpha = _composite(colour, alpha, before)
        region[:] = np.concatenate([colour, alpha], axis=2)
        yield canvas.copy() if chunks[0][1][8] == 16 else to_uint8(canvas)
        if disposal == 1 or (disposal == 2 and number == 0):
            region[:] = 0
        elif disposal == 2:
            region[:] = before


def _composite(colour: np.ndarray, alpha: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour and alpha, not premultiplied, of one image over another."""
    rest = below[:, :, 3:] * (1 - alpha)
    total = alpha + rest
    mixed = np.divide(
        colour * alpha + below[:, :, :3] * rest, total, out=np.zeros_like(colour), where=total > 0
    )
    return mixed, total


def _changed_regions(frames: Iterable[Timed], multiple: int, whole: bool = False) -> Iterator[Region]:
    """The frames, each but the first cut to what differs from the one before; a pixel where nothing does.

    Args:
        frames: all of one size.
        multiple: of which left and top must be.
        whole: cut none.
    """
    before: np.ndarray | None = None
    for samples, start, stop in frames:
        left = top = 0
        part = samples
        if before is not None and not whole:
            differs = (samples != before).any(axis=2)
            rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
            if not rows.size:
                rows = columns = np.zeros(1, int)
            top, left = (int(ends[0]) // multiple * multiple for ends in (rows, columns))
            part = np.ascontiguousarray(samples[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1])
        yield part, left, top, start, stop
        before = samples


def _check_duration(value: int, limit: int, kind: str) -> None:
    if value > limit:
        raise DataError(
            f"a frame is shown for longer than {kind} can say: choose another --format, such as webp"
        )


def _gif_image(samples: np.ndarray) -> tuple[bytes, int | None, bytes]:
    """A frame's colour table, the index of what is transparent, and its compressed indices, as Pillow makes them."""
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "GIF", interlace=False, optimize=False)
    data = buffer.getvalue()
    place, key = 13, None
    table = b""
    if data[10] & 0x80:
        length = 3 << ((data[10] & 7) + 1)
        table, place = data[place : place + length], place + length
    while data[place] != 0x2C:
        if data[place : place + 2] == b"!\xf9" and data[place + 3] & 1:
            key = data[place + 6]
        place = _after_blocks(data, place + 2)
    packed = data[place + 9]
    place += 10
    if packed & 0x80:
        length = 3 << ((packed & 7) + 1)
        table, place = data[place : place + length], place + length
    return table, key, data[place : _after_blocks(data, place + 1)]


def _after_blocks(data: bytes, place: int) -> int:
    """Where a row of sub-blocks, of which the first begins at `place`, ends."""
    while data[place]:
        place += data[place] + 1
    return place + 1


def _write_comment(file: BinaryIO, comment: Any) -> None:
    data = _bytes(comment)
    file.write(b"!\xfe")
    for start in range(0, len(data), 255):
        block = data[start : start + 255]
        file.write(bytes([len(block)]) + block)
    file.write(b"\0")


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value or b"")


def _u24(value: int) -> bytes:
    return struct.pack("<I", value)[:3]


def _write_riff(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))


def _riff_chunks(data: bytes, kinds: tuple[bytes, ...]) -> Iterator[bytes]:
    """Some chunks of a WebP, whole."""
    place = 12
    while place + 8 <= len(data):
        length = struct.unpack_from("<I", data, place + 4)[0]
        end = place + 8 + length + length % 2
        if data[place : place + 4] in kinds:
            yield data[place:end]
        place = end


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        length = struct.unpack_from(">I", data, place)[0]
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def _write_png_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
