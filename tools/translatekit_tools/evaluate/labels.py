"""Label maps as classes: the counts of how two of them agree."""

from __future__ import annotations

import numpy as np


def confusion(found: np.ndarray, wanted: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of each class (rows) were given which class (columns): (classes, classes)."""
    joint = wanted.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(joint, minlength=classes**2).reshape(classes, classes)
