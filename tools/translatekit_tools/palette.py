"""The palette of label maps as arrays: painting classes in their colours, and telling classes from colours.

The file is the ``palette.json`` of `translatekit.datasets.palette`; names and colours may be edited by hand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translatekit.datasets.palette import PALETTE_FILE, PaletteClass, read_palette

__all__ = ["PALETTE_FILE", "Palette", "nearest_center"]

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """The classes of label maps, in the order of their numbers.

    Attributes:
        names: of the classes.
        colors: of the classes, sRGB levels in [0, 255].
    """

    names: tuple[str, ...]
    colors: tuple[Rgb, ...]

    @classmethod
    def of(cls, classes: list[PaletteClass]) -> Palette:
        """The palette of classes as ``palette.json`` and model files hold them."""
        colors = [(red, green, blue) for red, green, blue in (item["color"] for item in classes)]
        return cls(tuple(item["name"] for item in classes), tuple(colors))

    @classmethod
    def load(cls, path: Path) -> Palette:
        """Read a ``palette.json``.

        Raises:
            DataError: it is missing, or not such a file.
        """
        return cls.of(read_palette(path))

    def to_json(self) -> str:
        """The text of a ``palette.json``, one class a line."""
        classes = ",\n".join(
            f"    {json.dumps({'name': name, 'color': list(color)}, ensure_ascii=False)}"
            for name, color in zip(self.names, self.colors, strict=True)
        )
        return f'{{\n  "format": 1,\n  "classes": [\n{classes}\n  ]\n}}\n'

    def paint(self, classes: np.ndarray) -> np.ndarray:
        """A label map (H, W, 3) uint8 of class numbers (H, W)."""
        return np.array(self.colors, np.uint8)[classes]

    def nearest(self, pixels: np.ndarray) -> np.ndarray:
        """The class whose colour is nearest, by Euclidean distance in RGB: (H, W) uint8 of (H, W, 3) uint8.

        Palettes of more than 256 classes are not for label maps, and numbers above 255 would wrap.
        """
        return nearest_center(pixels.astype(np.float32), np.array(self.colors, np.float32))


def nearest_center(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The number of the nearest of up to 256 centres (K, F), for each of features (..., F): (...) uint8.

    Of equally near ones it is the first. Memory stays at a few times that of the features, whatever K is.
    """
    best = np.full(features.shape[:-1], np.inf, np.float32)
    numbers = np.zeros(features.shape[:-1], np.uint8)
    for number, center in enumerate(centers):
        distance = np.square(features - center).sum(-1)
        nearer = distance < best
        best[nearer] = distance[nearer]
        numbers[nearer] = number
    return numbers
