"""From an image of any size to one that the network takes, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images import resize

Fit = Literal["pad", "resize", "crop"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """An image whose sides are multiples of what the network needs, and the way back.

    Attributes:
        pixels: (H, W, C), for the network.
        top, left, height, width: the part of the network's output that is the image's.
        size: (height, width) that this part is resized to in the end, or None.
        output: what the network gives, by which it is resized; None for levels.
    """

    pixels: np.ndarray
    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int] | None = None
    output: ImageSpec | None = None

    def restore(self, output: np.ndarray) -> np.ndarray:
        """The image's part of the network's output (H, W, C'), at the size it came in."""
        part = output[self.top : self.top + self.height, self.left : self.left + self.width]
        return part if self.size is None else resize(part, self.size, self.output)


def fit_pixels(
    pixels: np.ndarray,
    multiple: int,
    fit: Fit,
    spec: ImageSpec | None = None,
    output: ImageSpec | None = None,
) -> Fitted:
    """Make both sides multiples of `multiple`.

    Args:
        pixels: (H, W, C).
        multiple: in pixels.
        fit: ``pad`` reflects the image at its borders, as often as it takes; ``resize`` goes to the nearest
            multiple; ``crop`` takes the largest centre part.
        spec: what the pixels are, by which they are resized; None for levels.
        output: what the network makes of them, likewise.

    Raises:
        DataError: the image is too small to crop.
    """
    height, width = pixels.shape[:2]
    if height % multiple == 0 and width % multiple == 0:
        return Fitted(pixels, 0, 0, height, width)
    if fit == "pad":
        pixels, top = _reflect(pixels, -height % multiple, axis=0)
        pixels, left = _reflect(pixels, -width % multiple, axis=1)
        return Fitted(pixels, top, left, height, width)
    if fit == "resize":
        size = (_nearest_multiple(height, multiple), _nearest_multiple(width, multiple))
        return Fitted(resize(pixels, size, spec), 0, 0, *size, size=(height, width), output=output)
    cropped = crop_centre(pixels, multiple)
    return Fitted(cropped, 0, 0, *cropped.shape[:2])


def crop_centre(pixels: np.ndarray, multiple: int) -> np.ndarray:
    """The largest centre part of (H, W, ...) whose sides are multiples of `multiple`.

    Raises:
        DataError: a side is smaller than `multiple`.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < multiple:
        raise DataError(
            f"an image of {width}x{height} pixels is too small to crop to a multiple of {multiple}: "
            "pass --fit pad or --fit resize"
        )
    top, left = height % multiple // 2, width % multiple // 2
    return pixels[top : top + height // multiple * multiple, left : left + width // multiple * multiple]


def _nearest_multiple(side: int, multiple: int) -> int:
    return max(multiple, (side + multiple // 2) // multiple * multiple)


def _reflect(pixels: np.ndarray, amount: int, axis: int) -> tuple[np.ndarray, int]:
    """`amount` more pixels along an axis, half on each side; and how many came before the first."""
    before = amount // 2
    widths = [(0, 0)] * pixels.ndim
    widths[axis] = (before, amount - before)
    mode: Literal["edge", "reflect"] = (
        "edge" if pixels.shape[axis] == 1 else "reflect"
    )  # one pixel has no mirror image
    return np.pad(pixels, widths, mode=mode), before
