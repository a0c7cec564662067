"""ONNX graphs for readers that stopped at opset 17, which is what TensorRT 8.5 understands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from translatekit.errors import ModelFileError

_OPSET, _IR = 17, 8
_AXES_WERE_ATTRIBUTES = {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}
"""Operators whose axes became an input with opset 18; before, they were an attribute."""


def to_opset_17(source: Path, out: Path) -> Path:
    """Write an ONNX file in terms of opset 17, with instance normalization as arithmetic.

    TensorRT 8.5 has instance normalization only as a plugin, which needs a cuDNN that few machines have.

    Args:
        source: of any later opset.
        out: the file to write.

    Returns:
        `out`.

    Raises:
        ModelFileError: the graph holds what opset 17 cannot say.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(source))
    constants = constants_of(model.graph)
    for node in model.graph.node:
        if node.op_type in _AXES_WERE_ATTRIBUTES and len(node.input) > 1:
            if node.input[1] not in constants:
                raise ModelFileError(
                    f"{source} reduces over axes that are only known when it runs ({node.name}), which TensorRT 8.5 "
                    "cannot: run pip install -U tensorrt"
                )
            axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
            del node.input[1:]
            node.attribute.append(onnx.helper.make_attribute("axes", axes))
        kept = [
            attribute
            for attribute in node.attribute
            if (node.op_type, attribute.name)
            not in {("Cast", "saturate"), ("Cast", "round_mode"), ("Reshape", "allowzero")}
            and attribute.name != "noop_with_empty_axes"
        ]
        del node.attribute[:]
        node.attribute.extend(kept)
    decompose_normalization(model.graph, constants)
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", _OPSET))
    model.ir_version = min(model.ir_version, _IR)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{source} cannot be written for TensorRT 8.5 ({reason}): run pip install -U tensorrt"
        ) from None
    onnx.save(model, str(out))
    return out


def constants_of(graph: Any) -> dict[str, Any]:
    """The tensors of an ONNX graph that are always the same, by name."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return constants


def decompose_normalization(graph: Any, constants: dict[str, Any]) -> None:
    """Write instance normalization as arithmetic, where its scale and shift are constants."""
    from onnx import numpy_helper

    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "InstanceNormalization" and all(name in constants for name in node.input[1:]):
            scale, shift = (numpy_helper.to_array(constants[name]) for name in node.input[1:])
            epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
            parts = {"epsilon": scale[:1] * 0 + epsilon, "scale": scale, "shift": shift}
            for name, values in parts.items():
                tensor = numpy_helper.from_array(values.reshape(1, -1, 1, 1), f"{node.output[0]}_{name}")
                graph.initializer.append(tensor)
            nodes.extend(_normalization(node.input[0], node.output[0]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _normalization(source: str, target: str) -> Iterator[Any]:
    """Instance normalization (Ulyanov et al., 2016, equation 4) of (N, C, H, W), a step a node."""
    from onnx import helper

    def named(name: str) -> str:
        return f"{target}_{name}"

    for operator, inputs, output in (
        ("ReduceMean", [source], named("mean")),
        ("Sub", [source, named("mean")], named("centred")),
        ("Mul", [named("centred"), named("centred")], named("squared")),
        ("ReduceMean", [named("squared")], named("variance")),
        ("Add", [named("variance"), named("epsilon")], named("raised")),
        ("Sqrt", [named("raised")], named("deviation")),
        ("Div", [named("centred"), named("deviation")], named("normal")),
        ("Mul", [named("normal"), named("scale")], named("scaled")),
        ("Add", [named("scaled"), named("shift")], target),
    ):
        axes: dict[str, Any] = {"axes": [2, 3], "keepdims": 1} if operator == "ReduceMean" else {}
        yield helper.make_node(operator, inputs, [output], name=output, **axes)
