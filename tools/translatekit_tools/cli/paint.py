"""``translatekit paint``: draw on the left, see the translation on the right."""

from __future__ import annotations

from typing import Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.terminal import say
from translatekit_tools.paint.options import PaintOptions


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL", type=click.Path())
def paint(model: str, **params: Any) -> None:
    """Draw a label map and watch its translation, or drop photographs in: a page served from this machine.

    MODEL is a model file, or a run's folder, whose directions the page can switch. The page opens with an example of
    the training data. Its address is printed to stdout; Ctrl-C ends the server. It also answers programs: POST
    /translate takes an image and gives a PNG, GET /example gives one to start from, GET /model and GET /health tell
    of it.
    """
    options = PaintOptions(**collect(PaintOptions, params))
    from translatekit_tools.paint.server import serve

    try:
        serve(model, options, say=_say)
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)
        raise click.Abort from None


paint.params += options_from_dataclass(PaintOptions)


def _say(address: str, about: str) -> None:
    click.echo(address)
    say(f"{about}. Open this address in a browser; Ctrl-C stops.")
