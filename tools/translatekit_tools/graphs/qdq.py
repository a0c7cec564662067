"""Convolutions in int8 by QuantizeLinear and DequantizeLinear in the ONNX graph: what TensorRT calls explicit."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.requirements import of_extra, require
from translatekit_tools.graphs.onnx_file import INPUT

_CONVOLUTIONS = ["Conv", "ConvTranspose"]


def to_int8(graph: Path, out: Path, images: Iterable[np.ndarray]) -> None:
    """Write an ONNX file whose convolutions take int8, symmetric about 0, weights by channel; all else is float32.

    Args:
        graph: the model in float32.
        out: the file to write.
        images: (H, W, C), of the dtype that the graph takes, that the ranges of activations are measured on.

    Raises:
        PluginError: ONNX Runtime, which measures the ranges, or onnx is not installed.
    """
    require("measuring ranges for int8", of_extra("tensorrt-rtx", "onnx", "onnxruntime"))
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    batches = iter([{INPUT: image[None]} for image in images])

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

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


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep advice to preprocess the graph off the terminal: folding is done already."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
