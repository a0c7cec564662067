"""``translatekit import``."""

from __future__ import annotations

from typing import Any

import click
import rich_click

from translatekit.cli.options import value_option
from translatekit.terminal import echo
from translatekit.types import Direction, NormInference


@click.command("import", cls=rich_click.RichCommand)
@click.argument("checkpoint")
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    help="The model file; CHECKPOINT with the suffix .safetensors if not given.",
)
@value_option(
    "--norm-inference",
    annotation=NormInference,
    help="Batch normalization: running statistics, or each image's own, as the reference tests. "
    "[default: per_image]",
)
@value_option(
    "--direction",
    annotation=Direction,
    default="AtoB",
    help="What the generator translates.",
)
@click.option("--force", is_flag=True, help="Replace the model file if it exists.")
def import_checkpoint(checkpoint: str, out: str | None, force: bool, **options: Any) -> None:
    """Turn a .pth checkpoint of pix2pix and CycleGAN's PyTorch reference implementation into a model file.

    CHECKPOINT is a generator's, such as latest_net_G.pth. Its architecture is inferred from the weights, and
    nothing in it is executed.
    """
    from translatekit.model_file import read_info
    from translatekit_tools.importer import import_checkpoint

    path = import_checkpoint(checkpoint, out, overwrite=force, **options)
    info = read_info(path)
    settings = [f"{name}={value}" for name, value in info.generator_options.items()]
    echo(f"{path}: {info.generator} {' '.join(settings)}, normalization {info.norm_inference}")
