"""How far a compiled model's outputs are from those of the model that it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from translatekit.errors import DataError
from translatekit.interfaces import Translator

MAX_PSNR = 120.0
"""Where outputs are the same to the last bit, in dB, because JSON has no infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Outputs compared, over all pixels and channels of all images.

    Attributes:
        psnr: in dB, of 8-bit levels; at most `MAX_PSNR`.
        max_error: in levels of 255.
        share_above_2: of the pixels' channels, how many differ by more than 2 levels.
        images: how many were compared.
        reference: what they were compared with.
    """

    psnr: float
    max_error: int
    share_above_2: float
    images: int
    reference: str


def compare(
    reference: Translator, candidate: Translator, images: Sequence[np.ndarray], name: str = "torch fp32"
) -> Parity:
    """Translate images (H, W, C), uint8, by both, one at a time.

    Args:
        reference, candidate: the translators.
        images: each of a size that both take.
        name: of the reference.
    """
    pairs = ((reference(image[None]), candidate(image[None])) for image in images)
    return compare_outputs(pairs, name)


def compare_outputs(pairs: Iterable[tuple[np.ndarray, np.ndarray]], name: str) -> Parity:
    """Compare outputs, pairs of arrays of 8-bit levels of one shape, the reference's first.

    Raises:
        DataError: outputs have different shapes or are no finite numbers, or there are none.
    """
    name = name or "the reference"
    squares = above = values = count = worst = 0
    for expected, got in pairs:
        if expected.shape != got.shape:
            raise DataError(
                f"outputs of {got.shape} cannot be compared with those of {expected.shape}, which {name} gives: "
                "compile the model again"
            )
        if not (np.isfinite(expected).all() and np.isfinite(got).all()):
            raise DataError(
                f"outputs that are not finite numbers cannot be compared with those of {name}: "
                "choose another --precision, or train again"
            )
        error = np.abs(expected.astype(np.int32) - got.astype(np.int32))
        squares += int(np.square(error).sum())
        above += int((error > 2).sum())
        worst = max(worst, int(error.max(initial=0)))
        values += error.size
        count += len(expected)
    if not values:
        raise DataError("there is nothing to compare outputs on: pass --check DIR with images")
    psnr = MAX_PSNR if squares == 0 else min(MAX_PSNR, 10 * math.log10(255**2 * values / squares))
    return Parity(psnr=psnr, max_error=worst, share_above_2=above / values, images=count, reference=name)
