"""The program's help: complete, and quick because nothing heavy is imported for it."""

from __future__ import annotations

import json

import click
import pytest

from tests.fakes import run_program, run_python
from translatekit import __version__
from translatekit.cli import program
from translatekit.registry import registry
from translatekit.testing.commands import HEAVY

# Runs the program with the arguments given and prints, last, which heavy modules it imported.
IMPORTS = """
import json, sys
from translatekit.cli import program
try:
    program.main(sys.argv[2:], prog_name="translatekit")
finally:
    print(json.dumps(sorted(set(json.loads(sys.argv[1])) & set(sys.modules))))
"""


def every_command() -> list[tuple[str, ...]]:
    calls: list[tuple[str, ...]] = [()]
    for name in registry("command").names():
        command = registry("command").load(name)
        calls.append((name,))
        if isinstance(command, click.Group):
            calls += [(name, sub) for sub in command.list_commands(click.Context(command))]
    return calls


@pytest.mark.parametrize("call", every_command(), ids=" ".join)
def test_help_imports_nothing_heavy(call: tuple[str, ...]) -> None:
    result = run_python("-c", IMPORTS, json.dumps(HEAVY), *call, "--help")
    *shown, heavy = result.stdout.splitlines()
    assert result.returncode == 0, result.stderr
    assert json.loads(heavy) == []
    assert " ".join(["Usage: translatekit", *call]) in "".join(shown)


def test_listing_plugins_imports_nothing_heavy() -> None:
    for arguments in (["plugins"], ["plugins", "--json"], ["--version"], ["trian"]):
        result = run_python("-c", IMPORTS, json.dumps(HEAVY), *arguments)
        assert json.loads(result.stdout.splitlines()[-1]) == []


def test_help_shows_every_command_with_its_summary() -> None:
    shown = " ".join(run_program("--help").stdout.replace("│", " ").split())
    for entry in registry("command").entries():
        assert f"{entry.spec.name} {entry.spec.summary}" in shown


def test_help_of_training_shows_defaults_and_groups() -> None:
    shown = run_program("train", "cyclegan", "--help", COLUMNS="200").stdout
    for group in ("CycleGAN", "Data", "Networks", "Optimization", "Output", "Hardware"):
        assert f"─ {group} ─" in shown
    assert "[default: norm=instance]" in shown  # CycleGAN's own, not the general one
    assert "--flip/--no-flip" in shown


def test_version() -> None:
    assert run_program("--version").stdout == f"translatekit {__version__}\n"


def test_a_misspelt_command_gets_a_proposal() -> None:
    result = run_program("trian")
    assert result.returncode == 1
    assert "Error: there is no command named 'trian': did you mean 'train'?" in result.stderr


def test_wrong_usage_is_two_lines() -> None:
    result = run_program("train", "pix2pix", "--no-such-option")
    assert result.returncode == 2
    error, remedy = result.stderr.splitlines()
    assert error.startswith("Error: No such option '--no-such-option'.")
    assert remedy == "Try translatekit train pix2pix --help"


def test_completion_knows_the_commands() -> None:
    result = run_program(_TRANSLATEKIT_COMPLETE="bash_complete", COMP_WORDS="translatekit tr", COMP_CWORD="1")
    assert result.stdout.split() == ["plain,train", "plain,train-on"]


def test_the_stand_ins_of_the_listing_are_named_like_the_commands() -> None:
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert program.get_command(context, "no-such-command") is None
