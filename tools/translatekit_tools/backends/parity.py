"""How far a compiled model's outputs are from those of the model that it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import Translator

MAX_PSNR = 120.0
"""Where outputs are the same to the last bit, in dB, because JSON has no infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Outputs compared, over all pixels and channels of all images.

    Attributes:
        psnr: in dB, of the range of each channel; at most `MAX_PSNR`.
        max_error, mean_error: of absolute differences, in `unit`; whole where both are of 8 bits.
        share_above_2: of the pixels' channels, how many differ by more than 2/255 of the range.
        unit: ``levels of 255``, the unit of values or nothing where they have none; ``classes``, of which 1 is another.
        images: how many were compared.
        reference: what they were compared with.
    """

    psnr: float
    max_error: float
    mean_error: float
    share_above_2: float
    unit: str
    images: int
    reference: str


def compare(
    reference: Translator, candidate: Translator, images: Sequence[np.ndarray], name: str = "torch fp32"
) -> Parity:
    """Translate images (H, W, C) by both, one at a time.

    Args:
        reference, candidate: the translators.
        images: each of a size that both take.
        name: of the reference.
    """
    pairs = ((reference(image[None]), candidate(image[None])) for image in images)
    return compare_outputs(pairs, name, reference.info.output)


def compare_outputs(pairs: Iterable[tuple[np.ndarray, np.ndarray]], name: str, spec: ImageSpec) -> Parity:
    """Compare outputs, pairs of arrays of one shape and dtype, the reference's first.

    Args:
        pairs: of images of the spec.
        name: of the reference.
        spec: what they are.

    Raises:
        DataError: outputs have different shapes or are no finite numbers, or there are none.
    """
    name = name or "the reference"
    squares = errors = worst = 0.0
    above = values = count = 0
    low, high = (np.array(bounds, np.float64) for bounds in (spec.low, spec.high))
    ranges, unit = high - low, spec.unit
    if spec.levels:
        ranges, unit = np.array([255.0]), "levels of 255"
    elif spec.meaning == "labels":
        ranges, unit = np.array([1.0]), "classes"
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
        error = np.abs(expected.astype(np.float64) - got.astype(np.float64))
        if spec.levels and expected.dtype != np.uint8:
            error *= 255
        elif spec.meaning == "labels":
            error = np.sign(error)
        squares += float(np.square(error / ranges).sum())
        errors += float(error.sum())
        above += int((error > ranges * (2 / 255 + 1e-9)).sum())
        worst = max(worst, float(error.max(initial=0)))
        values += error.size
        count += len(expected)
    if not values:
        raise DataError("there is nothing to compare outputs on: pass --check DIR with images")
    psnr = MAX_PSNR if squares == 0 else min(MAX_PSNR, 10 * math.log10(values / squares))
    return Parity(
        psnr=psnr,
        max_error=worst,
        mean_error=errors / values,
        share_above_2=above / values,
        unit=unit,
        images=count,
        reference=name,
    )
