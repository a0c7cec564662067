"""``translatekit train-on``."""

from __future__ import annotations

import rich_click as click

from translatekit.cli.options import value_option
from translatekit_tools.scale.options import Workers


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("cluster", metavar="CLUSTER")
@value_option(
    "--processes",
    annotation=Workers | None,
    default=None,
    metavar="N|MIN..MAX",
    help="How many processes train, one a device: 8, or 2..8 to go on with fewer while there are no more; one for each "
    "of the cluster's GPUs when not given, or for each core where it has none.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="METHOD [DATA] [OPTIONS]")
def train_on(cluster: str, processes: Workers | None, arguments: tuple[str, ...]) -> None:
    """Train on the processes of a Ray cluster: translatekit train-on ray --processes 8 METHOD DATA -o PLACE.

    CLUSTER is ray (the one that is configured or runs here, else one of this machine alone) or ray://HOST:PORT. All
    the rest is what train takes. PLACE is a folder that all nodes share, or an
    address such as s3://bucket/runs/x. Processes that are lost are started again and go on from the newest checkpoint.
    """
    from translatekit_tools.scale.options import ScaleOptions
    from translatekit_tools.scale.train import train_on as start

    start(ScaleOptions(on=cluster).on or cluster, processes, arguments)
