"""Write docs/cli.md from the commands themselves: python docs/make_cli.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from translatekit.cli import Program, program
from translatekit.registry import registry

PAGE = Path(__file__).with_name("cli.md")


def render() -> str:
    """The page's text."""
    lines = ["# The command line", "", "Made from the code by `python docs/make_cli.py`.", ""]
    for path, context in _commands("translatekit", click.Context(program, info_name="translatekit")):
        lines += _describe(path, context)
    return "\n".join(lines).rstrip() + "\n"


def _commands(path: str, context: click.Context) -> Iterator[tuple[str, click.Context]]:
    yield path, context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if isinstance(command, Program):
                child = registry("command").load(name)
            else:
                child = command.get_command(context, name)
            if child is not None:
                yield from _commands(f"{path} {name}", click.Context(child, info_name=name, parent=context))


def _describe(path: str, context: click.Context) -> list[str]:
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    lines = [f"## {path}", "", f"`{path} {usage}`", ""]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    rows = [_row(option, context) for option in command.get_params(context) if isinstance(option, click.Option)]
    rows = [row for row in rows if row]
    if rows:
        lines += ["| option | meaning | default |", "| --- | --- | --- |", *rows, ""]
    return lines


def _row(option: click.Option, context: click.Context) -> str:
    if option.hidden or "--help" in option.opts:
        return ""
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    shown = option.get_default(context, call=False)
    default = "" if shown is None or not isinstance(shown, (str, int, float, bool)) else f"`{shown}`"
    values = f" ({', '.join(option.type.choices)})" if isinstance(option.type, click.Choice) else ""
    return f"| {flags} | {' '.join((option.help or '').split())}{values} | {default} |"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
