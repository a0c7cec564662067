"""Convolutions in half precision, by casts in the ONNX graph; all else stays in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

_CONVOLUTIONS = {
    "fp16": ("Conv", "ConvTranspose"),
    "bf16": ("Conv",),
}  # TensorRT has no transposed one in bf16
_OPSET_OF_BF16 = 22  # the first whose Conv takes bfloat16


def to_half(source: Path, out: Path, precision: Literal["fp16", "bf16"]) -> Path:
    """Write an fp32 ONNX file with its convolutions, weights included, in half precision.

    Transposed convolutions stay in float32 for bf16. The types stand in the graph, so that a runtime that keeps to
    them (TensorRT, strongly typed) computes what is written, and any other computes the same.

    Args:
        source: an ONNX file in fp32.
        out: the file to write.
        precision: of the convolutions.

    Returns:
        `out`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    if precision == "bf16":
        model = onnx.version_converter.convert_version(model, _OPSET_OF_BF16)
    half = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    converted: set[str] = set()
    nodes: list[Any] = []
    for number, node in enumerate(graph.node):
        if node.op_type not in _CONVOLUTIONS[precision]:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name in weights:
                if name not in converted:
                    converted.add(name)
                    array = numpy_helper.to_array(weights[name])
                    weights[name].CopyFrom(_tensor(array, name, half))
            else:
                cast = f"{name}_half_{number}"
                nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=half))
                node.input[place] = cast
        result = node.output[0]
        node.output[0] = f"{result}_half"
        nodes += [
            node,
            helper.make_node(
                "Cast", [node.output[0]], [result], name=f"{result}_float", to=TensorProto.FLOAT
            ),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    kept = [value for value in graph.value_info if value.name not in converted]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    onnx.save(model, str(out))
    return out


def store_half(source: Path, out: Path) -> Path:
    """Write an fp32 ONNX file with the weights of its convolutions kept in fp16, and computed with in fp32.

    Runtimes turn them back once, when the file is opened.

    Args:
        source: an ONNX file in fp32.
        out: the file to write, about half as large.

    Returns:
        `out`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    wanted = {
        name for node in graph.node if node.op_type in _CONVOLUTIONS["fp16"] for name in node.input[1:2]
    }
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in wanted or tensor.data_type != TensorProto.FLOAT:
            continue
        name, kept = tensor.name, f"{tensor.name}_kept"
        tensor.CopyFrom(_tensor(numpy_helper.to_array(tensor), kept, TensorProto.FLOAT16))
        casts.append(helper.make_node("Cast", [kept], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(out))
    return out


def simulate_half(source: Path) -> bytes:
    """An ONNX file that computes in float32 what another computes in half precision, for where nothing does.

    Each convolution in half precision becomes one in float32 of the same rounded operands, whose result is rounded:
    that is what a GPU's tensor cores do, but for the order of the sums.

    Args:
        source: an ONNX file as `to_half` writes it; one without such convolutions stays as it is.

    Returns:
        The bytes of the other.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    types = {
        node.output[0]: attribute.i
        for node in graph.node
        if node.op_type == "Cast"
        for attribute in node.attribute
        if attribute.name == "to"
    }
    nodes: list[Any] = []
    for node in graph.node:
        kind = types.get(node.input[0]) if node.op_type in _CONVOLUTIONS["fp16"] else None
        if kind not in halves:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name not in weights:  # what the graph computes, some networks' weights too
                node.input[place] = rounded = f"{name}_simulated_{len(nodes)}"
                nodes.append(helper.make_node("Cast", [name], [rounded], name=rounded, to=TensorProto.FLOAT))
            elif weights[name].data_type in halves:
                array = numpy_helper.to_array(weights[name]).astype("float32")
                weights[name].CopyFrom(numpy_helper.from_array(array, name))
        result = node.output[0]
        node.output[0] = f"{result}_simulated"
        nodes += [
            node,
            helper.make_node("Cast", [node.output[0]], [result], name=f"{result}_rounded", to=kind),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return bytes(model.SerializeToString())


def _tensor(array: Any, name: str, kind: int) -> Any:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    if kind == TensorProto.FLOAT16:
        return numpy_helper.from_array(array.astype(np.float16), name)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even
    return helper.make_tensor(name, kind, array.shape, rounded.tobytes(), raw=True)
