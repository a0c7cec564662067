"""ONNX graphs for readers that stopped at opset 17, which is what TensorRT 8.5 understands."""

from __future__ import annotations

from pathlib import Path

from translatekit.errors import ModelFileError

_OPSET, _IR = 17, 8
_AXES_WERE_ATTRIBUTES = {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"}
"""Operators whose axes became an input with opset 18; before, they were an attribute."""


def to_opset_17(source: Path, out: Path) -> Path:
    """Write an ONNX file in terms of opset 17.

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
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
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
