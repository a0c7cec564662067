"""Small models that are files, for what must know a model by its hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT, set_info

from translatekit.bridge import Bridge
from translatekit.image_spec import levels_spec
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.layers import init_weights


def inverting_model(folder: Path) -> Path:
    """An ONNX model that makes white black, which ONNX Runtime opens in a moment."""
    shape = ["count", "height", "width", 3]
    white = numpy_helper.from_array(np.array(255, np.int32), "white")
    nodes = [
        helper.make_node("Cast", [INPUT], ["levels"], to=TensorProto.INT32),
        helper.make_node("Sub", ["white", "levels"], ["inverted"]),
        helper.make_node("Cast", ["inverted"], [OUTPUT], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "inverting",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.UINT8, shape)],
        [white],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    set_info(
        model,
        ModelInfo(
            method="test", generator="unet", input=levels_spec(3), output=levels_spec(3), size_multiple=8
        ),
    )
    path = folder / "inverting.onnx"
    onnx.save(model, str(path))
    return path


def bridge_model(path: Path, steps: int = 3) -> Path:
    """An untrained model of several passes, whose weights are large enough that each of them shows."""
    from translatekit_unsb.method import harmonic_times
    from translatekit_unsb.networks import BridgeResNet

    torch.manual_seed(0)
    network = BridgeResNet(5, 3, width=4, blocks=1)
    init_weights(network, "xavier", 1.0)
    bridge = Bridge(times=harmonic_times(steps), tau=0.1, input=levels_spec(3), output=levels_spec(3))
    info = ModelInfo(
        method="unsb",
        generator="bridge-resnet",
        generator_options={"in_channels": 5, "out_channels": 3, "width": 4, "blocks": 1},
        input=bridge.pass_input,
        output=bridge.pass_output,
        bridge=bridge,
        size=32,
        size_multiple=4,
        package="translatekit",
    )
    save_model(path, network.eval().state_dict(), info)
    return path
