"""An image with all that its file knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB, Dtype, ImageSpec, levels_spec

DTYPES: tuple[Dtype, ...] = ("uint8", "uint16", "int16", "float32")
"""What pixels may be."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Image:
    """A decoded image.

    Attributes:
        pixels: (H, W, C), as the file has them: one of `DTYPES`.
        spec: what the file knows of them: names of channels, meaning, unit. Without levels, its range is unknown.
        white: the value of white, such as 255, 1023 or 65535; None where numbers have no scale.
        alpha: (H, W) of the dtype of `pixels`, not premultiplied; None for an opaque image.
        icc_profile: the colour profile that the pixels are meant in; None stands for sRGB.
        valid: (H, W), bool: False where the file has no value (its nodata value, or no finite number); None where it
            has values everywhere.
        numbers: (H, W), uint8: what a file with a palette, or gray of fewer than 8 bits, holds before that becomes
            colours or levels.
        palette: (N, 3), uint8: the colours of `numbers`, where there is a palette.
        metadata: what else is to be kept, by the name of the format that knows it.
    """

    pixels: np.ndarray
    spec: ImageSpec
    white: float | None = None
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    valid: np.ndarray | None = None
    numbers: np.ndarray | None = None
    palette: np.ndarray | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def part(self, top: int, left: int, height: int, width: int) -> Image:
        """A part of it, in pixels; its metadata are those of the whole."""
        planes: dict[str, Any] = {
            name: plane[top : top + height, left : left + width]
            for name in ("pixels", "alpha", "valid", "numbers")
            if (plane := getattr(self, name)) is not None
        }
        return replace(self, **planes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says before its pixels are read.

    Attributes:
        height, width: in pixels, as shown.
        spec: as of `Image`.
        pages: images in the file: pages of a TIFF, slices of a volume.
        spacing: of a volume: from slice to slice, row to row and column to column, in mm.
        palette: the colours that class numbers may stand for, where the file has a palette.
        metadata: as of `Image`, as far as it is known.
    """

    height: int
    width: int
    spec: ImageSpec
    pages: int = 1
    spacing: tuple[float, float, float] | None = None
    palette: tuple[tuple[int, int, int], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=256)
def file_spec(
    channels: int | tuple[str, ...], dtype: str, levels: bool, unit: str = "", *, shown: bool = True
) -> ImageSpec:
    """The spec of what a file holds.

    Args:
        channels: how many there are, or their names.
        dtype: one of `DTYPES`.
        levels: whether integers are steps of a scale.
        unit: of values.
        shown: whether one channel is gray and three are RGB.
    """
    count = channels if isinstance(channels, int) else len(channels)
    spec = levels_spec(count)
    if not shown and spec.meaning != "values":
        spec = replace(spec, channels=tuple(f"channel {i + 1}" for i in range(count)), meaning="values")
    if not isinstance(channels, int):
        meaning = spec.meaning if channels in (GRAY.channels, RGB.channels) else "values"
        spec = replace(spec, channels=channels, meaning=meaning)
    known: Any = dtype
    return replace(spec, dtype=known, levels=levels, unit=unit)


def white_of(dtype: np.dtype) -> float | None:
    """The value of white where nothing else is said: unsigned integers use all of their range."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else None


def kept(values: np.ndarray) -> np.ndarray:
    """Numbers of any type as one of `DTYPES`, exactly.

    Raises:
        DataError: no such dtype holds them.
    """
    if values.dtype in DTYPES:
        return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise DataError(f"it holds {values.dtype}, neither integers nor real numbers; convert it to float32")
    if values.dtype.kind == "f":  # float64 is rounded to the 24 bits of float32, as its readers everywhere do
        with np.errstate(over="ignore"):
            floats = values.astype(np.float32)
        if values.dtype.itemsize > 4 and not np.array_equal(np.isfinite(floats), np.isfinite(values)):
            raise DataError("its values are beyond the range of float32; rescale them")
        return floats
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for dtype in (np.uint8, np.int16) if values.dtype.itemsize == 1 else (np.uint16, np.int16):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    if max(-low, high) > 2**24:
        raise DataError(
            f"its integers, {low} to {high}, need more than the 24 bits of float32; convert it to float32"
        )
    return values.astype(np.float32)


def finite(values: np.ndarray) -> np.ndarray | None:
    """(H, W) bool: where all channels (H, W, C) have a number; None where they have one everywhere."""
    if values.dtype.kind != "f":
        return None
    valid: np.ndarray = np.isfinite(values).all(axis=2)
    return None if valid.all() else valid


# Depth


def to_levels(pixels: np.ndarray, image: Image, name: str = "the image") -> np.ndarray:
    """Samples of an image, such as its pixels or its alpha, as uint8 where it has 8 bits, or as float32 in [0, 1].

    Raises:
        DataError: they have no scale, and do not lie where levels would.
    """
    if image.pixels.dtype == np.uint8 and image.white == 255:
        return pixels
    white = image.white
    if white is None:
        white = {"float32": 1.0, "uint8": 255.0}.get(image.pixels.dtype.name, 65535.0)
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0.0 and high <= white):
            raise DataError(
                f"{name} cannot be read as levels from black to white: its values, {low:g} to {high:g}, are not in "
                f"0 to {white:g}; pass --range LOW..HIGH to train on values, or rescale them"
            )
    unit = pixels.astype(np.float32)
    if white != 1.0:
        unit /= np.float32(white)
    return unit


def rescaled(levels: np.ndarray, dtype: np.dtype, white: float | None) -> np.ndarray:
    """Levels, uint8 or float32 in [0, 1], as those of another depth."""
    if levels.dtype == dtype and (dtype != np.uint16 or white == 65535):
        return levels
    unit = levels.astype(np.float32) / np.float32(255) if levels.dtype == np.uint8 else levels
    top = 1.0 if white is None else white
    if dtype == np.float32:
        return unit
    return np.rint(np.clip(unit, 0.0, 1.0) * np.float32(top)).astype(dtype)


def in_16_bits(image: Image, samples: np.ndarray) -> np.ndarray:
    """Levels of an image (its pixels, its alpha, or both) as uint16 whose white is 65535."""
    if samples.dtype == np.uint16 and image.white == 65535:
        return samples
    return rescaled(to_levels(samples, image), np.dtype(np.uint16), 65535.0)


def in_8_bits(image: Image, samples: np.ndarray) -> np.ndarray:
    """Levels of an image (its pixels, its alpha, or both) as uint8 whose white is 255."""
    return rescaled(to_levels(samples, image), np.dtype(np.uint8), 255.0)


def with_alpha(image: Image) -> np.ndarray:
    """(H, W, C): the pixels, and alpha as the last channel where there is one."""
    if image.alpha is None:
        return image.pixels
    return np.concatenate([image.pixels, image.alpha[:, :, None]], axis=2)
