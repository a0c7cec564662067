"""What of an image is its subject, and what background: tissue on a slide, a body in a scanner."""

from __future__ import annotations

import numpy as np

from translatekit.requirements import of_extra, require

_BINS = 256
_FEW = 64  # numbers: so many are classes, of which the lowest is the background


def otsu(values: np.ndarray) -> float:
    """The threshold that parts values into two groups that differ most (Otsu, IEEE SMC 1979).

    Outliers beyond the 0.1st and the 99.9th percentile do not count. NaN does not count.

    Args:
        values: of any shape; those above the threshold are the upper group.
    """
    some = values.ravel()[:: max(1, values.size // 2_000_000)].astype(np.float32)
    some = some[np.isfinite(some)]
    if not some.size:
        return 0.0
    low, high = np.percentile(some, (0.1, 99.9))
    if not low < high:
        return float(low)
    counts, edges = np.histogram(some, _BINS, (low, high))
    below = np.cumsum(counts).astype(np.float64)
    sums = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * above)
    between = np.nan_to_num(between[:-1])
    best = np.flatnonzero(
        between >= between.max() * (1 - 1e-9)
    )  # several, where no value lies between the groups
    return float(edges[1 + int(best.mean())])


def above_background(volume: np.ndarray) -> np.ndarray:
    """Where a volume (X, Y, Z) shows something: bool of its shape.

    That is what lies above Otsu's threshold; of class numbers, whatever is not the lowest.
    """
    if volume.dtype.kind in "ui":
        some = np.unique(volume.ravel()[:: max(1, volume.size // 2_000_000)])
        if len(some) <= _FEW:
            return volume > some[0]
    with np.errstate(invalid="ignore"):
        return np.asarray(volume > otsu(volume))


def body_mask(volume: np.ndarray) -> np.ndarray:
    """The body in a volume (X, Y, Z), bool of its shape: its largest connected part above the background, filled.

    Args:
        volume: oriented so that its last axis runs along the body: cavities are filled slice by slice across it.
    """
    require("finding the body in a volume", of_extra("medical", "scipy"))
    from scipy import ndimage

    solid = ndimage.binary_opening(above_background(volume), iterations=1)
    regions, count = ndimage.label(solid)
    if not count:
        return np.zeros(volume.shape, bool)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    body = regions == sizes.argmax()
    for index in range(body.shape[2]):
        body[:, :, index] = ndimage.binary_fill_holes(body[:, :, index])
    return np.asarray(body)


def saturation(pixels: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1] of RGB (H, W, 3) uint8: stained tissue has some, glass and paper have none."""
    high = pixels.max(axis=2).astype(np.float32)
    low = pixels.min(axis=2).astype(np.float32)
    return np.asarray((high - low) / np.maximum(high, 1), np.float32)
