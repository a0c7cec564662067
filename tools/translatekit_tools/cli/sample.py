"""``translatekit sample``."""

from __future__ import annotations

import rich_click

from translatekit.cli.options import value_option
from translatekit.options import LARGEST_SEED
from translatekit.terminal import echo


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL")
@rich_click.option("--label", metavar="CLASS", help="Name or number of a class; all of them if not given.")
@rich_click.option(
    "--embedding",
    metavar="FILE",
    help="An .npy file of the embedding of a text, or of several, a row each; for models trained on such.",
)
@value_option(
    "-n",
    "--count",
    annotation=int,
    minimum=1,
    maximum=100_000,
    metavar="N",
    help="Images of each class or text. [default: 16 of one, 8 of each of several]",
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
def sample(
    model: str,
    label: str | None,
    embedding: str | None,
    count: int | None,
    seed: int,
    output: str,
    force: bool,
) -> None:
    """Draw new images from a model that makes them from noise, such as cgan and stackgan train.

    MODEL is a model file or a run's folder. The grid has a row for each class or text, or is as square as can be where
    there is but one. The same seed draws the same images. The written files' names are printed to stdout.
    """
    from translatekit_tools.sample import sample as draw

    for path in draw(model, output, label=label, embedding=embedding, count=count, seed=seed, force=force):
        echo(path)
