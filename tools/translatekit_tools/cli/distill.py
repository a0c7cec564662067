"""``translatekit distill``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.terminal import echo, stderr, stdout
from translatekit_tools.distill.options import CommandOptions

if TYPE_CHECKING:
    from rich.console import Console

    from translatekit_tools.distill.verdict import Distilled


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="[MODEL]", required=False, type=click.Path())
@rich_click.argument("data", metavar="[DATA]", required=False, type=click.Path())
@rich_click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="small",
    show_default=True,
    type=click.Path(),
    help="The folder to write: the student, its training, the table and the picture.",
    panel="Output",
)
@rich_click.option(
    "--resume", is_flag=True, help="Go on with what was begun in the folder of -o.", panel="Output"
)
@rich_click.option(
    "--json", "as_json", is_flag=True, help="Print the figures as JSON to stdout.", panel="Output"
)
def distill(
    model: str | None, data: str | None, output: str, resume: bool, as_json: bool, **params: Any
) -> None:
    """Make a small and fast model that does what a trained one does.

    MODEL is the teacher: a model file or a run's folder. DATA is a folder of images for it to translate; one with a
    folder train is read as MODEL was trained, with targets where there are any. Smaller forms of the teacher are timed
    by the runtime they are for, on this machine; the most capable that is fast enough learns from the teacher, and is
    measured beside it. One that is not what was asked for is not written as the student, and the exit status is 1.
    """
    options = collect(CommandOptions, params)
    from translatekit_tools.distill import distill as make

    errors = stderr()
    made = make(
        model, data, output, resume=resume, say=lambda text: errors.print(text, soft_wrap=True), **options
    )
    if as_json:
        click.echo(json.dumps(made.to_dict(), indent=1))
    else:
        _print(stdout(), made)
    if made.model is None:
        for row in made.rows:
            for text in row.shortcomings:
                errors.print(f"{row.name} falls short: {text}.", style="red", soft_wrap=True)
        errors.print(
            f"no student was written; what was trained lies in {made.folder / 'students'}", soft_wrap=True
        )
        raise SystemExit(1)
    errors.print(f"{made.summary}.", style="green", soft_wrap=True)
    errors.print(f"look at {made.page}", soft_wrap=True)
    if not as_json:
        echo(made.model)


distill.params += options_from_dataclass(CommandOptions)


def _print(console: Console, made: Distilled) -> None:
    from rich import box
    from rich.table import Table

    from translatekit_tools.distill.page import cells, columns

    table = Table(box=box.SIMPLE_HEAD)
    for number, title in enumerate(columns(made.rows)):
        table.add_column(title, justify="right" if number else "left")
    for row in made.rows:
        table.add_row(*cells(row, made.rows))
    console.print(table)
