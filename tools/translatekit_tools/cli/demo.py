"""``translatekit demo``."""

from __future__ import annotations

import click
import rich_click

from translatekit.terminal import echo


@rich_click.command()
@rich_click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    help="An empty or new folder. [default: runs/demo, or runs/demo-2 and so on where that is taken]",
)
@rich_click.option(
    "--quick", is_flag=True, help="A few seconds of training on smaller images; worse outputs."
)
def demo(output: str | None, quick: bool) -> None:
    """Prepare, train, evaluate, compile and translate drawn facades, and show the result: a minute or two on two cores.

    Each step is shown as the command that does the same. The path of a page with inputs, outputs and targets side
    by side is printed to stdout, everything else to stderr.
    """
    from translatekit_tools.demo import run_demo

    result = run_demo(output, quick=quick, say=lambda command: click.echo(f"\n$ {command}", err=True))
    metrics = result.metrics
    click.echo(
        f"\nTrained in {result.training_seconds:.0f} s; on held-out facades L1 {metrics['l1']:.3f}, "
        f"PSNR {metrics['psnr']:.1f} dB, SSIM {metrics['ssim']:.3f}.\n"
        f"Draw one yourself: translatekit paint {result.run}\nOpen this page:",
        err=True,
    )
    echo(result.page)
