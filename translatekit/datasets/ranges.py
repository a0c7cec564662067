"""Which values of images become a network's -1 and 1: given, those of the data, or percentiles of them.

What depends on the data is decided once, from the training images, and written down with the run; validation, the model
file and whatever is compiled from it use the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit.image_spec import parse_range

_DECIDED_BY = 200  # images that a range is decided by, spread over the set
_VALUES = 20_000  # of an image that percentiles are taken from, evenly spread over it
_PERCENTILES = re.compile(r"\s*([\d.]+)\s*%\s*\.\.\s*([\d.]+)\s*%\s*")
_FORMS = "-1024..3071, data, or 1%..99%"


@dataclass(frozen=True, slots=True)
class RangeRule:
    """How the range of one kind of image is found.

    Attributes:
        bounds: a low and a high value for all channels, or one pair for each.
        percentiles: of the data that are taken for the bounds; (0, 100) is all of the data.
    """

    bounds: tuple[tuple[float, float], ...] = ()
    percentiles: tuple[float, float] | None = None


def parse_ranges(text: str) -> dict[str, RangeRule]:
    """``-1024..3071``, or one for each side: ``A=data,B=1%..99%``, by side; under an empty name for all.

    Each channel has its own where they are parted by slashes: ``0..4000/10..5000``.

    Raises:
        OptionError: it is neither.
    """
    rules: dict[str, RangeRule] = {}
    for part in text.split(","):
        side, equals, rule = part.rpartition("=")
        if side.strip() in rules or (equals and not side.strip()):
            raise OptionError(
                f"--range {text!r} says twice what holds, or of what: write {_FORMS}, or A=...,B=..."
            )
        rules[side.strip()] = _parse_rule(rule.strip())
    return rules


def ranges_text(bounds: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Ranges by side as `parse_ranges` reads them."""
    return ",".join(
        f"{side}={'/'.join(f'{low!r}..{high!r}' for low, high in pairs)}" for side, pairs in bounds.items()
    )


def decide_bounds(
    rule: RangeRule, images: Sequence[Any], read: Callable[[Any], np.ndarray], where: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The low and the high values, one each, or one for each channel.

    Args:
        rule: how they are found.
        images: the training images.
        read: from one of them to its values, (..., C); those that say nothing are NaN.
        where: what the images are, for the error.

    Raises:
        DataError: the images are all of one value.
    """
    if rule.percentiles is None:
        return tuple(low for low, _ in rule.bounds), tuple(high for _, high in rule.bounds)
    if rule.percentiles == (0.0, 100.0):
        low, high = _extremes(map(read, images))
    else:
        chosen = np.linspace(0, len(images) - 1, min(len(images), _DECIDED_BY)).astype(int)
        values = np.concatenate([_thinned(read(images[place])) for place in chosen])
        low, high = np.nanpercentile(values, rule.percentiles, axis=0)
    if not np.all(low < high):  # NaN among them
        raise DataError(
            f"{where} have values from {np.nanmin(low):g} to {np.nanmax(high):g} in some channel, which are no range: "
            "pass --range with numbers, such as --range 0..1"
        )
    return tuple(map(float, low)), tuple(map(float, high))


def _parse_rule(text: str) -> RangeRule:
    if text == "data":
        return RangeRule(percentiles=(0.0, 100.0))
    if match := _PERCENTILES.fullmatch(text):
        low, high = float(match[1]), float(match[2])
        if not 0 <= low < high <= 100:
            raise OptionError(
                f"--range {text!r}: percentiles go from 0 to 100, the lower one first: such as 1%..99%"
            )
        return RangeRule(percentiles=(low, high))
    try:
        return RangeRule(bounds=tuple(parse_range(part) for part in text.split("/")))
    except OptionError:
        raise OptionError(f"--range {text!r} is no range of values: write {_FORMS}") from None


def _extremes(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lows, highs = [], []
    for values in images:
        flat = values.reshape(-1, values.shape[-1])
        if not np.isnan(flat).all():
            lows.append(np.nanmin(flat, axis=0))
            highs.append(np.nanmax(flat, axis=0))
    return np.min(lows, axis=0), np.max(highs, axis=0)


def _thinned(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(-1, values.shape[-1])
    return flat[:: max(1, len(flat) // _VALUES)]
