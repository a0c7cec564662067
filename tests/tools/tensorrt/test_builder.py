"""Our graphs in the hands of TensorRT-RTX's real builder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.compile.options import CompileOptions
from translatekit_tools.compile.qdq import to_int8
from translatekit_tools.compile.source import Source
from translatekit_tools.compile.tensorrt_graph import check_graph

from tests.tools.tensorrt.builder import takes
from translatekit.images import Picture, encode_picture
from translatekit.model_file import ModelInfo, save_model
from translatekit.networks.factory import make_generator
from translatekit.networks.layers import set_norm_inference

pytest.importorskip("onnxscript")


def save(path: Path, generator: str, inference: str = "running", size: int = 32, **options: Any) -> Source:
    network = make_generator(generator, options, in_channels=3, out_channels=3)
    set_norm_inference(network, inference)  # type: ignore[arg-type]
    info = ModelInfo(
        method="test",
        generator=generator,
        generator_options=network.arguments,  # type: ignore[arg-type]
        size=size,
        size_multiple=network.size_multiple,  # type: ignore[arg-type]
        norm_inference=inference,  # type: ignore[arg-type]
    )
    save_model(path, network.state_dict(), info)
    return Source(path)


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return save(
        tmp_path_factory.mktemp("unet") / "unet.safetensors", "unet", "per_image", 8, depth=3, width=4
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_what_is_exported_is_taken(unet: Source, precision: Any) -> None:
    graph = unet.onnx(precision)
    check_graph(graph)
    assert takes(graph)


def test_int8_is_explicit_and_taken(unet: Source, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    random = np.random.default_rng(0)
    for index in range(2):
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        (tmp_path / f"{index}.png").write_bytes(encode_picture(Picture(pixels), ".png"))
    graph = tmp_path / "int8.onnx"
    report = to_int8(unet, graph, CompileOptions(precision="int8", calibrate=str(tmp_path)), lambda *_: None)
    assert report == {"calibration": {"images": 2, "from": str(tmp_path)}}
    model = onnx.load(graph).graph
    made_by = {node.output[0]: node.op_type for node in model.node}
    convolutions = [node for node in model.node if node.op_type in ("Conv", "ConvTranspose")]
    assert convolutions
    assert {made_by[name] for node in convolutions for name in node.input[:2]} == {"DequantizeLinear"}
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.initializer}
    zeros = [values[node.input[2]] for node in model.node if node.op_type == "QuantizeLinear"]
    assert zeros
    assert not any(zero.any() for zero in zeros)
    assert {zero.dtype.name for zero in zeros} == {"int8"}
    check_graph(graph)
    assert takes(graph)
