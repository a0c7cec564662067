"""How well two label maps agree, class by class."""

from __future__ import annotations

import numpy as np


def confusion(found: np.ndarray, wanted: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of each class (rows) were given which class (columns): (classes, classes)."""
    joint = wanted.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(joint, minlength=classes**2).reshape(classes, classes)


def pixel_accuracy(counts: np.ndarray) -> np.ndarray:
    """The share of pixels with the right class, (R,) from confusions (R, K, K)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        right: np.ndarray = np.trace(counts, axis1=1, axis2=2) / counts.sum((1, 2))
    return right


def class_accuracies(counts: np.ndarray) -> np.ndarray:
    """Of each class the share of its pixels that were found, (R, K); NaN for classes that are not there."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: np.ndarray = np.diagonal(counts, axis1=1, axis2=2) / counts.sum(2)
    return shares


def ious(counts: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, (R, K); NaN for classes that are neither there nor given."""
    right = np.diagonal(counts, axis1=1, axis2=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: np.ndarray = right / (counts.sum(2) + counts.sum(1) - right)
    return shares


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """The mean of `class_accuracies` over the classes that are there, (R,)."""
    return _mean(class_accuracies(counts))


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """The mean of `ious` over the classes that are there (Long et al., 2015, section 5), (R,)."""
    there = counts.sum(2) > 0
    return _mean(np.where(there, ious(counts), np.nan))


STATISTICS = {"pixel_accuracy": pixel_accuracy, "class_accuracy": class_accuracy, "mean_iou": mean_iou}
"""Figures of confusions by name: all are shares in [0, 1], and more is better."""


def _mean(shares: np.ndarray) -> np.ndarray:
    there = np.isfinite(shares)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = np.where(there, shares, 0).sum(1) / there.sum(1)
    return result
