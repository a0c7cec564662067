"""The package's front door: what it offers, and that opening it costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import translatekit
from tests.fakes import run_python
from translatekit.plugins import installed
from translatekit.testing.commands import HEAVY

IMPORTS = """
import importlib, json, sys
for module in json.loads(sys.argv[2]):
    importlib.import_module(module)
print(json.dumps(sorted(set(json.loads(sys.argv[1])) & set(sys.modules))))
"""


def heavy_imports_of(*modules: str) -> list[str]:
    result = run_python("-c", IMPORTS, json.dumps(HEAVY), json.dumps(modules))
    assert result.returncode == 0, result.stderr
    heavy: list[str] = json.loads(result.stdout)
    return heavy


def test_the_import_of_something_heavy_is_noticed() -> None:
    assert "PIL" in heavy_imports_of("PIL")


@pytest.mark.parametrize(
    "module", ["translatekit", "translatekit.config", "translatekit.registry", "translatekit.testing"]
)
def test_the_light_modules_import_nothing_heavy(module: str) -> None:
    assert heavy_imports_of(module) == []


def test_our_plugins_import_nothing_heavy() -> None:
    manager = installed().manager
    ours = [
        module.__name__
        for name, module in manager.list_name_plugin()
        if name.startswith("translatekit:") and module is not None
    ]
    assert {"translatekit.builtin", "translatekit_pix2pix.plugin", "translatekit_tools.plugin"} <= set(ours)
    assert heavy_imports_of(*ours) == []


PUBLIC = ["compile", "evaluate", "load", "load_network", "open", "read_info", "train", "translate"]


def test_the_public_functions_are_in_full_view() -> None:
    assert translatekit.__all__ == PUBLIC
    for name in translatekit.__all__:
        function = getattr(translatekit, name)
        assert callable(function)
        assert function.__doc__


def test_the_commands_behind_the_public_functions_have_a_function() -> None:
    from translatekit.registry import registry

    for command in ("run", "compile", "evaluate"):
        assert callable(registry("command").get(command).load_api())


def test_the_trainer_is_asked_for_whatever_the_command_of_its_name_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import translatekit.registry

    def nothing(kind: str) -> None:
        raise AssertionError(f"the registry of {kind}s was asked")

    monkeypatch.setattr(translatekit.registry, "registry", nothing)
    monkeypatch.setattr("translatekit.training.train", lambda method, data, **options: tmp_path / method)
    assert translatekit.train("pix2pix", "photos", epochs=3) == tmp_path / "pix2pix"
