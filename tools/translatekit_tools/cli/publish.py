"""``translatekit publish``."""

from __future__ import annotations

import json
from typing import Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.terminal import echo, say, stderr
from translatekit_tools.cli.bar import Bar
from translatekit_tools.publish.options import PublishOptions


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL", type=click.Path())
@rich_click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(),
    help="The folder to write; needed unless it is pushed.",
    panel="Output",
)
@rich_click.option(
    "--json", "as_json", is_flag=True, help="Print what was written as JSON to stdout.", panel="Output"
)
def publish(model: str, output: str | None, as_json: bool, **params: Any) -> None:
    """Publish a model: as a page that runs it in the visitor's browser, or as a folder for a hub or a server.

    MODEL is a model file or a run's folder. What OUT held before stays, unless this command has written it.
    """
    options = collect(PublishOptions, params)
    from translatekit_tools.publish import publish as make

    errors = stderr()
    with Bar(errors) as tell:
        published = make(model, output, progress=tell, **options)
    if as_json:
        click.echo(json.dumps(published.to_dict()))
        return
    for note in published.notes:
        say(note)
    echo(published.path)


publish.params += options_from_dataclass(PublishOptions)
