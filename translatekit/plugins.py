"""Finding plugins by their entry points, and keeping a broken one from breaking anything else."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import pluggy

from translatekit import hookspecs
from translatekit.hookspecs import HOOKS
from translatekit.specs import SPEC_TYPES, Spec

ENTRY_POINT_GROUP = "translatekit"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin: one entry point of one distribution.

    Attributes:
        entry_point: its name within the distribution.
        distribution: the name to ``pip install`` and ``pip uninstall``.
        version: of the distribution.
        error: why it, or what one of its hooks offers, is not used; None when all is well.
    """

    entry_point: str
    distribution: str
    version: str
    error: str | None = None

    @property
    def name(self) -> str:
        """``distribution:entry_point``, unique among everything installed."""
        return f"{self.distribution}:{self.entry_point}"


@dataclass
class Plugins:
    """Every installed plugin, those that could be imported registered with pluggy.

    Attributes:
        manager: pluggy's, holding them under their `Plugin.name`.
        found: all of them, in the order they were found.
    """

    manager: pluggy.PluginManager
    found: list[Plugin] = field(default_factory=list)

    @property
    def broken(self) -> list[Plugin]:
        """Those with an error."""
        return [plugin for plugin in self.found if plugin.error is not None]

    def answers(self, kind: str) -> Iterable[tuple[Plugin, list[Spec]]]:
        """Ask each plugin apart for its descriptors of one kind, so that a fault has an owner.

        A plugin whose hook raises, or returns anything but descriptors of that kind, is marked broken and
        left out of this kind; what its other hooks offer is not lost.
        """
        modules = {plugin: self.manager.get_plugin(plugin.name) for plugin in self.found}
        for plugin, module in modules.items():
            if module is None:
                continue
            others = [other for other in modules.values() if other is not module]
            caller = self.manager.subset_hook_caller(HOOKS[kind], remove_plugins=others)
            try:
                specs = [spec for answer in caller() for spec in answer]
            except (Exception, SystemExit) as error:
                self._mark_broken(plugin, f"{HOOKS[kind]}() raised {_explain(error)}")
                continue
            wrong = [spec for spec in specs if not isinstance(spec, SPEC_TYPES[kind])]
            if wrong:
                self._mark_broken(
                    plugin,
                    f"{HOOKS[kind]}() returned {wrong[0]!r}, which is not a {SPEC_TYPES[kind].__name__}",
                )
            elif specs:
                yield plugin, specs

    def _mark_broken(self, plugin: Plugin, error: str) -> None:
        """Keep the reason why something of a plugin is not used."""
        error = " ".join(error.split())
        errors = error if plugin.error is None else f"{plugin.error}; {error}"
        self.found[self.found.index(plugin)] = dataclasses.replace(plugin, error=errors)

    def _add(self, entry_point: importlib.metadata.EntryPoint) -> None:
        plugin = Plugin(entry_point.name, *_owner(entry_point))
        if plugin.name in {known.name for known in self.found}:
            return  # an editable install and its build folder can both be on the path
        self.found.append(plugin)
        try:
            module = entry_point.load()
        except (Exception, SystemExit) as error:
            self._mark_broken(plugin, f"importing {entry_point.value} raised {_explain(error)}")
            return
        try:
            self.manager.register(module, plugin.name)
            self.manager.check_pending()  # a hook that does not exist is a typo of this plugin's
        except (pluggy.PluginValidationError, ValueError) as error:
            self.manager.unregister(name=plugin.name)
            self._mark_broken(
                plugin, f"{str(error).splitlines()[-1]}; the hooks are {', '.join(HOOKS.values())}"
            )
            return
        if not self.manager.get_hookcallers(module):
            self.manager.unregister(name=plugin.name)
            self._mark_broken(
                plugin,
                f"{entry_point.value} implements no hook: mark its functions with translatekit's hookimpl",
            )


def _owner(entry_point: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution; metadata that was damaged must not stop the program."""
    try:
        distribution = entry_point.dist
        return (
            (distribution.name or "unknown", distribution.version or "") if distribution else ("unknown", "")
        )
    except Exception:
        return "unknown", ""


def _explain(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def discover() -> Plugins:
    """Load every entry point of the group ``translatekit`` that is installed."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager)
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        plugins._add(entry_point)
    return plugins


@cache
def installed() -> Plugins:
    """What `discover` found, once a process."""
    return discover()
