"""The space that is searched: a TOML file of training options, each with a range, a list of values, or one value."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.config import RunConfig
from translatekit.errors import OptionError
from translatekit.options import check_options
from translatekit.registry import registry

if TYPE_CHECKING:
    import optuna

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KEYS = {"low", "high", "log", "step"}
_GROUPS = {
    "generator_options": "generator",
    "discriminator_options": "discriminator",
    "dataset_options": "dataset",
}


@dataclass(frozen=True)
class Range:
    """Numbers from a lowest to a highest one: whole ones where both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """A number of the range."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(name, self.low, self.high, log=self.log, step=int(self.step or 1))
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)

    def ends(self) -> list[Any]:
        """Values that stand for all."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Values:
    """Any of some values."""

    values: tuple[Any, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Any:
        """One of them."""
        return trial.suggest_categorical(name, self.values)

    def ends(self) -> list[Any]:
        """All of them."""
        return list(self.values)


@dataclass(frozen=True)
class Space:
    """What is searched, and what is the same for all trials; names have a dot before an option of a network.

    Attributes:
        searched: by name.
        fixed: values by name.
        text: of the file.
    """

    searched: Mapping[str, Range | Values]
    fixed: Mapping[str, Any]
    text: str

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The options of one trial."""
        return _nested(
            {**self.fixed, **{name: part.suggest(trial, name) for name, part in self.searched.items()}}
        )

    def corners(self) -> Iterator[dict[str, Any]]:
        """Options in which each end of each part occurs, the rest at their first."""
        first = {name: part.ends()[0] for name, part in self.searched.items()}
        yield _nested({**self.fixed, **first})
        for name, part in self.searched.items():
            for value in part.ends()[1:]:
                yield _nested({**self.fixed, **first, name: value})


def read_space(path: Path) -> Space:
    """Read a space.

    Raises:
        OptionError: the file cannot be read, or a part of it is no range and no list of values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(
            f"the space {path} cannot be read ({error}): give a TOML file such as lr = {{low = 1e-5, high = 1e-3}}"
        ) from None
    searched: dict[str, Range | Values] = {}
    fixed: dict[str, Any] = {}
    for name, part in _flat(content):
        if isinstance(part, list):
            if not part:
                raise OptionError(f"{path}: {name} is an empty list: give the values to choose from")
            searched[name] = Values(tuple(part))
        elif isinstance(part, dict):
            searched[name] = _range(path, name, part)
        else:
            fixed[name] = part
    if not searched:
        raise OptionError(
            f"{path} holds nothing to search: give an option a range, lr = {{low = 1e-5, high = 1e-3}}, or a list"
        )
    return Space(searched, fixed, text)


def check_space(space: Space, method: str, data: str | None) -> str:
    """See that a method takes the options of a space, at their ends too.

    Returns:
        The metric that trials are compared by.

    Raises:
        OptionError: one is unknown, or a value does not fit.
        PluginError: there is no such method, metric, network or dataset.
    """
    for options in space.corners():
        config = RunConfig.resolve(method, data, options)
        for group, kind in _GROUPS.items():
            name = getattr(config.options, kind)
            if name is not None and options.get(group):
                check_options(registry(kind).load(name), options[group], f"{kind} {name!r}")
    if "best_by" in space.searched:
        raise OptionError("best_by cannot be searched, since trials are compared by it: give it one value")
    if "output" in {*space.searched, *space.fixed}:
        raise OptionError("output is no option of a space: the folder of a trial lies in the study's")
    if "devices" in {*space.searched, *space.fixed} and str(space.fixed.get("devices")) != "1":
        raise OptionError(
            "a trial trains on one device: leave devices out of the space, and start the same command once for each"
        )
    if config.options.validate_every == 0:
        raise OptionError(
            "trials are compared by their validations: give validate_every 1 or more in the space"
        )
    return config.options.best_by


def _range(path: Path, name: str, part: Mapping[str, Any]) -> Range:
    numbers = {key: part.get(key) for key in ("low", "high")}
    if part.keys() - _KEYS or not all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in numbers.values()
    ):
        raise OptionError(
            f"{path}: {name} has {', '.join(part) or 'nothing'}, and a range is "
            "{low = NUMBER, high = NUMBER}, with log = true or step = NUMBER beside"
        )
    found = Range(**part)
    if found.low > found.high or (found.log and found.low <= 0):
        raise OptionError(
            f"{path}: {name} goes from {found.low} to {found.high}: "
            + (
                "start a logarithmic range above 0"
                if found.low <= found.high
                else "write the lower one first"
            )
        )
    if not isinstance(found.log, bool):
        raise OptionError(f"{path}: {name} has log = {found.log!r}: write log = true, or leave it out")
    if found.step is not None:
        whole = isinstance(found.low, int) and isinstance(found.high, int)
        is_number = isinstance(found.step, int | float) and not isinstance(found.step, bool)
        if not is_number or not 0 < found.step < math.inf or (whole and found.step != int(found.step)):
            raise OptionError(
                f"{path}: {name} has the step {found.step!r}: give a number above 0"
                + (", a whole one as both ends are" if whole else "")
            )
    if found.log and found.step is not None:
        raise OptionError(f"{path}: {name} has log and step: give one of the two")
    return found


def _flat(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Options by name, those in a table of options with its name before them."""
    for name, part in content.items():
        if isinstance(part, dict) and name.endswith("_options"):
            yield from ((f"{name}.{key}", value) for key, value in part.items())
        else:
            yield name, part


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        group, dot, key = name.partition(".")
        if dot:
            nested.setdefault(group, {})[key] = value
        else:
            nested[name] = value
    return nested
