"""Convolutions in int8, by pairs of quantization and its inverse in the ONNX graph: what TensorRT calls explicit."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.errors import PluginError
from translatekit_tools.backends.tensorrt.phases import Progress
from translatekit_tools.compile.images import gather
from translatekit_tools.graphs.onnx_file import INPUT

if TYPE_CHECKING:
    from translatekit_tools.backends.options import CompileOptions
    from translatekit_tools.compile.source import Source

CALIBRATION_IMAGES = 64
_CONVOLUTIONS = ["Conv", "ConvTranspose"]


def to_int8(source: Source, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:
    """Write an ONNX file whose convolutions take int8, symmetric about 0, weights by channel; all else is float32.

    Args:
        source: the model.
        out: the file to write.
        options: ``calibrate`` and ``check`` are looked at: the images that ranges are measured on.
        progress: told what is being done.

    Returns:
        What it was calibrated on.

    Raises:
        PluginError: ONNX Runtime, which measures the ranges, is not installed.
        DataError: there are no images.
    """
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise PluginError(
            f"int8 ranges cannot be measured ({error}): run pip install 'translatekit[onnx]'"
        ) from None
    graph = source.onnx()
    free = source.info.compiled.get("shapes", "any") == "any"
    folder = options.calibrate or options.check
    images, origin = gather(folder, source.path, source.info, CALIBRATION_IMAGES, free)
    batches = iter([{INPUT: image[None]} for image in images])

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    progress("measuring the ranges of activations", None)
    with _quietly():
        quantize_static(
            str(graph),
            str(out),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_CONVOLUTIONS,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            # TensorRT takes no zero point but 0, and biases in float32.
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
    return {"calibration": {"images": len(images), "from": origin}}


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep advice to preprocess the graph off the terminal: folding is done already."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
