"""The program ``translatekit``: its commands come from plugins and are imported when they are run.

Nothing here may import torch, numpy or Pillow: every ``--help`` passes through this module.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from typing import Any, NoReturn, TextIO

import click
import rich_click

from translatekit import __version__
from translatekit.errors import PluginError, Stopped, TranslatekitError, TranslatekitWarning
from translatekit.plugins import installed
from translatekit.registry import registry
from translatekit.terminal import DEBUG_VARIABLE, debugging, printable

INTERRUPTED = 130  # what shells give a program that Ctrl-C ended: 128 + SIGINT


class Program(rich_click.RichGroup):
    """A group whose commands are those of the command registry, each imported when it is run.

    A `TranslatekitError` from anywhere becomes one line on stderr and exit status 1.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return registry("command").names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A stand-in with the command's name and summary, which is all that ``--help`` shows of it."""
        for entry in registry("command").entries():
            if entry.spec.name == cmd_name:
                return rich_click.RichCommand(name=cmd_name, help=entry.spec.summary)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was asked for, imported now."""
        name, *rest = args
        spec = registry("command").get(name)
        if not {"--help", "-h"} & set(rest):
            if name != "plugins":
                _warn_of_broken_plugins()
            spec.require()
        command = spec.load()
        if not isinstance(command, click.Command):
            raise PluginError(
                f"command {name!r} is {command!r}, not a click command: update the package it came with"
            )
        return name, command, rest

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; what it returns is not an exit status."""
        try:
            super().invoke(ctx)
        except Stopped as stopped:  # before click makes of it what Ctrl-C is
            raise SystemExit(stopped.status) from None

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run the program and exit: 0, 1 for a user's error, 2 for wrong usage, 128 and the
        number of the signal that stopped it."""
        kwargs["standalone_mode"] = False
        warnings.simplefilter("default", TranslatekitWarning)
        warnings.showwarning = _show_warning
        logging.getLogger().addHandler(logging.NullHandler())  # what libraries log is for developers
        # torch's C++ libraries speak past both
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        try:
            status = super().main(*args, **kwargs)
        except click.Abort:
            status = INTERRUPTED
        except click.ClickException as error:
            print(f"Error: {printable(error.format_message(), lines=True)}", file=sys.stderr)
            if isinstance(error, click.UsageError) and error.ctx:
                print(f"Try {error.ctx.command_path} --help", file=sys.stderr)
            status = error.exit_code
        except TranslatekitError as error:
            if debugging():
                print(printable(traceback.format_exc(), lines=True), end="", file=sys.stderr)
            print(f"Error: {printable(str(error))}", file=sys.stderr)
            status = 1
        sys.exit(status)


_show_others = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """One of ours as one line, without the place in the code; those of libraries are for developers."""
    if issubclass(category, TranslatekitWarning):
        print(f"Warning: {printable(str(message))}", file=sys.stderr)
    elif debugging():
        _show_others(message, category, filename, lineno, file, line)


def _warn_of_broken_plugins() -> None:
    names = sorted({plugin.distribution for plugin in installed().broken})
    if names:
        text = f"Warning: cannot use the plugins of {', '.join(names)}: see translatekit plugins"
        print(printable(text), file=sys.stderr)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option(
    "--debug",
    is_flag=True,
    help=f"Show the traceback of an error and what libraries say, as {DEBUG_VARIABLE}=1 does.",
)
def program(debug: bool) -> None:
    """Train image-to-image translators on your own images and run them over folders."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    if debugging():
        logging.getLogger().addHandler(logging.StreamHandler())


def main() -> NoReturn:
    """The entry point of the console script."""
    program.main(prog_name="translatekit")
