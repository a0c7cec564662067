"""How fast OpenVINO computes on this CPU in each precision, measured with networks of three convolutions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import openvino
from openvino import opset13

from translatekit.precision import Speeds, measured, time_interleaved
from translatekit_tools.backends.openvino.core import CORE

HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""OpenVINO's names. Always said: left alone, it computes in bf16 wherever it believes that the CPU has it."""

_RUNS_AS = {"fp32": ("f32",), "fp16": ("f16",), "bf16": ("bf16",), "int8": ("u8", "i8")}
_CHANNELS, _SIDE, _LAYERS = 64, 48, 3


def openvino_speeds() -> Speeds:
    """The speeds of this CPU; a precision that OpenVINO accepts and then computes otherwise is not among them."""
    version = openvino.__version__.split("-")[0]
    return measured("openvino", version, _measure)


def _measure() -> dict[str, float]:
    image = np.full((1, _CHANNELS, _SIDE, _SIDE), 0.5, np.float32)
    work: dict[str, Callable[[], object]] = {}
    for precision, hint in HINTS.items():
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
        try:
            model = CORE.compile_model(_network(eight_bit=precision == "int8"), "CPU", settings)
        except RuntimeError:
            if precision == "fp32":
                raise
            continue
        if precision == "fp32" or _computed_in(model) in _RUNS_AS[precision]:
            work[precision] = partial(model.create_infer_request().infer, [image])
    return time_interleaved(work)


def _network(eight_bit: bool) -> Any:
    image = x = opset13.parameter([1, _CHANNELS, _SIDE, _SIDE], np.float32)
    weights = np.full((_CHANNELS, _CHANNELS, 3, 3), 1e-3, np.float32)
    for _ in range(_LAYERS):
        kernel = opset13.constant(weights)
        if eight_bit:
            x, kernel = _rounded(x, 1.0, 256), _rounded(kernel, 1e-3, 255)
        x = opset13.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1])
    return openvino.Model([x], [image])


def _rounded(x: Any, limit: float, levels: int) -> Any:
    low, high = (opset13.constant(np.float32(value)) for value in (-limit, limit))
    return opset13.fake_quantize(x, low, high, low, high, levels)


def _computed_in(model: Any) -> str:
    """What the second convolution computes in, which is not at the border to other precisions."""
    nodes = [node.get_rt_info() for node in model.get_runtime_model().get_ordered_ops()]
    convolutions = [info for info in nodes if info["layerType"].astype(str) == "Convolution"]
    return str(convolutions[1]["runtimePrecision"].astype(str))
