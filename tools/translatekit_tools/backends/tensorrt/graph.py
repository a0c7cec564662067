"""What TensorRT takes of ONNX and what not, said of a graph before its builder is asked, which names no remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from translatekit.errors import ModelFileError

_TYPES = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "INT32", "INT64", "BOOL"}
"""What values may have between the ends; the parser makes float32 of DOUBLE."""


def check_graph(path: Path) -> None:
    """Refuse an ONNX file that no TensorRT builds an engine from.

    Args:
        path: the file.

    Raises:
        ModelFileError: names the first node that it does not take.
    """
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    types = {value.name: _name(value.type.tensor_type.elem_type) for value in graph.input}
    inputs, outputs = set(types), {value.name for value in graph.output}
    for tensor in graph.initializer:
        types[tensor.name] = _name(tensor.data_type)
        inputs.discard(tensor.name)
    for node in _nodes(graph):
        label = f"the node {node.name or node.output[0]!r} ({node.op_type})"
        given = _constant_type(node)
        if given is not None:
            types[node.output[0]] = given
        for name in node.input:
            kind = types.get(name)
            if kind == "UINT8" and not (name in inputs and node.op_type in ("Cast", "Shape")):
                raise _refused(
                    f"{label} takes uint8, which TensorRT has at a network's ends alone, beside a cast"
                )
            if kind is not None and kind not in _TYPES and kind != "UINT8":
                raise _refused(f"{label} takes {kind.lower()}, which TensorRT has not")
        if given == "UINT8" and node.op_type == "Cast" and node.output[0] not in outputs:
            raise _refused(
                f"{label} gives uint8, which TensorRT has at a network's ends alone, beside a cast"
            )
        if given is not None and given not in _TYPES and given != "UINT8":
            raise _refused(f"{label} gives {given.lower()}, which TensorRT has not")
        if node.op_type == "ConvTranspose" and "BFLOAT16" in map(types.get, node.input):
            raise _refused(f"{label} computes in bf16, which TensorRT's transposed convolutions cannot")


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes of a graph in their order, those of the graphs within them after each."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from _nodes(inner)


def _constant_type(node: Any) -> str | None:
    """The type of a node's output where the node itself says it."""
    for attribute in node.attribute:
        if (node.op_type, attribute.name) == ("Cast", "to"):
            return _name(attribute.i)
        if (node.op_type, attribute.name) in (("Constant", "value"), ("ConstantOfShape", "value")):
            return _name(attribute.t.data_type)
    return None


def _name(number: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(number))


def _refused(reason: str) -> ModelFileError:
    return ModelFileError(
        f"{reason}: compile from the model file, change what the generator computes there, or compile to .onnx or .xml"
    )
