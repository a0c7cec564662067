"""Small models that are files, for what must know a model by its hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT, set_info

from translatekit.image_spec import levels_spec
from translatekit.model_info import ModelInfo


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
