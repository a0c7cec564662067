"""Images of any kind as a person sees them: RGB of 8 bits, to be compared and looked at, never to be trained on."""

from __future__ import annotations

import numpy as np

from translatekit.image_spec import GRAY, RGB
from translatekit.images import Image, fit_image, to_uint8
from translatekit_tools.prepare.layout import to_rgb

_SHOWN = (1.0, 99.0)  # percentiles of the values that are shown from black to white


def is_photograph(image: Image) -> bool:
    """Whether it is gray or RGB with a black and a white."""
    return image.spec.shown and image.white is not None


def preview_of(image: Image) -> np.ndarray:
    """(H, W, 3) uint8: photographs as they are; of values, the first three channels (or one) between percentiles.

    What holds no data is black.
    """
    if is_photograph(image):
        wanted = RGB if image.spec.meaning == "rgb" else GRAY
        return to_rgb(to_uint8(fit_image(image, wanted, "the image")))
    channels = image.pixels[:, :, : 3 if image.pixels.shape[2] >= 3 else 1].astype(np.float32)
    if image.valid is not None:
        channels[~image.valid] = np.nan
    known = channels[np.isfinite(channels)]
    if not known.size:
        return np.zeros((*channels.shape[:2], 3), np.uint8)
    low, high = np.percentile(known, _SHOWN)
    if not low < high:
        low, high = float(known.min()), float(known.max())
    scaled = (channels - low) / (high - low if low < high else 1.0)
    return to_rgb(to_uint8(np.nan_to_num(np.clip(scaled, 0, 1))))
