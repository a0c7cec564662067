"""Finding plugins by their entry points, and keeping a broken one from breaking anything else."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pluggy

from translatekit import hookspecs

ENTRY_POINT_GROUP = "translatekit"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin: one entry point of one distribution.

    Attributes:
        entry_point: its name within the distribution.
        distribution: the name to ``pip install`` and ``pip uninstall``.
        version: of the distribution.
        error: why it is not used, or None when it is.
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
    """Every installed plugin, the sound ones registered with pluggy.

    Attributes:
        manager: pluggy's, holding the sound plugins under their `Plugin.name`.
        found: all of them, in the order they were found.
    """

    manager: pluggy.PluginManager
    found: list[Plugin] = field(default_factory=list)

    @property
    def broken(self) -> list[Plugin]:
        """Those that are not used, each with its error."""
        return [plugin for plugin in self.found if plugin.error is not None]

    @property
    def sound(self) -> list[Plugin]:
        """Those that are registered."""
        return [plugin for plugin in self.found if plugin.error is None]

    def answers(self, hook: str) -> Iterable[tuple[Plugin, list[Any]]]:
        """Call one hook on each sound plugin apart, so that a fault has an owner.

        Yields each plugin that implements the hook with what it returned. A plugin whose hook raises becomes a
        broken one.
        """
        modules = {plugin: self.manager.get_plugin(plugin.name) for plugin in self.sound}
        for plugin, module in modules.items():
            others = [other for other in modules.values() if other is not module]
            caller = self.manager.subset_hook_caller(hook, remove_plugins=others)
            try:
                results = [spec for result in caller() for spec in result]
            except Exception as error:
                self.mark_broken(plugin, f"{hook}() raised {type(error).__name__}: {error}")
                continue
            if results:
                yield plugin, results

    def mark_broken(self, plugin: Plugin, error: str) -> None:
        """Take a plugin out of use and keep the reason."""
        self.manager.unregister(name=plugin.name)
        self.found[self.found.index(plugin)] = Plugin(
            plugin.entry_point, plugin.distribution, plugin.version, error
        )

    def _add(self, entry_point: importlib.metadata.EntryPoint) -> None:
        distribution = entry_point.dist
        plugin = Plugin(
            entry_point.name,
            distribution.name if distribution else "unknown",
            distribution.version if distribution else "",
        )
        if plugin.name in {known.name for known in self.found}:
            return  # an editable install and its build folder can both be on the path
        self.found.append(plugin)
        try:
            module = entry_point.load()
        except Exception as error:
            self.mark_broken(plugin, f"importing {entry_point.value} raised {type(error).__name__}: {error}")
            return
        try:
            self.manager.register(module, plugin.name)
            self.manager.check_pending()  # a hook that does not exist is a typo of this plugin's
        except (pluggy.PluginValidationError, ValueError) as error:
            self.mark_broken(plugin, _explain_validation(error))


def _explain_validation(error: Exception) -> str:
    known = ", ".join(hookspecs.HOOKS.values())
    return f"{str(error).splitlines()[-1]}; the hooks are {known}"


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
