"""The values of images: where there are none, where a sensor was saturated, and what a range would cut off."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translatekit.datasets.ranges import RangeRule, parse_ranges
from translatekit.errors import OptionError
from translatekit.images import Image
from translatekit_tools.prepare.check.report import Finding
from translatekit_tools.prepare.preview import is_photograph

_MISSING = 0.05  # of an image, from which it is worth a word
_SATURATED = 0.01
_FEW = 64  # distinct values: so many are classes, whose highest is no end of a scale
_OUTSIDE = 1e-3


@dataclass(slots=True)
class Values:
    """What is kept of the values of an image.

    Attributes:
        kind: what it is, in words.
        plain: whether it is a photograph of 8 bits.
        low, high: the lowest and the highest value; NaN where there is none.
        missing: the share of pixels without data.
        saturated: the share of values that are the highest, where that looks like the end of a scale.
        outside: the share of values outside of the range that was asked for.
    """

    kind: str
    plain: bool
    low: float
    high: float
    missing: float
    saturated: float
    outside: float


def parse_bounds(text: str | None) -> dict[str, tuple[tuple[float, float], ...]]:
    """``--range`` of a check: by side, or by an empty name for all, one range or one for each channel.

    Raises:
        OptionError: it is no range, or depends on the data.
    """
    rules: Mapping[str, RangeRule] = parse_ranges(text) if text is not None else {}
    for side, rule in rules.items():
        if not rule.is_given:
            raise OptionError(
                f"--range {text!r} depends on the data{f' ({side})' * bool(side)}: name two numbers"
            )
    return {side: rule.bounds for side, rule in rules.items() if rule.clip}  # others cut nothing off


def measure(image: Image, bounds: Sequence[tuple[float, float]]) -> Values:
    """What is kept of an image, for which a range was asked or not."""
    pixels = image.pixels
    plain = is_photograph(image) and pixels.dtype == np.uint8
    known = pixels if image.valid is None else pixels[image.valid][:, None]
    # Without a range, since that is not known of a file.
    kind = f"{image.spec.count} channel{'s' * (image.spec.count > 1)} of {pixels.dtype}"
    if plain:
        kind = "a photograph of 8 bits"
    if not known.size:
        return Values(kind, plain, np.nan, np.nan, 1.0, 0.0, 0.0)
    low, high = float(known.min()), float(known.max())
    saturated = 0.0
    if not plain and low < high and len(np.unique(known[:: max(1, len(known) // 64)])) > _FEW:
        saturated = float((known == high).mean())
    outside = 0.0
    if bounds:
        lows, highs = np.array(bounds, np.float64).T
        outside = float(((known < lows) | (known > highs)).mean())
    missing = 0.0 if image.valid is None else 1 - float(image.valid.mean())
    return Values(kind, plain, low, high, missing, saturated, outside)


def check_values(seen: Sequence[tuple[str, Path, Values]], text: str | None) -> list[Finding]:
    """What is wrong with values.

    Args:
        seen: side, file and values of each image.
        text: the range that was asked for.
    """
    findings = []
    for _, path, values in seen:
        if values.missing == 1.0:
            findings.append(Finding("error", "empty", f"{path} holds no data at all: remove it", (path,)))
            continue
        if values.missing > _MISSING:
            sentence = (
                f"{path} holds no data in {100 * values.missing:.1f}% of its pixels: see whether it belongs"
            )
            findings.append(Finding("warning", "nodata", sentence, (path,)))
        if values.low == values.high:
            sentence = f"{path} holds nothing but {values.low:g}: leave out what is empty"
            findings.append(Finding("warning", "empty", sentence, (path,)))
        if values.saturated > _SATURATED:
            sentence = (
                f"{100 * values.saturated:.1f}% of the values of {path} are its highest, {values.high:g}: "
                "they seem to be cut off there, see whether the sensor was saturated"
            )
            findings.append(Finding("warning", "saturated", sentence, (path,)))
    by_side: dict[str, list[tuple[Path, Values]]] = defaultdict(list)
    for side, path, values in seen:
        by_side[side].append((path, values))
    for side, images in by_side.items():
        findings += _check_kinds(images)
        outside = [(path, values) for path, values in images if values.outside]
        share = float(np.mean([values.outside for _, values in images]))
        if share > _OUTSIDE:
            low, high = (min(v.low for _, v in outside), max(v.high for _, v in outside))
            sentence = (
                f"{100 * share:.2g}% of the values{f' of {side}' * bool(side)} lie outside of --range {text} "
                f"({low:g} to {high:g} in {len(outside)} of {len(images)} images): training cuts them off; widen it"
            )
            findings.append(Finding("warning", "range", sentence, tuple(path for path, _ in outside)))
    return findings


def _check_kinds(images: Sequence[tuple[Path, Values]]) -> list[Finding]:
    """Images that are of another kind than most others of their side."""
    kinds = Counter(values.kind for _, values in images)
    usual, often = kinds.most_common(1)[0]
    if len(kinds) == 1 or often <= len(images) / 2:
        return []
    return [
        Finding(
            "warning",
            "kind",
            f"{path} holds {values.kind} and most others {usual}: see whether it belongs",
            (path,),
        )
        for path, values in images
        if values.kind != usual
    ]


def ranges_of(seen: Sequence[tuple[str, Path, Values]]) -> dict[str, list[float]]:
    """The lowest and the highest value of each side, where its images are more than photographs of 8 bits."""
    found: dict[str, list[float]] = {}
    for side, _, values in seen:
        if not values.plain and values.missing < 1.0:
            low, high = found.setdefault(side, [values.low, values.high])
            found[side] = [min(low, values.low), max(high, values.high)]
    return found
