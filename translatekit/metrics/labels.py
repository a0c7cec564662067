"""How well label maps agree, from counts of pixels (..., K, K): the wanted class by row, the found one by column."""

from __future__ import annotations

import numpy as np


class PixelAccuracy:
    """The share of pixels with the right class."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(...) in [0, 1] from (..., K, K)."""
        return pixel_accuracy(counts)


class ClassAccuracy:
    """The share of a class's pixels that were found, as a mean over the classes that are there."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(...) in [0, 1] from (..., K, K)."""
        return _mean(class_accuracies(counts))


class MeanIoU:
    """Intersection over union, as a mean over the classes that are there (Long et al., 2015, section 5)."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(...) in [0, 1] from (..., K, K)."""
        return _mean(np.where(counts.sum(-1) > 0, ious(counts), np.nan))


def pixel_accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of pixels with the right class, (...) from (..., K, K)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        right: np.ndarray = np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))
    return right


def class_accuracies(counts: np.ndarray) -> np.ndarray:
    """Of each class the share of its pixels that were found, (..., K); NaN for classes that are not there."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: np.ndarray = np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-1)
    return shares


def ious(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, (..., K); NaN for classes that are neither there nor given."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: np.ndarray = right / (counts.sum(-1) + counts.sum(-2) - right)
    return shares


def _mean(shares: np.ndarray) -> np.ndarray:
    finite = np.isfinite(shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = np.where(finite, shares, 0).sum(-1) / finite.sum(-1)
    return result
