"""The plugin guide's code is the template's, its contracts are the suite's, and its hooks can be registered."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pluggy
import pytest
from PIL import Image

import translatekit
from tests.fakes import pip_install, run_python
from translatekit import hookspecs
from translatekit.cli.template import template_files
from translatekit.hookspecs import HOOKS
from translatekit.plugins import Plugin, Plugins
from translatekit.registry import Registry
from translatekit.specs import SPEC_TYPES, LoggerSpec
from translatekit.testing import Contract, Subject, contracts_of

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
BEFORE, _, REST = GUIDE.partition("## A method from a paper\n")
CHAPTER, _, BEHIND = REST.partition("\n## ")


def files_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


FILES = files_of(BEFORE + BEHIND)
BLOCKS = re.findall(r"^```python\n(.*?)^```$", BEFORE + BEHIND, re.MULTILINE | re.DOTALL)


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


def test_the_method_from_a_paper_keeps_its_promises_and_trains(tmp_path: Path) -> None:
    """Installed by pip: its own tests pass, the parity with its plain loop among them, and so does a training."""
    for name, text in files_of(CHAPTER).items():
        file = tmp_path / "package" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    pip_install([tmp_path / "package"], tmp_path / "site")
    for side in ("trainA", "trainB"):
        folder = tmp_path / "data" / side
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{side}{number}.png")
    train = (
        "train gcgan data --geometry flip -o run --max-steps 1 --load-size none --crop-size 32 "
        "-G width=4 -G blocks=1 -D width=4 -D layers=1 --workers 0 --validate-every 0"
    )
    code = f"""
import sys, pytest
from translatekit.cli import program
assert pytest.main(["-q", "-p", "no:cacheprovider", "package/tests"]) == 0
program.main({train.split()!r}, prog_name="translatekit")
"""
    done = run_python("-c", code, site=tmp_path / "site", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    info = translatekit.read_info(tmp_path / "run")
    assert (info.method, info.generator, info.step) == ("gcgan", "resnet", 1)
