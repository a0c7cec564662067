"""From the name a user types to the descriptor a plugin handed over: one registry a kind."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast, overload

from translatekit.errors import OptionError, PluginError
from translatekit.plugins import Plugin, Plugins, installed
from translatekit.specs import (
    BackendSpec,
    CommandSpec,
    DatasetSpec,
    DiscriminatorSpec,
    FormatSpec,
    GeneratorSpec,
    LoggerSpec,
    LossSpec,
    MethodSpec,
    MetricSpec,
    Spec,
)

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True, slots=True)
class Entry(Generic[S]):
    """A descriptor and the plugin it came from."""

    spec: S
    plugin: Plugin


class Registry(Generic[S]):
    """All that is installed of one kind, by name.

    A name that two plugins claim belongs to neither: looking it up names both distributions.
    """

    def __init__(self, kind: str, plugins: Plugins) -> None:
        self.kind = kind
        self._claims: dict[str, list[Entry[S]]] = defaultdict(list)
        for plugin, specs in plugins.answers(kind):
            for spec in specs:
                self._claims[spec.name].append(Entry(cast(S, spec), plugin))

    def entries(self) -> list[Entry[S]]:
        """Everything that can be used, sorted by name."""
        return [claims[0] for _, claims in sorted(self._claims.items()) if len(claims) == 1]

    def names(self) -> list[str]:
        """The names that can be used, sorted."""
        return [entry.spec.name for entry in self.entries()]

    def conflicts(self) -> dict[str, list[Entry[S]]]:
        """The names that are claimed more than once."""
        return {name: claims for name, claims in self._claims.items() if len(claims) > 1}

    def get(self, name: str) -> S:
        """The descriptor of that name.

        Raises:
            PluginError: see `entry`.
        """
        return self.entry(name).spec

    def entry(self, name: str) -> Entry[S]:
        """The descriptor of that name, and the plugin that offers it.

        Raises:
            PluginError: nobody offers it (the closest names are proposed), or two distributions do.
        """
        claims = self._claims.get(name, [])
        if len(claims) == 1:
            return claims[0]
        if claims:
            owners = sorted({entry.plugin.distribution for entry in claims})
            if len(owners) == 1:
                raise PluginError(
                    f"{owners[0]} offers the {self.kind} {name!r} twice: update or pip uninstall it"
                )
            raise PluginError(
                f"the {self.kind} name {name!r} is claimed by {' and '.join(owners)}: "
                "pip uninstall the one you do not want"
            )
        close = difflib.get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        known = ", ".join(self.names()) or "none"
        raise PluginError(f"there is no {self.kind} named {name!r}: {hint}there are {known}")

    def load(self, name: str) -> Any:
        """Import and return what the name stands for."""
        return self.get(name).load()


@overload
def registry(kind: Literal["generator"]) -> Registry[GeneratorSpec]: ...
@overload
def registry(kind: Literal["discriminator"]) -> Registry[DiscriminatorSpec]: ...
@overload
def registry(kind: Literal["loss"]) -> Registry[LossSpec]: ...
@overload
def registry(kind: Literal["dataset"]) -> Registry[DatasetSpec]: ...
@overload
def registry(kind: Literal["method"]) -> Registry[MethodSpec]: ...
@overload
def registry(kind: Literal["metric"]) -> Registry[MetricSpec]: ...
@overload
def registry(kind: Literal["backend"]) -> Registry[BackendSpec]: ...
@overload
def registry(kind: Literal["format"]) -> Registry[FormatSpec]: ...
@overload
def registry(kind: Literal["logger"]) -> Registry[LoggerSpec]: ...
@overload
def registry(kind: Literal["command"]) -> Registry[CommandSpec]: ...
@overload
def registry(kind: str) -> Registry[Any]: ...
def registry(kind: str) -> Registry[Any]:
    """The registry of one kind, filled from the installed plugins on its first use."""
    return _registry(kind)


@cache
def _registry(kind: str) -> Registry[Any]:
    return Registry(kind, installed())


def backends_of(suffix: str) -> list[BackendSpec]:
    """What runs files of a suffix, the default first.

    First come those whose own files they are, then those that run them too, both in the order of their names.
    """
    specs = [entry.spec for entry in registry("backend").entries()]
    return [
        *(spec for spec in specs if suffix in spec.suffixes),
        *(spec for spec in specs if suffix in spec.also_runs and suffix not in spec.suffixes),
    ]


def choose_backend(path: Path, name: str | None = None) -> BackendSpec:
    """What runs a model file.

    Args:
        path: the file.
        name: of the backend; None for the first of `backends_of`.

    Raises:
        PluginError: nothing runs such files, there is no backend of that name, or the default is not installed and
            another is.
        OptionError: the named one runs other files.
    """
    found = backends_of(path.suffix)
    if not found:
        specs = [entry.spec for entry in registry("backend").entries()]
        known = ", ".join(dict.fromkeys(suffix for spec in specs for suffix in spec.suffixes))
        raise PluginError(
            f"no installed backend runs {path.suffix or path.name!r} files: give one of {known}"
        )
    chosen = pick_backend(found, name, path)
    others = [spec.name for spec in found if not spec.missing()]
    if name is None and chosen.missing() and others:
        raise PluginError(
            f"backend {chosen.name!r} needs what is not installed: run pip install {' '.join(chosen.missing())}, "
            f"or pass --backend {others[0]}"
        )
    return chosen


def pick_backend(found: Sequence[BackendSpec], name: str | None, path: Path) -> BackendSpec:
    """One of several backends.

    Args:
        found: those that may be chosen, the default first.
        name: what the user typed, or None.
        path: the file that it is chosen for.

    Raises:
        PluginError: there is no backend of that name.
        OptionError: it is none of those.
    """
    if name is None:
        return found[0]
    named = registry("backend").get(name)
    if named not in found:
        raise OptionError(
            f"backend {name!r} is not for {path.name}: pass --backend {' or '.join(spec.name for spec in found)}, "
            "or leave it out"
        )
    return named
