"""TensorRT-RTX's real parser and builder, which work on any CPU."""

from __future__ import annotations

from pathlib import Path

import pytest


def takes(graph: Path) -> bool:
    """Whether an ONNX file is parsed and built; skips the test where TensorRT-RTX is not installed."""
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    if not trt.OnnxParser(network, logger).parse_from_file(str(graph)):
        return False
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    shape = [8 if side == -1 else side for side in network.get_input(0).shape]
    profile.set_shape(network.get_input(0).name, shape, shape, shape)
    config.add_optimization_profile(profile)
    return builder.build_serialized_network(network, config) is not None
