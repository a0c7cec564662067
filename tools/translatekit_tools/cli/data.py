"""``translatekit data``: well-known data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import rich_click

from translatekit.terminal import echo, say, stderr


@click.group(cls=rich_click.RichGroup)
def data() -> None:
    """Download well-known data sets, ready for training."""


@data.command("list")
@rich_click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_data(as_json: bool) -> None:
    """List the data sets, with their size and how to train on them."""
    from translatekit_tools.data.recipes import RECIPES

    if as_json:
        content = [
            {
                "name": recipe.name,
                "summary": recipe.summary,
                "size": recipe.size,
                "files": [
                    {"name": file.name, "url": file.url or None, "md5": file.md5} for file in recipe.files
                ],
                "train": recipe.train,
                "page": recipe.page,
            }
            for recipe in RECIPES.values()
        ]
        click.echo(json.dumps({"data_sets": content}, indent=2))
        return
    for recipe in RECIPES.values():
        click.echo(f"{recipe.name}: {recipe.summary}; {recipe.size} to download")
        click.echo(f"    {recipe.train.replace('DATA', recipe.name)}")


@data.command()
@click.argument("name")
@rich_click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="The new folder; NAME when not given.",
)
@rich_click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where downloads are kept; TRANSLATEKIT_CACHE or ~/.cache/translatekit when not given.",
)
@rich_click.option(
    "--url", help="Another place of its file; for MNIST, the address of the folder that holds its files."
)
@rich_click.option("--trust", is_flag=True, help="Accept a file that is not the one downloaded first.")
def get(name: str, **options: Any) -> None:
    """Download the data set NAME and lay it out for training; its folder is printed to stdout.

    A download that was interrupted goes on when the same command is given again. Files are compared with their
    published checksum where there is one, and else with that of the first download.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from translatekit_tools.data.get import get_data
    from translatekit_tools.data.recipes import RECIPES

    console = stderr()
    bar = Progress(
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=None)
    try:
        with bar:
            folder = get_data(
                name,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
                tell=say,
                **options,
            )
    except KeyboardInterrupt:
        click.echo("Interrupted: run the same command again to go on.", err=True)
        raise click.Abort from None
    echo(folder)
    say(f"Next: {RECIPES[name].train.replace('DATA', str(folder))}")
    click.echo(f"Its terms: {RECIPES[name].page}", err=True)
