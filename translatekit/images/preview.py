"""Images of any kind as a person sees them: RGB of 8 bits, to be looked at and never to be trained on."""

from __future__ import annotations

import colorsys

import numpy as np

from translatekit.image_spec import ImageSpec
from translatekit.images.pixels import to_uint8

_RGB_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("b04", "b03", "b02"), ("b4", "b3", "b2"))
_GOLDEN = 0.61803  # of a turn around the circle of hues: neighbours differ


def preview(image: np.ndarray, spec: ImageSpec, window: tuple[float, float] | None = None) -> np.ndarray:
    """What an image looks like.

    Levels are shown as they are, values from the lowest to the highest of their range. Of several channels the three
    are shown that are named red, green and blue (or as Landsat and Sentinel-2 name them), else the first three, or the
    first alone where there are two; of several slices the middle one. Classes have the colours of their palette, or
    others that differ.

    Args:
        image: (H, W, C) of the spec: uint8, or float32.
        spec: what it is.
        window: centre and width, in the unit, of the values that are shown from black to white.

    Returns:
        (H, W, 3), uint8. What is no number is black.
    """
    if spec.meaning == "labels":
        return _colours(spec)[image[:, :, 0].astype(np.int64)]
    each = spec.count // spec.slices
    middle = image[:, :, each * (spec.slices // 2) :][:, :, :each]
    names = [name.lower() for name in spec.channels[each * (spec.slices // 2) :][:each]]
    places = _places(names)
    channels = middle[:, :, places]
    if not spec.levels:
        low, high = (np.array([spec.bounds[place % len(spec.bounds)] for place in places], np.float32)).T
        if window is not None:
            centre, width = window
            low, high = np.float32(centre - width / 2), np.float32(centre + width / 2)
        channels = (channels.astype(np.float32) - low) / (high - low)
    if channels.dtype != np.uint8:
        channels = to_uint8(np.nan_to_num(channels, nan=0.0, posinf=1.0, neginf=0.0))
    return channels if channels.shape[2] == 3 else np.repeat(channels, 3, axis=2)


def _places(names: list[str]) -> list[int]:
    """Which channels are shown as red, green and blue, or the one that is shown as gray."""
    for wanted in _RGB_NAMES:
        if set(wanted) <= set(names):
            return [names.index(name) for name in wanted]
    return [0, 1, 2] if len(names) >= 3 else [0]


def class_colours(spec: ImageSpec) -> tuple[tuple[int, int, int], ...]:
    """The colour in which each class of a spec is shown: that of its palette, or one that differs from the others."""
    if spec.palette:
        return spec.palette
    hues = (colorsys.hsv_to_rgb(place * _GOLDEN % 1.0, 0.6, 0.95) for place in range(len(spec.ids)))
    return tuple((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues)


def _colours(spec: ImageSpec) -> np.ndarray:
    """(256, 3), uint8: the colour of each number; black for those that are no class."""
    table = np.zeros((256, 3), np.uint8)
    table[list(spec.ids)] = class_colours(spec)
    return table
