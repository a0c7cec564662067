"""What is done to the pixels of an image, wherever they come from."""

from __future__ import annotations

import numpy as np
from PIL import Image

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec

MAX_PIXELS = 178_956_970
"""Images of more pixels are refused: Pillow's limit against decompression bombs (half a gigabyte as RGB)."""

_ALL_OF_A_PIXEL = 1e-3  # that the filter's weights may add up wrong to


class UnreadableImageError(DataError):
    """A file cannot be decoded as an image."""


def resize(pixels: np.ndarray, size: tuple[int, int], spec: ImageSpec | None = None) -> np.ndarray:
    """Resize by Pillow's bicubic filter, which averages when it shrinks; class numbers by the nearest pixel.

    Of a mask, bool, only those pixels stay true that nothing false went into.

    Args:
        pixels: (H, W, C) or (H, W), uint8 in [0, 255] or float32 in [0, 1], or what `spec` says; or a mask
            (H, W), bool.
        size: new height and width.
        spec: what the pixels are. Values stay between the lowest and the highest of their channel, beyond which the
            filter overshoots at edges.

    Returns:
        An array of the dtype and the number of axes that came in.
    """
    height, width = size
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.dtype == bool:
        weights = Image.fromarray(pixels.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
        return np.abs(np.asarray(weights) - 1.0) < _ALL_OF_A_PIXEL
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    if spec is not None and spec.meaning == "labels":
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int)
            for new, old in zip(size, pixels.shape[:2], strict=True)
        )
        return pixels[rows][:, columns]
    if planes.dtype == np.uint8 and planes.shape[2] in (1, 3):
        resized = np.asarray(to_pillow(planes).resize((width, height), Image.Resampling.BICUBIC))
    else:
        # Plane by plane: Pillow resizes float images only in one channel, and would premultiply alpha.
        resized = np.stack(
            [
                np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
                for plane in np.ascontiguousarray(planes.transpose(2, 0, 1))
            ],
            axis=2,
        )
    if resized.dtype != np.uint8:
        levels = spec is None or spec.levels
        low, high = (0.0, 1.0) if levels else (planes.min(axis=(0, 1)), planes.max(axis=(0, 1)))
        resized = np.clip(resized, low, high)
    return resized.reshape(height, width, *pixels.shape[2:])


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any shape as uint8 in [0, 255]; float32 in [0, 1] is rounded."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255.0).astype(np.uint8)


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """Luma (ITU-R BT.601) of RGB pixels (H, W, 3), as (H, W, 1) of the same dtype."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    return (pixels @ np.array([0.299, 0.587, 0.114], np.float32))[:, :, None]


def fitting_profile(icc: bytes | None, channels: int) -> bytes | None:
    """The profile, unless it describes another colour space than that of the pixels."""
    space = b"GRAY" if channels == 1 else b"RGB "
    return icc if icc is not None and icc[16:20] == space else None


def to_pillow(samples: np.ndarray) -> Image.Image:
    """uint8 (H, W, 1 to 4) as L, LA, RGB or RGBA."""
    return Image.fromarray(np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples))


def to_uint16(samples: np.ndarray) -> np.ndarray:
    """Samples of any shape as uint16 in [0, 65535]; float32 in [0, 1] is rounded."""
    if samples.dtype == np.uint16:
        return samples
    return np.rint(np.clip(samples, 0.0, 1.0) * 65535.0).astype(np.uint16)
