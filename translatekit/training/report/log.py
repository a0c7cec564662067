"""What a run's folder holds, read for its page: curves, events, samples and options, each missing or unfinished."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Point = tuple[float, float]
Sample = tuple[int, str]


@dataclass
class Series:
    """One curve.

    Attributes:
        name: of the loss or metric, or of the run.
        points: steps and values.
        seconds: of training, by point; None where they were not logged.
        smooth: whether it is noisy enough to be smoothed.
        color: the number of its colour; its place among the curves of its chart where it is None.
    """

    name: str
    points: list[Point] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    smooth: bool = True
    color: int | None = None


@dataclass
class Log:
    """What `metrics.jsonl` held: curves by family and name, and events, in the order of their steps.

    Attributes:
        families: by name, curves by name.
        events: steps and what happened.
        last: what the last line says, where it is an event: nothing has followed it.
        step, epoch: of the last line.
        unit: of the images that validation compares; empty where they have levels.
    """

    families: dict[str, dict[str, Series]] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    last: str = ""
    step: int = 0
    epoch: int = 0
    unit: str = ""

    def add(self, family: str, name: str, entry: Mapping[str, Any], value: Any, smooth: bool = True) -> None:
        """Lengthen a curve by the value of a line of the log, unless that is not a number."""
        if _is_number(value):
            series = self.families.setdefault(family, {}).setdefault(name, Series(name, smooth=smooth))
            series.points.append((entry["step"], float(value)))
            seconds: Any = entry.get("seconds")
            series.seconds.append(float(seconds) if _is_number(seconds) else None)

    def curves(self, family: str) -> list[Series]:
        """All curves of a family, in the order of their first points."""
        return list(self.families.get(family, {}).values())


def read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a ``config.toml`` and what it says; nothing where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (OSError, ValueError):
        return "", {}


def read_log(entries: Iterable[Mapping[str, Any]]) -> Log:
    """The curves and events of a log's lines."""
    log = Log()
    for entry in entries:
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # not a line of ours
            if _is_number(entry["step"]):
                _read_entry(log, entry, entry["step"])
    return log


def _read_entry(log: Log, entry: Mapping[str, Any], step: int) -> None:
    known = len(log.events)
    if entry["kind"] == "event":
        log.events.append((step, str(entry["text"])))
    elif entry["kind"] == "train":
        for name, value in entry.get("losses", {}).items():
            log.add("loss", name, entry, value)
        for name, value in (entry.get("accuracy") or {}).items():
            log.add("accuracy", name, entry, value)
        log.add("speed", "images/s", entry, entry.get("images_per_second"))
        log.add("rate", "learning rate", entry, entry.get("lr"), smooth=False)
    elif entry["kind"] == "samples":
        for name, value in entry.get("diversity", {}).items():
            log.add("diversity", name, entry, value, smooth=False)
    elif entry["kind"] == "memorization":
        for name, value in entry.get("shares", {}).items():
            log.add("memorization", name, entry, value, smooth=False)
    elif entry["kind"] == "failure":
        log.events.append((step, f"{entry['loss']} became {entry['value']}: the run ended"))
    elif entry["kind"] == "validation":
        log.unit = str(entry.get("unit", ""))
        for name, value in entry.get("metrics", {}).items():
            log.add("validation", name, entry, value, smooth=False)
    log.last = log.events[-1][1] if len(log.events) > known else ""
    log.step = max(log.step, step)
    log.epoch = max(log.epoch, int(entry.get("epoch", 0)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def read_samples(folder: Path) -> list[Sample]:
    """Steps and relative paths of the samples, oldest first."""
    found = []
    for path in folder.glob("step-*.png"):
        number = path.stem.removeprefix("step-")
        if number.isdecimal():
            found.append((int(number), f"{folder.name}/{path.name}"))
    return sorted(found)
