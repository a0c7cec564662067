"""Writing OpenVINO's ``.xml`` and ``.bin``, int8 by NNCF included."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import ModelFileError, OptionError, TranslatekitWarning
from translatekit.model_info import ModelInfo
from translatekit.precision import Speeds
from translatekit.storage import write_atomically
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.backends.parity import compare_outputs
from translatekit_tools.backends.tensorrt.phases import Progress
from translatekit_tools.compile.images import gather
from translatekit_tools.compile.source import Source
from translatekit_tools.graphs.subpixel import end_in_convolution

CALIBRATION_IMAGES = 300
_FLOATS = {"f32": "<f4", "f16": "<f2", "f64": "<f8"}  # OpenVINO's names and numpy's
ACCURACY_IMAGES = 8
_NOT_QUANTIZED = ["Add", "Multiply", "Subtract", "Divide", "MVN", "ReduceMean", "Sqrt", "Power", "Tanh"]


def compile(source: Source, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:  # noqa: A001
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

    progress("exporting to ONNX", None)
    graph = source.onnx()
    core = openvino.Core()
    speeds = check_precision(core, options.precision)
    if speeds is not None and (slow := speeds.slowness(options.precision)):
        warnings.warn(f"{slow}: compile with --precision fp32", TranslatekitWarning, stacklevel=2)
    progress("converting to OpenVINO", None)
    model = core.read_model(end_in_convolution(graph))
    report: dict[str, Any] = {
        "backend": "openvino",
        "precision": options.precision,
        "shapes": source.info.compiled.get("shapes", "any"),
        "versions": {"openvino": openvino.__version__.split("-")[0]},
    }
    if options.precision == "int8":
        import nncf

        model, calibrated = _quantize(model, core, source, options, progress)
        report |= calibrated
        report["versions"]["nncf"] = nncf.__version__
    openvino.save_model(model, out, compress_to_fp16=options.precision == "fp16")
    write_info(out, replace(source.info, compiled=report))
    return report


def check_precision(core: Any, precision: str) -> Speeds | None:
    """Refuse a precision that OpenVINO would accept and then not compute in on this CPU.

    Returns:
        How quick the CPU is in each, or None where it need not be known: for fp32.

    Raises:
        OptionError: it does not compute in it.
    """
    if precision == "fp32":
        return None
    from translatekit_tools.backends.openvino.speeds import openvino_speeds

    speeds = openvino_speeds(core)
    if not speeds.has(precision):
        raise OptionError(f"this CPU does not compute in {precision}: pass --precision fp32 or int8")
    return speeds


def _quantize(
    model: Any, core: Any, source: Source, options: CompileOptions, progress: Progress
) -> tuple[Any, dict[str, Any]]:
    folder = options.calibrate or options.check
    free = source.info.compiled.get("shapes", "any") == "any"
    images, origin = gather(folder, source.path, source.info, CALIBRATION_IMAGES, free)
    batches = [image[None] for image in images]
    os.environ.setdefault(
        "NNCF_CI", "1"
    )  # read on import: NNCF otherwise reports its use to an analytics service
    with _quietly():
        import nncf

        progress("measuring the ranges of activations", None)
        scope = nncf.IgnoredScope(types=_NOT_QUANTIZED, validate=False)
        dataset = nncf.Dataset(batches)
        quantized = nncf.quantize(model, dataset, subset_size=len(batches), ignored_scope=scope)
        check = batches[:: max(1, len(batches) // ACCURACY_IMAGES)][:ACCURACY_IMAGES]
        full = _run_with(core, model)
        # Each beside its output in fp32: NNCF compares on some of them at a time.
        pairs = [(batch, _output(full, batch)) for batch in check]
        report = {"calibration": {"images": len(batches), "from": origin}}

        def psnr(candidate: Any, items: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
            return compare_outputs(((wanted, _output(candidate, batch)) for batch, wanted in items), "").psnr

        if psnr(_run_with(core, quantized), pairs) < options.least_psnr:
            progress("finding the convolutions that int8 costs most", None)
            largest_drop = psnr(full, pairs) - options.least_psnr
            quantized = nncf.quantize_with_accuracy_control(
                core.read_model(end_in_convolution(source.onnx())),
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


def _run_with(core: Any, model: Any) -> Any:
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


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


def read_info(path: Path) -> ModelInfo:
    """What an ``.xml`` file says of itself, read without OpenVINO.

    Raises:
        ModelFileError: it is missing, damaged, or not one of ours.
    """
    element = _tree(path).find("rt_info/translatekit")
    if element is None:
        raise ModelFileError(
            f"{path} has no translatekit header: give a file that translatekit compile wrote from a model file"
        )
    return ModelInfo.from_json(element.get("value", ""), path)


def check_weights(path: Path) -> None:
    """See that the numbers in the ``.bin`` beside an ``.xml`` file are finite.

    Raises:
        ModelFileError: one is not, or a file is damaged.
    """
    again = "compile the model again"
    numbers = path.with_suffix(".bin")
    try:
        data = np.memmap(numbers, np.uint8, "r") if numbers.stat().st_size else np.empty(0, np.uint8)
        for constant in _tree(path).iterfind("layers/layer[@type='Const']/data"):
            dtype = _FLOATS.get(constant.get("element_type", ""))
            start, size = int(constant.get("offset", "0")), int(constant.get("size", "0"))
            if start < 0 or size < 0 or start + size > len(data):
                raise ModelFileError(f"{numbers} is truncated: copy both files again, or {again}")
            if dtype is not None and not np.isfinite(data[start : start + size].view(dtype)).all():
                raise ModelFileError(
                    f"{path} cannot be used, since its weights are not all finite: train again, and compile that model"
                )
    except OSError as error:
        raise ModelFileError(
            f"{numbers} cannot be read ({error.strerror}): copy both files, or {again}"
        ) from None
    except ValueError:
        raise ModelFileError(f"{path} is no OpenVINO model, or damaged: {again}") from None


def write_info(path: Path, info: ModelInfo) -> None:
    """Put a header into an ``.xml`` file, in place of the one that it has."""
    tree = _tree(path)
    rt_info = tree.find("rt_info")
    if rt_info is None:
        rt_info = ElementTree.SubElement(tree, "rt_info")
    element = rt_info.find("translatekit")
    if element is None:
        element = ElementTree.SubElement(rt_info, "translatekit")
    element.set("value", info.to_json())
    write_atomically(path, ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True))


def _tree(path: Path) -> ElementTree.Element:
    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): check the path") from None
    except (ElementTree.ParseError, ValueError, LookupError):  # the latter two of encodings
        raise ModelFileError(f"{path} is no OpenVINO model, or damaged: compile the model again") from None
    if tree.tag != "net":
        raise ModelFileError(f"{path} is no OpenVINO model: give a file that translatekit compile wrote")
    return tree
