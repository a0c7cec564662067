"""Drawn images to measure with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def draw(count: int, size: int) -> Iterator[np.ndarray]:
    """Label maps of facades, (size, size, 3) uint8, the same ones each time."""
    from translatekit.datasets.facades import draw_facade

    for seed in range(count):
        label, _ = draw_facade(seed, size)
        yield label
