"""What every command must keep: it is a click command whose help is quick."""

from __future__ import annotations

import json
import subprocess
import sys

import click

from translatekit.testing.contracts import Subject, require

HEAVY = ("torch", "numpy", "PIL", "timm", "torchvision", "lightning_fabric")

_SHOW_HELP = """
import contextlib, json, os, sys
from translatekit.cli import program
heavy = set(json.loads(sys.argv[1]))
for arguments in json.loads(sys.argv[2]):
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            program.main([*arguments, "--help"], prog_name="translatekit")
        except SystemExit as end:
            status = end.code
    print(json.dumps([arguments, status or 0, sorted(heavy & set(sys.modules))]))
"""


def click_command(subject: Subject) -> None:
    """It is a click command with a help text."""
    command = subject.spec.load()
    require(isinstance(command, click.Command), f"{subject} is {command!r}, not a click command")
    require(bool(command.help), f"{subject} has no help text: write a docstring")


def quick_help(subject: Subject) -> None:
    """Its --help, and that of its subcommands, works without importing torch, numpy or Pillow."""
    name, command = subject.spec.name, subject.spec.load()
    calls = [[name]]
    if isinstance(command, click.Group):
        calls += [
            [name, subcommand] for subcommand in command.list_commands(click.Context(command, info_name=name))
        ]
    code = [sys.executable, "-c", _SHOW_HELP, json.dumps(HEAVY), json.dumps(calls)]
    result = subprocess.run(code, capture_output=True, text=True)
    require(result.returncode == 0, f"the help of {subject} fails: {result.stderr.strip()[-500:]}")
    for line in result.stdout.splitlines():
        arguments, status, heavy = json.loads(line)
        shown = f"translatekit {' '.join(arguments)} --help"
        require(status == 0, f"{shown} ends with status {status}: {result.stderr.strip()[-500:]}")
        require(not heavy, f"{shown} imports {', '.join(heavy)}: import them inside the command's function")


def python_function(subject: Subject) -> None:
    """The Python function behind it, where it names one, can be imported."""
    if subject.spec.api is not None:
        function = subject.spec.load_api()
        require(callable(function), f"the function of {subject} is {function!r}, which cannot be called")


CONTRACTS = (click_command, quick_help, python_function)
