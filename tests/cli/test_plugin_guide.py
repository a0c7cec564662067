"""The plugin guide's code is the template's, its contracts are the suite's, and its hooks can be registered."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pluggy
import pytest

from translatekit import hookspecs
from translatekit.cli.template import template_files
from translatekit.hookspecs import HOOKS
from translatekit.plugins import Plugin, Plugins
from translatekit.registry import Registry
from translatekit.specs import SPEC_TYPES, LoggerSpec
from translatekit.testing import Contract, Subject, contracts_of

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_files_it_shows_are_those_that_plugins_new_writes() -> None:
    template = template_files()
    assert set(template) - set(FILES) == {"README.md", "src/translatekit_tiny/__init__.py"}
    for path, text in FILES.items():
        assert text == template[path]


def test_every_hook_and_descriptor_is_named() -> None:
    for kind, hook in HOOKS.items():
        assert f"| `{hook}` | `{SPEC_TYPES[kind].__name__}` |" in GUIDE


def test_every_contract_is_listed_once() -> None:
    listed = re.findall(r"^- (.*)\.$", GUIDE.partition("## The contracts")[2], re.MULTILINE)
    assert listed == [contract.promise for kind in HOOKS for contract in contracts_of(kind)]


def test_its_other_hooks_can_be_registered() -> None:
    source, _ = [block for block in BLOCKS if block not in FILES.values()]
    module = ModuleType("mynets")
    exec(compile(source, "docs/plugins.md", "exec"), vars(module))
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugin = Plugin("mynets", "mynets", "1.0")
    manager.register(module, plugin.name)
    plugins = Plugins(manager, [plugin])
    offered = {kind for kind in HOOKS if Registry(kind, plugins).names()}
    assert plugins.broken == []
    assert offered == set(HOOKS) - {"generator"}


@pytest.mark.parametrize("contract", contracts_of("logger"), ids=lambda contract: contract.name)
def test_the_logger_that_it_shows_keeps_the_contracts(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, source = [block for block in BLOCKS if block not in FILES.values()]
    module = ModuleType("table_of_the_guide")
    exec(compile(source, "docs/plugins.md", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    contract.run(Subject(spec=LoggerSpec(name="table", target="table_of_the_guide:Table", summary="")))
