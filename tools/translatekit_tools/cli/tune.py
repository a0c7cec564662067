"""``translatekit tune``."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.terminal import echo, stderr
from translatekit_tools.tune.options import TuneOptions


@rich_click.command(no_args_is_help=True)
@rich_click.argument("method")
@rich_click.argument("data", required=False, type=click.Path())
@rich_click.option(
    "--space",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="A TOML file of training options: ranges, lists of values, and values for all trials.",
    panel="Search",
)
@rich_click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="study",
    show_default=True,
    type=click.Path(),
    help="The study's folder; one that exists is gone on with.",
    panel="Output",
)
@rich_click.option(
    "--json", "as_json", is_flag=True, help="Print what was found as JSON to stdout.", panel="Output"
)
def tune(method: str, data: str | None, space: str, output: str, as_json: bool, **params: Any) -> None:
    """Search for the training options that do best on the validation images.

    Each trial is a run of METHOD on DATA, in a folder under trials; what is tried next follows from how the ones before
    did. A study that was stopped goes on with the same command, and several processes that are given it work on one
    study, on any machines that see its folder. The best options are in best.toml, which train --config takes.
    """
    options = collect(TuneOptions, params)
    from translatekit.requirements import TRAINING, of_extra, require

    require("tune", (*TRAINING, *of_extra("tune", "optuna")))
    from translatekit_tools.tune import tune as search

    errors = stderr()
    found = search(
        method,
        data,
        space=space,
        out=output,
        say=lambda text: errors.print(text, soft_wrap=True, style="bold"),
        **options,
    )
    best = ", ".join(
        f"{name}={f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in found.options.items()
    )
    errors.print(
        f"{found.finished} trials finished, {found.pruned} pruned, {found.failed} failed; the best {found.metric} is "
        f"{found.value:.4g}, with {best}",
        soft_wrap=True,
    )
    errors.print(f"look at {found.folder / 'index.html'}; next:", soft_wrap=True)
    errors.print(f"  translatekit train --config {found.config}", soft_wrap=True)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=1, default=str))
    else:
        echo(found.config)


tune.params += options_from_dataclass(TuneOptions)
