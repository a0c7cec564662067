"""Writing OpenVINO's ``.xml`` and ``.bin``, int8 by NNCF included."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import OptionError, TranslatekitWarning
from translatekit.interfaces import ModelSource, Progress
from translatekit.precision import Speeds
from translatekit.requirements import of_extra, require
from translatekit_tools.backends.openvino.ir_file import write_info
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.backends.parity import compare_outputs
from translatekit_tools.graphs.subpixel import end_in_convolution

CALIBRATION_IMAGES = 300
ACCURACY_IMAGES = 8
_NOT_QUANTIZED = ["Add", "Multiply", "Subtract", "Divide", "MVN", "ReduceMean", "Sqrt", "Power", "Tanh"]


def compile(source: ModelSource, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:  # noqa: A001
    """Write an ``.xml`` file and its ``.bin``.

    Args:
        source: the model.
        out: the ``.xml`` file to write.
        options: ``precision``, ``calibrate``, ``check`` and the tolerance are looked at. fp16, bf16 and fp32 differ
            in how the file will be run; int8 changes the convolutions, and where that misses the tolerance, leaves
            those in fp32 that cost most.
        progress: told what is being done.

    Returns:
        Backend, precision, versions and, for int8, what it was calibrated on.

    Raises:
        OptionError: the CPU has no such precision.
    """
    import openvino

    from translatekit_tools.backends.openvino.core import CORE

    if options.precision == "int8":
        require("int8 for OpenVINO", of_extra("int8", "nncf"))
    progress("exporting to ONNX", None)
    graph = source.onnx()
    speeds = check_precision(options.precision)
    if speeds is not None and (slow := speeds.slowness(options.precision)):
        warnings.warn(f"{slow}: compile with --precision fp32", TranslatekitWarning, stacklevel=2)
    progress("converting to OpenVINO", None)
    model = CORE.read_model(end_in_convolution(graph))
    report: dict[str, Any] = {
        "backend": "openvino",
        "precision": options.precision,
        "dtype": source.dtype,
        "shapes": source.info.compiled.get("shapes", "any"),
        "versions": {"openvino": openvino.__version__.split("-")[0]},
    }
    if options.precision == "int8":
        import nncf

        model, calibrated = _quantize(model, source, options, progress)
        report |= calibrated
        report["versions"]["nncf"] = nncf.__version__
    # Weights are kept in half; the range of values in a unit would lose with them what a compiled file must not lose.
    plain = source.info.input.levels and source.info.output.levels
    openvino.save_model(model, out, compress_to_fp16=options.precision == "fp16" and plain)
    write_info(out, replace(source.info, compiled=report))
    return report


def check_precision(precision: str) -> Speeds | None:
    """Refuse a precision that OpenVINO would accept and then not compute in on this CPU.

    Returns:
        How quick the CPU is in each, or None where it need not be known: for fp32.

    Raises:
        OptionError: it does not compute in it.
    """
    if precision == "fp32":
        return None
    from translatekit_tools.backends.openvino.speeds import openvino_speeds

    speeds = openvino_speeds()
    if not speeds.supports(precision):
        raise OptionError(f"this CPU does not compute in {precision}: pass --precision fp32 or int8")
    return speeds


def _quantize(
    model: Any, source: ModelSource, options: CompileOptions, progress: Progress
) -> tuple[Any, dict[str, Any]]:
    from translatekit_tools.backends.openvino.core import CORE, one_core

    images, origin = source.images(options.calibrate or options.check, CALIBRATION_IMAGES)
    batches = [image[None] for image in images]
    os.environ.setdefault(
        "NNCF_CI", "1"
    )  # read on import: NNCF otherwise reports its use to an analytics service
    with _quietly(), one_core():
        import nncf

        progress("measuring the ranges of activations", None)
        scope = nncf.IgnoredScope(types=_NOT_QUANTIZED, validate=False)
        dataset = nncf.Dataset(batches)
        quantized = nncf.quantize(model, dataset, subset_size=len(batches), ignored_scope=scope)
        check = batches[:: max(1, len(batches) // ACCURACY_IMAGES)][:ACCURACY_IMAGES]
        full = _run_with(model)
        # Each beside its output in fp32: NNCF compares on some of them at a time.
        pairs = [(batch, _output(full, batch)) for batch in check]
        report = {"calibration": {"images": len(batches), "from": origin}}

        def psnr(candidate: Any, items: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
            outputs = ((wanted, _output(candidate, batch)) for batch, wanted in items)
            return compare_outputs(outputs, "", source.info.output).psnr

        min_psnr = options.min_psnr(source.dtype, source.info.output)
        if psnr(_run_with(quantized), pairs) < min_psnr:
            progress("finding the convolutions that int8 costs most", None)
            largest_drop = psnr(full, pairs) - min_psnr
            quantized = nncf.quantize_with_accuracy_control(
                CORE.read_model(end_in_convolution(source.onnx())),
                calibration_dataset=dataset,
                validation_dataset=nncf.Dataset(pairs, lambda pair: pair[0]),
                validation_fn=psnr,
                max_drop=max(largest_drop, 0.0),
                drop_type=nncf.DropType.ABSOLUTE,
                subset_size=len(batches),
                ignored_scope=scope,
            )
            report["calibration"]["accuracy_control"] = True
    convolutions, eight_bit = _count(quantized)
    return quantized, {**report, "int8_convolutions": eight_bit, "convolutions": convolutions}


def _run_with(model: Any) -> Any:
    from translatekit_tools.backends.openvino.core import CORE

    return CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _output(compiled: Any, batch: np.ndarray) -> np.ndarray:
    return np.array(compiled([batch])[0])


def _count(model: Any) -> tuple[int, int]:
    """Convolutions, and those whose input is quantized."""
    kinds = ("Convolution", "ConvolutionBackpropData")
    convolutions = [node for node in model.get_ops() if node.get_type_name() in kinds]
    eight_bit = [node for node in convolutions if _is_quantized(node.input_value(0).get_node())]
    return len(convolutions), len(eight_bit)


def _is_quantized(node: Any) -> bool:
    while node.get_type_name() in ("Concat", "Pad", "Relu", "PRelu", "Transpose", "Reshape"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "FakeQuantize")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep NNCF's tables and bars off the terminal."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(level)
