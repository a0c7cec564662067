"""Sizes and places in an image as people write them: width before height, left before top."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from translatekit.options import LARGEST_SIDE

__all__ = ["Box", "Size"]


class Size(NamedTuple):
    """An image's size in pixels. Its text, everywhere, is ``512x256``: width x height."""

    width: int
    height: int

    @classmethod
    def parse(cls, value: Any) -> Size:
        """A size from ``256`` (a square), ``"256"``, ``"512x256"`` or ``(512, 256)``.

        Raises:
            ValueError: it is none of these, or a side is not 1 to 65535.
        """
        is_pair = isinstance(value, tuple | list) and len(value) == 2
        text = "x".join(map(str, value)) if is_pair else str(value)
        found = re.fullmatch(r"\s*([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?\s*", text.lower(), re.ASCII)
        if found is None:
            raise ValueError(f"{value!r} is not {cls.words()}")
        size = cls(int(found[1]), int(found[2] or found[1]))
        if max(size) > LARGEST_SIDE:
            raise ValueError(f"{value!r} is not {cls.words()}")
        return size

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return f"SIDE or WIDTHxHEIGHT in pixels up to {LARGEST_SIDE}, such as 256 or 512x256"

    def __str__(self) -> str:
        """``512x256``."""
        return f"{self.width}x{self.height}"


class Box(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def parse(cls, value: Any) -> Box:
        """A box from ``"0,0,256,256"`` or its four numbers.

        Raises:
            ValueError: it is neither, or without area.
        """
        text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        if re.fullmatch(r"\d{1,5},\d{1,5},[1-9]\d{0,4},[1-9]\d{0,4}", text, re.ASCII) is None:
            raise ValueError(f"{value!r} is not {cls.words()}")
        return cls(*map(int, text.split(",")))

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return "LEFT,TOP,WIDTH,HEIGHT in pixels, such as 0,0,256,256"


class Bytes(int):
    """A number of bytes of a file."""

    @classmethod
    def parse(cls, value: Any) -> Bytes:
        """Bytes from ``"256MB"``, ``"1GiB"`` or a number.

        Raises:
            ValueError: it is none of these, or beyond 1 MB to 2 GB.
        """
        found = re.fullmatch(r"\s*(\d{1,12})\s*(?:([kmg])(i?)b)?\s*", str(value).lower(), re.ASCII)
        if found is None:
            raise ValueError(f"{value!r} is not {cls.words()}")
        unit = (1024 if found[3] else 1000) ** ("kmg".index(found[2]) + 1 if found[2] else 0)
        size = cls(int(found[1]) * unit)
        if not 10**6 <= size <= 2 * 10**9:
            raise ValueError(f"{value!r} is not {cls.words()}")
        return size

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return "bytes from 1MB to 2GB, such as 256MB or 1GiB"

    def __str__(self) -> str:
        """``256MB``, where it is whole megabytes."""
        return f"{self // 10**6}MB" if self % 10**6 == 0 else int.__repr__(self)
