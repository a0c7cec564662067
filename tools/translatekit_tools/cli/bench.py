"""``translatekit bench``."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.terminal import stderr, stdout
from translatekit_tools.bench.options import BenchOptions

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from translatekit_tools.bench import Figure, Row


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL", type=click.Path())
@rich_click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON to stdout.")
def bench(model: str, as_json: bool, **params: Any) -> None:
    """Measure how fast each installed backend translates with a model.

    MODEL is a model file or a run's folder, which is compiled for each backend and precision into a temporary
    folder; or a compiled file. Each is measured alone (batches in memory) and end to end (from files to
    files), in a process of its own, all in turn.
    """
    options = collect(BenchOptions, params)
    from translatekit_tools.bench import bench as measure

    errors = stderr()
    with errors.status("starting") as status:

        def say(text: str) -> None:
            status.update(text)
            if not errors.is_terminal:
                errors.print(text, soft_wrap=True)

        rows = measure(model, say=say, **options)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=1))
    else:
        _print(rows)
    if all(row.problem for row in rows):
        raise SystemExit(1)


bench.params += options_from_dataclass(BenchOptions)


def _print(rows: list[Row]) -> None:
    console = stdout()
    console.print(_table([row for row in rows if not row.problem]))
    _print_problems(console, rows)


def _table(rows: list[Row]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("backend")
    for title in (
        "alone\nimages/s",
        "end to end\nimages/s",
        "ratio",
        "PSNR\ndB",
        "loads in\ns",
        "memory\nMiB",
    ):
        table.add_column(title, justify="right")
    for row in sorted(rows, key=lambda row: -(row.end_to_end.median if row.end_to_end else 0)):
        psnr = row.parity.get("psnr")
        table.add_row(
            f"{row.backend} {row.precision}",
            _figure(row.alone, 1),
            _figure(row.end_to_end, 1),
            _figure(row.ratio, 2),
            "" if psnr is None else f"{psnr:.1f}",
            "" if row.load_seconds is None else f"{row.load_seconds:.2f}",
            "" if row.peak_memory is None else f"{row.peak_memory / 2**20:.0f}",
        )
    return table


def _figure(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return ""
    median, low, high = (f"{value:.{digits}f}" for value in (figure.median, figure.low, figure.high))
    return median if low == high else f"{median} ({low} to {high})"


def _print_problems(console: Console, rows: list[Row]) -> None:
    for row in rows:
        for text in [row.problem] if row.problem else row.notes:
            console.print(f"{row.backend} {row.precision}: {text}", soft_wrap=True)
