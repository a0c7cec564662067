"""``translatekit sample``."""

from __future__ import annotations

import rich_click

from translatekit.cli.options import value_option
from translatekit.options import LARGEST_SEED
from translatekit.terminal import echo


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL")
@rich_click.option("--label", metavar="CLASS", help="Name or number of a class; all of them if not given.")
@value_option(
    "-n",
    "--count",
    annotation=int,
    minimum=1,
    maximum=100_000,
    metavar="N",
    help="Images of each class. [default: 16 of one class, 8 of each of several]",
)
@value_option("--seed", annotation=int, minimum=0, maximum=LARGEST_SEED, default=0, help="Decides the noise.")
@rich_click.option(
    "-o",
    "--output",
    default="samples.png",
    show_default=True,
    metavar="OUT",
    help="An image file for a grid, or a folder for a file each.",
)
@rich_click.option("--force", is_flag=True, help="Replace files that exist.")
def sample(model: str, label: str | None, count: int | None, seed: int, output: str, force: bool) -> None:
    """Draw new images from a model that cgan trained.

    MODEL is a model file or a run's folder. The grid has a row for each class, or is as square as can be where one
    class is named. The same seed draws the same images. The written files' names are printed to stdout.
    """
    from translatekit_cgan.sample import sample as draw

    for path in draw(model, output, label=label, count=count, seed=seed, force=force):
        echo(path)
