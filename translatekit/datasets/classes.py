"""Which classes maps of class numbers have: how many, which numbers, or a file that names them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec, labels_spec

_HIGHEST = 255
_FORMS = "19 for the numbers 0 to 18, 0/7/8/255, data, or a file such as classes.json"


def parse_labels(text: str) -> dict[str, str]:
    """``19``, or ``A=0/7/255`` for one side: the rule of each side; under an empty name for all.

    Raises:
        OptionError: a side is named twice.
    """
    rules: dict[str, str] = {}
    for part in text.split(","):
        side, _, rule = part.rpartition("=")
        if side.strip() in rules or not rule.strip():
            raise OptionError(
                f"--labels {text!r} does not say once what it speaks of: write {_FORMS}, or A=..."
            )
        rules[side.strip()] = rule.strip()
    return rules


def decide_labels(
    rule: str, found: ImageSpec, files: Sequence[Any], read: Callable[[Any], np.ndarray]
) -> ImageSpec:
    """What maps of class numbers are.

    Args:
        rule: of `parse_labels`.
        found: what the files hold: a second channel is the number of an instance, whose edges the network sees.
        files: the training images.
        read: from one of them to its numbers, (H, W).

    Raises:
        OptionError: the rule is none.
        DataError: the file of classes cannot be understood, or the images hold too many numbers.
    """
    edges = found.count == 2
    if rule == "data":
        numbers = sorted({int(number) for file in files for number in np.unique(read(file))})
        if not numbers or numbers[0] < 0 or numbers[-1] > _HIGHEST:
            raise DataError(
                f"the maps hold numbers {numbers[0]} to {numbers[-1]}, and classes go from 0 to {_HIGHEST}: "
                "renumber them by translatekit prepare labels"
                if numbers
                else "none of the maps can be read: check that they are images"
            )
        return labels_spec(numbers, edges=edges)
    if re.fullmatch(r"\d{1,3}", rule) and 0 < int(rule) <= _HIGHEST + 1:
        return labels_spec(range(int(rule)), edges=edges)
    if re.fullmatch(r"\d{1,3}(/\d{1,3})+", rule):
        numbers = [int(part) for part in rule.split("/")]
        if len(set(numbers)) == len(numbers) and max(numbers) <= _HIGHEST:
            return labels_spec(numbers, edges=edges)
    path = Path(rule).expanduser()
    if path.is_file():
        return _named(path, edges)
    raise OptionError(f"--labels {rule!r} is neither classes nor a file that is there: write {_FORMS}")


def labels_text(rule: str, spec: ImageSpec) -> str:
    """The rule with what depends on the images replaced by the numbers."""
    return "/".join(map(str, spec.ids)) if rule == "data" and len(spec.ids) > 1 else rule


def _named(path: Path, edges: bool) -> ImageSpec:
    try:
        classes = json.loads(path.read_bytes())["classes"]
        numbers = [int(entry.get("id", place)) for place, entry in enumerate(classes)]
        names = [str(entry["name"]) for entry in classes]
        colors = [list(entry["color"]) for entry in classes if "color" in entry]
        return ImageSpec.from_fields(
            {**labels_spec(numbers, names, edges=edges).to_fields(), "palette": colors}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f'{path} cannot be understood ({error}): it holds {{"classes": [{{"id": 7, "name": "road", '
            '"color": [128, 64, 128]}, ...]}, a colour for all or none'
        ) from None
