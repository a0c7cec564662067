"""``translatekit watch``: how runs are doing."""

from __future__ import annotations

import json
from pathlib import Path

import click
import rich_click

from translatekit.cli.options import value_option
from translatekit.terminal import echo


@rich_click.command(no_args_is_help=True)
@rich_click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@value_option(
    "--port",
    annotation=int,
    minimum=0,
    maximum=65535,
    default=0,
    help="To serve the page on; 0 for any free one.",
)
@rich_click.option("--once", is_flag=True, help="Print how the runs are doing and serve nothing.")
@rich_click.option("--json", "as_json", is_flag=True, help="With --once: print one JSON object.")
def watch(runs: tuple[Path, ...], port: int, once: bool, as_json: bool) -> None:
    """Watch runs while they train: losses, metrics and samples side by side, and what is wrong with them.

    RUN is a run's folder, or a folder of runs. The page is served to this machine alone, and follows the runs; its
    address is printed to stdout, and Ctrl-C ends it.
    """
    from translatekit.errors import OptionError
    from translatekit_tools.watch.page import check_runs

    if as_json and not once:
        raise OptionError("--json prints what --once finds: pass --once as well")
    folders = check_runs(runs)
    if once:
        _print(folders, as_json)
        return
    from translatekit_tools.watch.server import serve

    try:
        serve(folders, port, say=_say)
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        raise click.Abort from None


def _print(folders: list[Path], as_json: bool) -> None:
    from translatekit.training.report.figures import key_figures
    from translatekit_tools.watch.page import read_runs

    found = read_runs(folders)
    if as_json:
        content = [
            {
                "run": str(run.folder),
                "title": run.title,
                "state": run.state,
                "step": run.log.step,
                "latest": {
                    family: {curve.name: curve.points[-1][1] for curve in run.log.curves(family)}
                    for family in run.log.families
                },
                "troubles": [
                    {"name": trouble.name, "step": trouble.step, "text": trouble.text}
                    for trouble in run.troubles
                ],
            }
            for run in found
        ]
        click.echo(json.dumps({"runs": content}, indent=2))
        return
    for run in found:
        echo(f"{run.name}: {run.title}, {run.state}")
        for label, value in key_figures(run.log).items():
            echo(f"  {label}: {value}")
        for trouble in run.troubles:
            echo(f"  {trouble}")
        if not run.troubles:
            click.echo("  no trouble seen")


def _say(address: str) -> None:
    click.echo(address)
    click.echo("Open this address in a browser; Ctrl-C stops.", err=True)
