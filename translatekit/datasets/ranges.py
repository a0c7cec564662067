"""Which values of images become a network's -1 and 1: given, by the data, their percentiles, or mean and deviation.

What depends on the data is decided once, from the training images, and written down with the run; validation, the model
file and whatever is compiled from it use the same numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec, parse_range

_DECIDED_BY = 200  # images that a range is decided by, spread over the set
_VALUES = 20_000  # of an image that percentiles are taken from, evenly spread over it
_PERCENTILES = re.compile(r"\s*([\d.]+)\s*%\s*\.\.\s*([\d.]+)\s*%\s*")
_NUMBER = r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)"
_DEVIATIONS = re.compile(r"\s*mean\s*(?:±|\+-)\s*([\d.]*)\s*std\s*")
_STANDARD = re.compile(rf"\s*{_NUMBER}\s*(?:±|\+-)\s*{_NUMBER}\s*")
_FORMS = "-1024..3071, data, 1%..99%, or mean±std"
_FAR = 0.01  # of the values, from which it matters that an output cannot reach them


@dataclass(frozen=True, slots=True)
class RangeRule:
    """How the range of one kind of image is found.

    Attributes:
        bounds: a low and a high value for all channels, or one pair for each.
        percentiles: of the data that are taken for the bounds; (0, 100) is all of the data.
        deviations: how many standard deviations of the data the bounds are from their mean.
        clip: whether values beyond the bounds are drawn to them.
    """

    bounds: tuple[tuple[float, float], ...] = ()
    percentiles: tuple[float, float] | None = None
    deviations: float | None = None
    clip: bool = True

    @property
    def is_given(self) -> bool:
        """Whether it does not depend on the data."""
        return self.percentiles is None and self.deviations is None


def parse_ranges(text: str) -> dict[str, RangeRule]:
    """``-1024..3071``, or one for each side: ``A=data,B=1%..99%``, by side; under an empty name for all.

    Each channel has its own where they are parted by slashes: ``0..4000/10..5000``. ``mean±std`` standardizes, and is
    called ``zscore`` too; ``mean+-4std`` says the same of four deviations, and ``120±45.5`` gives the numbers.

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


def ranges_text(specs: Mapping[str, ImageSpec]) -> str:
    """The ranges of images by side as `parse_ranges` reads them."""
    return ",".join(f"{side}={'/'.join(map(_text, _pairs(spec)))}" for side, spec in specs.items())


def _pairs(spec: ImageSpec) -> list[tuple[float, float, bool]]:
    return [(low, high, spec.clip) for low, high in spec.bounds]


def _text(pair: tuple[float, float, bool]) -> str:
    low, high, clip = pair
    if clip:
        return f"{low!r}..{high!r}"
    mean, deviation = _rounded((low + high) / 2, (high - low) / 2)
    return f"{mean!r}±{deviation!r}"


def _rounded(mean: float, deviation: float) -> tuple[float, float]:
    """Both to nine digits of the deviation: what is written down is then what was decided."""
    digits = 8 - math.floor(math.log10(deviation))
    return round(mean, digits), round(deviation, digits)


def _around(mean: float, deviation: float) -> tuple[float, float]:
    mean, deviation = _rounded(mean, deviation)
    return mean - deviation, mean + deviation


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
    if rule.deviations is not None:
        means, spreads = _moments(map(read, images))
        if not np.all(spreads > 0):
            raise DataError(
                f"{where} have one value in some channel, and no standard deviation: pass --range with numbers, "
                "such as --range 0..1"
            )
        pairs = [_around(float(m), rule.deviations * float(s)) for m, s in zip(means, spreads, strict=True)]
        return tuple(low for low, _ in pairs), tuple(high for _, high in pairs)
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
    if match := _DEVIATIONS.fullmatch("mean±std" if text == "zscore" else text):
        return RangeRule(deviations=_positive(match[1] or "1", text), clip=False)
    if "±" in text or "+-" in text:
        return RangeRule(bounds=tuple(_parse_standard(part, text) for part in text.split("/")), clip=False)
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


def _parse_standard(part: str, text: str) -> tuple[float, float]:
    match = _STANDARD.fullmatch(part)
    if not match:
        raise OptionError(
            f"--range {text!r} is no mean and standard deviation: write them as numbers, such as 120±45.5, or mean±std"
        )
    return _around(_number(match[1], text), _positive(match[2], text))


def _positive(written: str, text: str) -> float:
    number = _number(written, text)
    if not 0 < number < math.inf:
        raise OptionError(f"--range {text!r}: a standard deviation is above 0, such as in 120±45.5")
    return number


def _number(written: str, text: str) -> float:
    try:
        return float(written)
    except ValueError:
        raise OptionError(f"--range {text!r}: {written!r} is no number, such as in 120±45.5") from None


def far_values(spec: ImageSpec, images: Iterable[np.ndarray]) -> str | None:
    """A sentence where many values of images (..., C) lie beyond the bounds of a spec that does not clip."""
    flat = np.concatenate([values.reshape(-1, values.shape[-1]) for values in images])
    flat = flat[~np.isnan(flat).any(axis=1)]
    beyond = (flat < np.array(spec.low)) | (flat > np.array(spec.high))
    share = float(beyond.mean()) if flat.size else 0.0
    if spec.clip or share < _FAR:
        return None
    low, high = spec.span
    return (
        f"{share:.0%} of the target's values lie outside of {low:g} to {high:g}, where networks that end in tanh "
        "cannot get: pass a wider range for that side, such as --range mean±4std"
    )


def _moments(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of each channel over all images (Chan, Golub and LeVeque, 1983)."""
    count: Any = 0
    mean: Any = 0.0
    squares: Any = 0.0
    for values in images:
        flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
        there = (~np.isnan(flat)).sum(axis=0)
        if not there.all():
            continue
        own = np.nanmean(flat, axis=0)
        total = count + there
        shift = own - mean
        squares = squares + np.nansum((flat - own) ** 2, axis=0) + shift**2 * count * there / total
        mean, count = mean + shift * there / total, total
    if not np.any(count):
        return np.array([math.nan]), np.array([math.nan])
    return mean, np.sqrt(squares / count)


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
