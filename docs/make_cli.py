"""Write docs/cli.md from the commands themselves: python docs/make_cli.py.

The page shows what this package brings, whatever other plugins are installed where it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click

from translatekit.cli import Program, program
from translatekit.cli.options import ValueType
from translatekit.cli.train import Methods
from translatekit.registry import registry

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# The command line

Every command with its options, made from the code by `python docs/make_cli.py`; `translatekit COMMAND --help` shows the
same. Progress goes to stderr and results to stdout. The exit status is 0, 1 for an error that one sentence on stderr
explains, 2 for wrong usage, 130 after Ctrl-C, and 143 after SIGTERM.

Options of networks and datasets are not listed here, because each has its own: [concepts.md](concepts.md) and
[data.md](data.md) do.
"""


def render() -> str:
    """The page's text."""
    described = list(_commands("translatekit", click.Context(program, info_name="translatekit")))
    contents = [f"- [{path}](#{path.replace(' ', '-')})" for path, _ in described]
    lines = [INTRODUCTION, *contents, ""]
    for path, context in described:
        lines += _describe(path, context)
    return "\n".join(lines).rstrip() + "\n"


def _commands(path: str, context: click.Context) -> Iterator[tuple[str, click.Context]]:
    yield path, context
    command = context.command
    if isinstance(command, click.Group):
        for name, child in _children(command, context):
            yield from _commands(f"{path} {name}", click.Context(child, info_name=name, parent=context))


def _children(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, Program):
        for name in _own_names("command"):
            yield name, registry("command").load(name)
        return
    names = _own_names("method") if isinstance(group, Methods) else group.list_commands(context)
    for name in names:
        child = group.get_command(context, name)
        assert child is not None
        yield name, child


def _own_names(kind: str) -> list[str]:
    return sorted(
        entry.spec.name
        for entry in registry(kind).entries()
        if entry.plugin.distribution == "translatekit"  # the same wherever the page is made
    )


def _describe(path: str, context: click.Context) -> list[str]:
    command = context.command
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    paragraphs = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    lines = [f"## {path}", "", "```", usage, "```", ""]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    options = [
        option
        for option in command.get_params(context)
        if isinstance(option, click.Option) and not option.hidden and option.name != "help"
    ]
    panels = list(dict.fromkeys(map(_panel, options)))  # in the order of the first option of each
    for panel, members in groupby(sorted(options, key=lambda option: panels.index(_panel(option))), _panel):
        if panel:
            lines += [f"**{panel}**", ""]
        lines += ["| option | meaning | default |", "| --- | --- | --- |"]
        lines += [_row(option, context) for option in members]
        lines += [""]
    return lines


def _panel(option: click.Option) -> str:
    return getattr(option, "panel", None) or ""


def _row(option: click.Option, context: click.Context) -> str:
    flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
    choices = _choices(option)
    if not option.is_flag and not choices:
        flags += f" `{option.make_metavar(context)}`"
    meaning = " ".join((option.help or "").split())
    if choices:
        meaning += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    if option.multiple:
        meaning += " May be given several times."
    cells = (flags, meaning, _default(option, context))
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _choices(option: click.Option) -> tuple[str, ...]:
    if isinstance(option.type, ValueType) and option.type.several:
        return ()  # the help text lists them
    return tuple(option.type.choices) if isinstance(option.type, (ValueType, click.Choice)) else ()


def _default(option: click.Option, context: click.Context) -> str:
    value = option.get_default(context, call=False)
    if option.is_flag:
        if not option.secondary_opts or not isinstance(value, bool):
            return ""
        return f"`{(option.opts if value else option.secondary_opts)[0]}`"
    return f"`{value}`" if isinstance(value, (str, int, float)) else ""


if __name__ == "__main__":
    import runpy

    runpy.run_path(str(PAGE.with_name("make_arguments.py")), run_name="__main__")
    PAGE.write_text(render(), encoding="utf-8")
