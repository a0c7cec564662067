"""``translatekit compile``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.terminal import echo, stderr
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.cli.bar import Bar

if TYPE_CHECKING:
    from rich.console import Console

    from translatekit_tools.compile import CompileReport


@rich_click.command("compile", no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL", type=click.Path())
@rich_click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    type=click.Path(),
    help="The file to write: .onnx for ONNX Runtime, .xml for OpenVINO, .tflite for LiteRT, .mlpackage for Core ML, "
    ".engine for TensorRT.",
    panel="Output",
)
@rich_click.option(
    "--json", "as_json", is_flag=True, help="Print the report as JSON to stdout.", panel="Output"
)
def compile(model: str, output: str, as_json: bool, **params: Any) -> None:  # noqa: A001
    """Compile a trained model for a runtime, and compare the result with the model before it is written.

    MODEL is a model file, a run's folder, or an .onnx in fp32 made from one, which needs no PyTorch here. The
    suffix of OUT says the backend.
    """
    options = collect(CompileOptions, params)
    from translatekit_tools.compile import compile_model

    errors = stderr()
    with Bar(errors) as bar:
        report = compile_model(model, output, progress=bar, **options)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        _print(errors, report)
        echo(report.path)


compile.params += options_from_dataclass(CompileOptions)


def _print(console: Console, report: CompileReport) -> None:
    parity = report.parity
    unit = f" {parity['unit']}" if parity["unit"] else ""
    console.print(
        f"{report.backend} {report.precision}, {report.details['dtype']} at both ends, {report.bytes / 1e6:.1f} MB, "
        f"{report.seconds:.1f} s. Against "
        f"{parity['reference']} on {parity['images']} images ({report.checked_on}): PSNR {parity['psnr']:.1f} dB, "
        f"mean error {parity['mean_error']:.3g}{unit}, largest {parity['max_error']:.3g}{unit}, "
        f"{100 * parity['share_above_2']:.3f} % of the values differ by more than {2 / 255:.2%} of the range.",
        style="green",
        soft_wrap=True,
    )
    details = report.details
    if "checked" in details:
        console.print(f"The compiled model was {details['checked']}.", soft_wrap=True)
    if "int8_convolutions" in details:
        calibration = details["calibration"]
        console.print(
            f"{details['int8_convolutions']} of {details['convolutions']} convolutions in int8, calibrated on "
            f"{calibration['images']} images ({calibration['from']}).",
            soft_wrap=True,
        )
