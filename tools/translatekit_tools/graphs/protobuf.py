"""Fields of Protocol Buffers messages, read in place and without the definitions of the messages."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, beginning and end of each field of a message between two places.

    Raises:
        ValueError: it is none.
    """
    while place < end:
        tag, place = varint(data, place, end)
        wire, start = tag & 7, place
        if wire == _BYTES:
            length, start = varint(data, place, end)
            place = start + length
        elif wire == _VARINT:
            _, place = varint(data, place, end)
        elif wire in (_FIXED64, _FIXED32):
            place += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place > end:
            raise ValueError("a field is longer than what it is in")
        yield tag >> 3, start, place


def varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """A number, and the place behind it.

    Raises:
        ValueError: it is cut off.
    """
    value = shift = 0
    while place < end and shift <= 63:
        byte = data[place]
        value |= (byte & 127) << shift
        shift += 7
        place += 1
        if byte < 128:
            return value, place
    raise ValueError("a number is cut off")
