"""Which graphs TensorRT takes: our check says the same as the real parser and builder, with the node's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.backends.tensorrt.graph import check_graph
from translatekit_tools.graphs.subpixel import end_in_convolution

from tests.tools.backends.tensorrt.builder import takes
from translatekit.errors import ModelFileError

onnx = pytest.importorskip("onnx")
T = onnx.TensorProto


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, inputs, [output], name=f"make_{output}", **attributes)


def cast(source: str, output: str, kind: int) -> Any:
    return node("Cast", [source], output, to=kind)


def write(path: Path, nodes: list[Any], tensors: dict[str, tuple[int, list[int]]] | None = None) -> Path:
    """A graph from ``image`` to ``translated``, with tensors of zeros."""
    ends = [
        onnx.helper.make_tensor_value_info(name, T.UINT8, ["n", 4, "h", "w"])
        for name in ("image", "translated")
    ]
    zeros = [
        onnx.helper.make_tensor(name, kind, dims, bytes(T_SIZES[kind] * size(dims)), raw=True)
        for name, (kind, dims) in (tensors or {}).items()
    ]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], zeros)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(model, path)
    return path


T_SIZES = {T.UINT8: 1, T.INT16: 2, T.BFLOAT16: 2, T.FLOAT: 4}


def size(dims: list[int]) -> int:
    product = 1
    for side in dims:
        product *= side
    return product


GOOD = {
    "casts at both ends": [cast("image", "a", T.FLOAT), cast("a", "translated", T.UINT8)],
    "int64 between": [
        cast("image", "a", T.FLOAT),
        cast("a", "b", T.INT64),
        cast("b", "c", T.FLOAT),
        cast("c", "translated", T.UINT8),
    ],
}
BAD = {
    "a transposed input": (
        [
            node("Transpose", ["image"], "a", perm=[0, 2, 3, 1]),
            cast("a", "b", T.FLOAT),
            cast("b", "translated", T.UINT8),
        ],
        r"the node 'make_a' \(Transpose\) takes uint8",
    ),
    "an output moved after its cast": (
        [
            cast("image", "a", T.FLOAT),
            cast("a", "b", T.UINT8),
            node("Transpose", ["b"], "translated", perm=[0, 1, 3, 2]),
        ],
        r"the node 'make_b' \(Cast\) gives uint8",
    ),
    "int16 between": (
        [
            cast("image", "a", T.FLOAT),
            cast("a", "b", T.INT16),
            cast("b", "c", T.FLOAT),
            cast("c", "translated", T.UINT8),
        ],
        r"the node 'make_b' \(Cast\) gives int16, which TensorRT has not",
    ),
}
CONVOLUTIONS = {"Conv": [4, 4, 3, 3], "ConvTranspose": [4, 4, 3, 3]}


def convolution(path: Path, operator: str) -> Path:
    nodes = [
        cast("image", "a", T.FLOAT),
        cast("a", "b", T.BFLOAT16),
        node(operator, ["b", "kernel"], "c", pads=[1] * 4),
        cast("c", "d", T.FLOAT),
        cast("d", "translated", T.UINT8),
    ]
    return write(path, nodes, {"kernel": (T.BFLOAT16, CONVOLUTIONS[operator])})


@pytest.mark.parametrize("name", GOOD)
def test_what_tensorrt_takes_passes(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.onnx", GOOD[name])
    check_graph(path)
    assert takes(path)


@pytest.mark.parametrize("name", BAD)
def test_what_it_does_not_take_is_named(tmp_path: Path, name: str) -> None:
    nodes, said = BAD[name]
    path = write(tmp_path / "a.onnx", nodes)
    with pytest.raises(ModelFileError, match=said):
        check_graph(path)
    assert not takes(path)


def test_transposed_convolutions_in_bf16_are_named(tmp_path: Path) -> None:
    check_graph(convolution(tmp_path / "conv.onnx", "Conv"))
    assert takes(tmp_path / "conv.onnx")
    path = convolution(tmp_path / "transposed.onnx", "ConvTranspose")
    with pytest.raises(ModelFileError, match=r"'make_c' \(ConvTranspose\) computes in bf16"):
        check_graph(path)
    assert not takes(path)


def test_pixels_that_are_spread_as_bytes_are_named(tmp_path: Path) -> None:
    """What quickens a network's end on a CPU is nothing for TensorRT."""
    nodes = [
        cast("image", "a", T.FLOAT),
        node("ConvTranspose", ["a", "kernel"], "b", kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4),
        cast("b", "translated", T.UINT8),
    ]
    path = write(tmp_path / "a.onnx", nodes, {"kernel": (T.FLOAT, [4, 4, 4, 4])})
    check_graph(path)
    path.write_bytes(end_in_convolution(path))
    with pytest.raises(ModelFileError, match=r"gives uint8, which TensorRT has at a network's ends alone"):
        check_graph(path)
    assert not takes(path)
