"""Images of any kind as a person sees them, to be compared and looked at, never to be trained on."""

from __future__ import annotations

import numpy as np

from translatekit.images import Image
from translatekit.images.image import to_levels
from translatekit.images.preview import preview

_SHOWN = (1.0, 99.0)  # percentiles of the values that are shown from black to white


def is_photograph(image: Image) -> bool:
    """Whether it is gray or RGB with a black and a white."""
    return image.spec.shown and image.white is not None


def preview_of(image: Image) -> np.ndarray:
    """(H, W, 3) uint8: photographs as they are; of others, values between percentiles (see `preview`).

    What holds no data is black.
    """
    if is_photograph(image):
        return preview(to_levels(image.pixels, image), image.spec)
    values = image.pixels.astype(np.float32)
    if image.valid is not None:
        values[~image.valid] = np.nan
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _SHOWN) if known.size else (0.0, 1.0)
    if not low < high:
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return preview(values, image.spec.with_range(low, high if low < high else low + 1))
