"""Descriptors: cheap, checked, and loaded with errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from translatekit.errors import PluginError
from translatekit.specs import SPEC_TYPES, BackendSpec, CommandSpec, GeneratorSpec, Spec


def spec(**changed: object) -> Spec:
    settings = {"name": "x", "target": "json:dumps", "summary": "", **changed}
    return Spec(**settings)  # type: ignore[arg-type]


def test_a_descriptor_is_immutable_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        spec().name = "y"  # type: ignore[misc]
    with pytest.raises(TypeError):
        GeneratorSpec("x", "json:dumps", "")  # type: ignore[misc, call-arg]


def test_a_descriptor_imports_nothing_until_it_is_loaded() -> None:
    code = (
        "import sys; from translatekit.specs import Spec; s = Spec(name='x', target='wave:open', summary='');"
        "before = 'wave' in sys.modules; s.load(); print(before, 'wave' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False True\n"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:x", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:no_such_attribute", "AttributeError: module 'json' has no attribute 'no_such_attribute'"),
    ],
)
def test_a_target_that_cannot_be_imported_is_named_with_its_owner(target: str, reason: str) -> None:
    with pytest.raises(PluginError) as error:
        GeneratorSpec(name="net", target=target, summary="").load()
    assert str(error.value).startswith(f"generator 'net' could not be imported from {target!r} ({reason})")


@pytest.mark.parametrize("source", ["raise SystemExit('go\\naway')", "raise OSError('go\\naway')"])
def test_a_target_whose_import_stops_is_one_sentence(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stops_on_import.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError) as error:
        spec(target="stops_on_import:x").load()
    assert "go away" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "two words", "-G", "a/b", "a:b"])
def test_a_name_nobody_could_type_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match="cannot be named"):
        spec(name=name)


@pytest.mark.parametrize(
    "target", ["", "json", "json:", ":dumps", "json.dumps", "json:a.b", "a b:c", "json::x"]
)
def test_a_malformed_target_is_refused(target: str) -> None:
    with pytest.raises(PluginError, match="write package"):
        spec(target=target)


def test_a_missing_requirement_says_what_to_install() -> None:
    assert spec(requires=("json",)).missing() == []
    with pytest.raises(PluginError, match="run pip install 'no_such_module'"):
        spec(requires=("json", "no_such_module")).load()
    with pytest.raises(PluginError, match=r"run pip install 'thing\[gpu\]'"):
        spec(requires=("no_such_module.inner=thing[gpu]",)).load()


def test_a_command_without_a_function_says_so() -> None:
    with pytest.raises(PluginError, match="command 'x' offers no Python function"):
        CommandSpec(name="x", target="json:dumps", summary="").load_api()


def test_every_kind_has_its_descriptor() -> None:
    assert {kind: spec_type.kind for kind, spec_type in SPEC_TYPES.items()} == {
        kind: kind for kind in SPEC_TYPES
    }


def test_networks_need_pytorch_whoever_offers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network = GeneratorSpec(name="x", target="json:dumps", summary="", requires=("no_such_module",))
    assert network.missing() == ["'no_such_module'"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert network.missing() == ["'translatekit[train]'", "'no_such_module'"]


def test_a_commands_help_can_be_shown_without_what_it_requires() -> None:
    command = CommandSpec(
        name="x", target="json:dumps", summary="", requires=("no_such_module",), api="json:loads"
    )
    assert command.load() is json.dumps
    for use in (command.require, command.load_api):
        with pytest.raises(
            PluginError, match="command 'x' needs what is not installed: run pip install 'no_such"
        ):
            use()


def test_a_compiler_says_what_it_needs_beside() -> None:
    backend = BackendSpec(
        name="x",
        target="json:loads",
        summary="",
        suffixes=(".x",),
        compiler="json:dumps",
        compiler_requires=("no_such_module",),
    )
    assert backend.load() is json.loads
    with pytest.raises(
        PluginError, match="compiling for x needs what is not installed: run pip install 'no_such"
    ):
        backend.load_compiler()
