"""What the header of a model file may say, checked where it is read, so that nothing behind need doubt it."""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from translatekit.interfaces import Color, NormInference

MOST_SIDE = 2**14
"""Pixels a side that a header may name, of a network's images or of what they must be a multiple of."""

_MOST_CHANNELS = 2**16
_MOST_STEPS = 2**53  # beyond, JSON's numbers are not exact everywhere
_MOST_TEXT = 1000  # characters
_MOST_ITEMS = 2**16
_MOST_DEPTH = 16  # of lists and objects in each other
_SIZES = re.compile(r"any|\d{1,5}x\d{1,5}( to \d{1,5}x\d{1,5})?")  # of images that a compiled file takes
_DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")  # as PyPI has them


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object in which no key occurs twice.

    Raises:
        ValueError: it is none; the text says why.
    """
    value = json.loads(text, object_pairs_hook=_unique)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def check_fields(fields: Mapping[str, Any], known: Iterable[str], required: Iterable[str]) -> dict[str, Any]:
    """The fields of a header, each of the type and in the range that it must have.

    Metrics that are no numbers are left out: they say nothing.

    Args:
        fields: as JSON gave them.
        known, required: names.

    Raises:
        ValueError: the first thing that is wrong, in words that follow "the header cannot be understood".
    """
    unknown = sorted(fields.keys() - set(known))
    if unknown:
        raise ValueError(f"it has the unknown {_listed(unknown)}")
    missing = [name for name in required if name not in fields]
    if missing:
        raise ValueError(f"it lacks {_listed(missing)}")
    checked = dict(fields)
    for name, value in fields.items():
        rule = _RULES.get(name)
        if rule is not None and not rule.holds(value):
            raise ValueError(f"its {name} must be {rule.words}, got {brief(value)}")
    metrics = checked.get("metrics", {})
    checked["metrics"] = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    _check_together(checked)
    return checked


def brief(value: object) -> str:
    """A value in a few characters, none of them a control character."""
    return _BRIEF.repr(value)


def _check_together(fields: Mapping[str, Any]) -> None:
    """What fields say of each other.

    Raises:
        ValueError: they contradict.
    """
    latent = fields.get("source", "image") == "latent"
    channels = fields.get("in_channels", 3), fields.get("out_channels", 3)
    if fields.get("color", "rgb") == "lab" and not latent and channels != (1, 2):
        raise ValueError(
            f"its color is 'lab', which has 1 channel in and 2 out, but it has {channels[0]} and {channels[1]}"
        )
    options = fields.get("generator_options", {})
    for field, option in (("in_channels", "latent_size" if latent else "in_channels"), ("out_channels",) * 2):
        if option in options and options[option] != fields.get(field, 3):
            raise ValueError(
                f"its {field} is {brief(fields.get(field, 3))}, but its generator was made with "
                f"{option}={brief(options[option])}"
            )


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a value must be, and that in words."""

    words: str
    holds: Callable[[Any], bool]


def _whole(low: int, high: int) -> _Rule:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return _Rule(f"a whole number from {low} to {high}", holds)


def _text(least: int = 0) -> _Rule:
    return _Rule(
        f"a text of {'at most' if not least else f'{least} to'} {_MOST_TEXT} characters",
        lambda value: isinstance(value, str) and least <= len(value) <= _MOST_TEXT,
    )


def _one_of(literal: Any) -> _Rule:
    values = get_args(literal) or literal
    return _Rule(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def _object(words: str, **rules: _Rule) -> _Rule:
    def holds(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(rule.holds(value[name]) for name, rule in rules.items() if name in value)
            and _is_finite(value)
        )

    return _Rule(words, holds)


def _all(words: str, kind: type[dict[Any, Any]] | type[list[Any]], rule: _Rule) -> _Rule:
    def holds(value: Any) -> bool:
        if not isinstance(value, kind) or len(value) > _MOST_ITEMS:
            return False
        return all(rule.holds(item) for item in (value.values() if isinstance(value, dict) else value))

    return _Rule(words, holds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def _is_metric(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def _is_finite(value: Any, depth: int = 0) -> bool:
    """Whether JSON's values, in lists and objects that are not too deep, hold no NaN, no infinity and no giant."""
    if depth > _MOST_DEPTH:
        return False
    if isinstance(value, dict | list):
        return all(
            _is_finite(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)
        )
    return not isinstance(value, int | float) or abs(value) < (
        math.inf if isinstance(value, float) else 2**64
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{brief(max(names, key=names.count))} occurs twice in it")
    return values


def _listed(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{'field' if len(names) == 1 else 'fields'} {', '.join(brief(name) for name in names[:3])}{more}"


def _brief() -> reprlib.Repr:
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = shortened.maxlong = 60
    shortened.maxlevel = 2
    return shortened


_BRIEF = _brief()
_TEXT, _SIDE, _CHANNELS, _STEPS = (
    _text(),
    _whole(1, MOST_SIDE),
    _whole(1, _MOST_CHANNELS),
    _whole(0, _MOST_STEPS),
)
_TEXTS = _all("a list of texts", list, _TEXT)
_SHAPES = _Rule(
    "any, or sizes such as 256x256",
    lambda value: (
        (isinstance(value, str) and _SIZES.fullmatch(value) is not None)
        or (
            isinstance(value, list)
            and all(isinstance(item, str) and _SIZES.fullmatch(item) for item in value)
        )
    ),
)
_OBJECT = _object("an object of finite values")
_RULES: dict[str, _Rule] = {
    "method": _text(1),
    "generator": _Rule(
        "a name of letters, digits, _ and -",
        lambda value: _TEXT.holds(value) and re.fullmatch(r"\w[\w.-]*", value) is not None,
    ),
    "generator_options": _OBJECT,
    "source": _one_of(("image", "latent")),
    "in_channels": _CHANNELS,
    "out_channels": _CHANNELS,
    "size": _SIDE,
    "size_multiple": _SIDE,
    "norm_inference": _one_of(NormInference),
    "direction": _text(1),
    "color": _one_of(Color),
    "classes": _TEXTS,
    "data": _object(
        "an object of finite values, in which dataset and name are texts, images a number and palette a list",
        dataset=_TEXT,
        name=_TEXT,
        checkpoint=_TEXT,
        images=_STEPS,
        palette=_Rule("", lambda value: isinstance(value, list)),
    ),
    "metrics": _all("an object of numbers", dict, _Rule("", _is_metric)),
    "step": _STEPS,
    "epoch": _STEPS,
    "versions": _all("an object of texts", dict, _TEXT),
    "package": _Rule(
        "the name of a Python package",
        lambda value: isinstance(value, str) and (not value or _DISTRIBUTION.fullmatch(value) is not None),
    ),
    "compiled": _object(
        "an object of finite values, in which backend and precision are texts, shapes sizes and parity an object",
        backend=_TEXT,
        precision=_TEXT,
        shapes=_SHAPES,
        parity=_OBJECT,
        versions=_OBJECT,
        source_hash=_TEXT,
    ),
    "format": _whole(1, 2**31),
}
