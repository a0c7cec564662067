"""What is wrong with a run, told from its logged figures; read without torch.

Each rule asks for figures that a healthy run does not show for long, and stays silent while there are too few.
``docs/troubleshooting.md`` explains every one of them under its name.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINES = 12
"""Lines of the training log that the rules about losses and accuracies need at least."""

_TOO_STRONG = 0.98  # mean accuracy
_TOO_WEAK = 0.55
_RISE = 1.2  # of the generator's adversarial loss, between the first and the last third of the window
_COLLAPSED = 0.1  # diversity: spread of the outputs, as a share of that of real images
_DEAD = 0.002
_FIRST_STEPS = 50  # until then, outputs are nearly alike in healthy runs as well
_STANDSTILL = 3  # equal validations in a row
MEMORIZATION = "memorizing discriminator"
"""The trouble that is said as soon as it is seen."""

_MEMORIZED = 0.5  # how far verdicts on held-out images fall towards those on generated ones
_MEMORIZING = 3  # looks in a row
_WORSE = 1.1  # validation L1 against its best
_SWING = 0.5  # mean change from line to line, as a share of the mean
_GROWTH = 2.0
_USUAL = {  # what the field calls losses, for methods that do not say what theirs are
    "adversarial": re.compile(r"G_(GAN\w*|[A-Z])"),
    "discriminator": re.compile(r"D\w*"),
    "reconstruction": re.compile(r"(?i)(G_(L1|L2|perceptual)|cycle\w*|idt\w*|.*(l1|l2|huber|mse)\w*)"),
}

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that a run suffers from.

    Attributes:
        name: what it is called in ``docs/troubleshooting.md``.
        step: up to which it was seen.
        text: a sentence that says what was seen and what to try.
        first: whether it is seen for the first time at this step, as far as that is known.
    """

    name: str
    step: int
    text: str
    first: bool = False

    def __str__(self) -> str:
        """The name and the sentence."""
        return f"{self.name}: {self.text}"


class _Roles:
    """What the losses of a run are, as its method says; where that says nothing, as the field calls them."""

    def __init__(self, log: Sequence[Entry]) -> None:
        self._said: dict[str, str] = {}
        for entry in log:
            if entry["kind"] == "roles" and isinstance(entry.get("roles"), Mapping):
                self._said |= entry["roles"]

    def of(self, loss: str) -> str | None:
        """The role of a loss, or None."""
        if self._said:
            return self._said.get(loss)
        return next((role for role, usual in _USUAL.items() if usual.fullmatch(loss)), None)


def diagnose_run(run: Path) -> list[Trouble]:
    """The troubles of the run in a folder, the gravest first; none where nothing is logged."""
    return diagnose(read_entries(run / "metrics.jsonl"))


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ``metrics.jsonl`` that are whole; a run that is being written often ends in a torn one."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
            entry["step"], entry["kind"] = int(entry["step"]), str(entry["kind"])
        except (ValueError, KeyError, TypeError):
            continue
        yield entry


def diagnose(entries: Iterable[Entry]) -> list[Trouble]:
    """The troubles in the lines of a log, the gravest first."""
    log = list(entries)
    train = [entry for entry in log if entry["kind"] == "train"]
    roles = _Roles(log)
    found = [
        *_not_a_number(log),
        *(list(_generators_without_variety(log)) or _standstill(log)),
        *_unsteady(train, roles),
        *_discriminators(train, roles),
        *_memorizing(log),
        *_overfitting(train, roles, [entry for entry in log if entry["kind"] == "validation"]),
    ]
    return found


def _not_a_number(log: Sequence[Entry]) -> Iterator[Trouble]:
    for entry in log:
        bad = {entry["loss"]: entry.get("value")} if entry["kind"] == "failure" and "loss" in entry else {}
        for family in ("losses", "metrics"):
            values = entry.get(family)
            if isinstance(values, Mapping):
                bad |= {name: value for name, value in values.items() if not _is_finite(value)}
        if bad:
            name, value = next(iter(bad.items()))
            yield Trouble(
                "not a number",
                entry["step"],
                f"{name} became {value} at step {entry['step']}: train again with a --lr ten times lower, and with "
                "--precision fp32 if it was another",
            )
            return


def _generators_without_variety(log: Sequence[Entry]) -> Iterator[Trouble]:
    """The last two samplings decide: outputs of the first steps are gray in healthy runs as well."""
    sampled = [entry for entry in log if entry["kind"] == "samples" and _numbers(entry, "diversity")]
    if len(sampled) < 2:
        return
    last, before = _numbers(sampled[-1], "diversity"), _numbers(sampled[-2], "diversity")
    for name in last.keys() & before.keys():
        share = max(last[name], before[name])
        step = sampled[-1]["step"]
        if share < _DEAD:
            yield Trouble(
                "dead generator",
                step,
                f"{name!r} does not change with its input any more (diversity {last[name]:.2g} at step {step}): it "
                "learns nothing from here, so train again with a lower --lr, such as 0.0002",
            )
            return
        if share < _COLLAPSED and sampled[-2]["step"] >= _FIRST_STEPS:
            yield Trouble(
                "mode collapse",
                step,
                f"{name!r} is nearly the same for every input (diversity {last[name]:.2g} at step {step}, where real "
                "images have 1): raise the weight of the reconstruction or cycle loss, try --adversarial lsgan, or a "
                "lower --lr",
            )
            return


def _standstill(log: Sequence[Entry]) -> Iterator[Trouble]:
    """A saturated generator passes no gradient on, so that its outputs stay the same to the last digit."""
    measured = [(entry["step"], _numbers(entry, "metrics")) for entry in log if entry["kind"] == "validation"]
    if not measured or not measured[-1][1]:
        return
    step, last = measured[-1]
    same = list(itertools.takewhile(lambda item: item[1] == last, reversed(measured)))
    if len(same) >= _STANDSTILL:
        yield Trouble(
            "dead generator",
            step,
            f"the validation gave exactly the same figures {len(same)} times, from step {same[-1][0]} to {step}: no "
            "gradient comes through any more, so train again with the default --lr 0.0002",
        )


def _discriminators(train: Sequence[Entry], roles: _Roles) -> Iterator[Trouble]:
    window = train[len(train) // 2 :]
    if len(window) < LINES:
        return
    losses = {name for entry in window for name in _numbers(entry, "losses")}
    if any(
        value < 0
        for entry in window
        for name, value in _numbers(entry, "losses").items()
        if roles.of(name) == "discriminator"
    ):
        return  # a Wasserstein critic: its sign says nothing, so it has no accuracy
    step = window[-1]["step"]
    names = [name for name in _numbers(window[-1], "accuracy") if name.startswith("real")]
    for real in names:
        of = real.removeprefix("real").removeprefix("_")
        fake = f"fake_{of}" if of else "fake"
        right = _mean(
            (series[name] + series[fake]) / 2
            for entry in window
            if fake in (series := _numbers(entry, "accuracy"))
            for name in [real]
            if name in series
        )
        whose = f"the discriminator{f' {of}' if of else ''}"
        facing = sorted(name for name in losses if roles.of(name) == "adversarial")
        if of and (own := [name for name in facing if name[-1] == of[-1]]):
            facing = own
        rising = [(name, *pair) for name in facing if (pair := _thirds(window, name)) and _rises(pair)]
        span = f"step {window[0]['step']} to {step}"
        if right > _TOO_STRONG and rising:
            name, before, after = rising[0]
            yield Trouble(
                "discriminator too strong",
                step,
                f"{whose} was right on {100 * right:.0f} % of the images while {name} rose from {before:.3g} to "
                f"{after:.3g} ({span}): try -D layers=2, --adversarial lsgan, more training images, or a heavier "
                "reconstruction loss",
            )
        elif right < _TOO_WEAK:
            yield Trouble(
                "discriminator too weak",
                step,
                f"{whose} did no better than guessing ({100 * right:.0f} % right, {span}): if the samples "
                "do not look real, try a larger one (-D layers=3 -D width=64), or a lighter reconstruction loss",
            )


def _memorizing(log: Sequence[Entry]) -> Iterator[Trouble]:
    looks = [(entry["step"], _numbers(entry, "shares")) for entry in log if entry["kind"] == "memorization"]
    for name in looks[-1][1] if looks else ():
        last = [shares.get(name, 0.0) for _, shares in looks]
        if len(last) < _MEMORIZING or min(last[-_MEMORIZING:]) < _MEMORIZED:
            continue
        step = looks[-1][0]
        before = last[-_MEMORIZING - 1 : -_MEMORIZING]
        yield Trouble(
            MEMORIZATION,
            step,
            f"{name} takes real images that it has not seen for generated ones, by {100 * last[-1]:.0f} % of the way "
            f"(step {step}): it knows its training images by heart, so try --diff-augment color,translation,cutout, "
            "--augment, more images, or a smaller one",
            first=not before or before[0] < _MEMORIZED,
        )
        return


def _overfitting(train: Sequence[Entry], roles: _Roles, validations: Sequence[Entry]) -> Iterator[Trouble]:
    curve = [
        (entry["step"], values["l1"])
        for entry in validations
        if "l1" in (values := _numbers(entry, "metrics"))
    ]
    if len(curve) < 4:
        return
    best_step, best = min(curve, key=lambda point: point[1])
    after = [value for step, value in curve if step > best_step]
    if len(after) < 3 or _mean(after[-3:]) < _WORSE * best:
        return
    for name in _numbers(train[-1], "losses") if train else ():
        if roles.of(name) != "reconstruction":
            continue
        points = [(e["step"], v[name]) for e in train if name in (v := _numbers(e, "losses"))]
        until = [value for step, value in points if step <= best_step][-LINES:]
        since = [value for step, value in points if step > best_step][-LINES:]
        if until and since and _mean(since) < _mean(until):
            step = curve[-1][0]
            yield Trouble(
                "overfitting",
                step,
                f"since step {best_step} the validation L1 has risen from {best:.3g} to {_mean(after[-3:]):.3g} while "
                f"{name} still falls: use best.safetensors, and next time more images, a smaller generator, or "
                "--patience 5",
            )
            return


def _unsteady(train: Sequence[Entry], roles: _Roles) -> Iterator[Trouble]:
    if len(train) < LINES:
        return
    window = train[-max(LINES, len(train) // 2) :]
    for name in _numbers(window[-1], "losses"):
        if roles.of(name) != "reconstruction":
            continue
        values = [found[name] for entry in window if name in (found := _numbers(entry, "losses"))]
        if len(values) < LINES or (level := _mean(map(abs, values))) == 0:
            continue
        swing = _mean(abs(b - a) for a, b in itertools.pairwise(values)) / level
        thirds = _thirds(train, name)
        step = window[-1]["step"]
        if swing > _SWING:
            seen = f"{name} swings by {100 * swing:.0f} % of its level from line to line"
        elif thirds and thirds[1] > _GROWTH * thirds[0]:
            seen = f"{name} rose from {thirds[0]:.3g} to {thirds[1]:.3g}"
        else:
            continue
        yield Trouble(
            "learning rate too high",
            step,
            f"{seen} (up to step {step}): try a --lr three to ten times lower, or a larger --batch-size",
        )
        return


# --- small things -----------------------------------------------------------------------------------------------


def _numbers(entry: Entry, family: str) -> dict[str, float]:
    values = entry.get(family)
    if not isinstance(values, Mapping):
        return {}
    return {str(name): float(value) for name, value in values.items() if _is_finite(value)}


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else math.nan


def _thirds(window: Sequence[Entry], name: str) -> tuple[float, float] | None:
    """The means of a loss over the first and the last third."""
    values = [found[name] for entry in window if name in (found := _numbers(entry, "losses"))]
    part = len(values) // 3
    return (_mean(values[:part]), _mean(values[-part:])) if part else None


def _rises(pair: tuple[float, float]) -> bool:
    return pair[0] > 0 and pair[1] > _RISE * pair[0]
