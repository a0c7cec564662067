"""A small graph as translatekit compiles them, made without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from translatekit.image_spec import RGB, ImageSpec
from translatekit.model_info import ModelInfo

PALETTE = [
    {"name": "wall", "color": [0, 48, 255]},
    {"name": "window", "color": [255, 207, 1]},
    {"name": "background", "color": [20, 20, 130]},
]


def write_graph(path: Path, spec: ImageSpec = RGB, output: ImageSpec | None = None, **info: Any) -> Path:
    """One convolution between instance normalizations; sides are multiples of 16.

    Args:
        path: the file to write.
        spec: of the images that it takes, 8 bits a channel.
        output: of those that it gives; the same when not given.
        info: fields of the header.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT, set_info

    output = output or spec
    random, count = np.random.default_rng(0), output.count
    constants = {
        "weight": random.normal(0, 0.4, (count, spec.count, 3, 3)).astype(np.float32),
        "half": np.full(1, 127.5, np.float32),
        "one": np.ones(1, np.float32),
        "scale": np.ones(count, np.float32),
        "shift": np.zeros(count, np.float32),
        "low": np.zeros((), np.float32),
        "high": np.full((), 255, np.float32),
    }
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Cast", [INPUT], {"to": TensorProto.FLOAT}),
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ("Div", ["half"], {}),
        ("Sub", ["one"], {}),
        ("Conv", ["weight"], {"pads": [1, 1, 1, 1]}),
        ("InstanceNormalization", ["scale", "shift"], {}),
        ("Tanh", [], {}),
        ("Add", ["one"], {}),
        ("Mul", ["half"], {}),
        ("Clip", ["low", "high"], {}),
        ("Round", [], {}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Cast", [], {"to": TensorProto.UINT8}),
    ]
    nodes, last = [], ""
    for number, (operator, inputs, attributes) in enumerate(steps):
        result = OUTPUT if number == len(steps) - 1 else f"value_{number}"
        names = inputs if number == 0 else [last, *inputs]
        nodes.append(helper.make_node(operator, names, [result], name=result, **attributes))
        last = result
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "H", "W", channels])
        for name, channels in ((INPUT, spec.count), (OUTPUT, count))
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    header = ModelInfo(
        method="pix2pix",
        generator="resnet",
        input=spec,
        output=output,
        size=64,
        size_multiple=16,
        **{"data": {"palette": PALETTE}, **info},
        compiled={"precision": "fp32", "dtype": "uint8", "shapes": "any"},
    )
    set_info(model, header)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
