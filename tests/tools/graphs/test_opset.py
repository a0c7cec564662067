"""Graphs for readers that stopped at opset 17 compute the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from translatekit_tools.graphs.opset import to_opset_17

from translatekit.errors import ModelFileError

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")


def write_graph(path: Path, axes_as: str = "initializer") -> Path:
    """Normalization as it is exported: reductions whose axes are inputs, and casts that say how they saturate."""
    axes = onnx.numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=onnx.TensorProto.FLOAT, saturate=1),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("ReduceMean", ["centred"], ["all"], keepdims=1),
        helper.make_node("Add", ["centred", "all"], ["translated"]),
    ]
    inputs = [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 4, 4, 3])]
    initializers = [axes] if axes_as == "initializer" else []
    if axes_as == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["axes"], value=axes))
    if axes_as == "input":
        inputs.append(helper.make_tensor_value_info("axes", onnx.TensorProto.INT64, [2]))
    output = helper.make_tensor_value_info("translated", onnx.TensorProto.FLOAT, ["n", 4, 4, 3])
    graph = helper.make_graph(nodes, "graph", inputs, [output], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("axes_as", ["initializer", "constant"])
def test_the_same_values_come_out(tmp_path: Path, axes_as: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    before = write_graph(tmp_path / "before.onnx", axes_as)
    after = to_opset_17(before, tmp_path / "after.onnx")
    model = onnx.load(after)
    assert ([opset.version for opset in model.opset_import], model.ir_version) == ([17], 8)
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    results = [
        runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": images})[
            0
        ]
        for path in (before, after)
    ]
    np.testing.assert_allclose(results[1], results[0], atol=1e-4)
    assert results[0].std() > 1


def test_instance_normalization_becomes_arithmetic(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    random = np.random.default_rng(0)
    constants = [
        onnx.numpy_helper.from_array(random.normal(size=3).astype(np.float32), name)
        for name in ("scale", "shift")
    ]
    shape = ["n", 3, "h", "w"]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    node = helper.make_node("InstanceNormalization", ["x", "scale", "shift"], ["y"], epsilon=1e-3)
    graph = helper.make_graph([node], "graph", values[:1], values[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "before.onnx")
    to_opset_17(tmp_path / "before.onnx", tmp_path / "after.onnx")
    assert "InstanceNormalization" not in {
        node.op_type for node in onnx.load(tmp_path / "after.onnx").graph.node
    }
    images = (random.normal(size=(2, 3, 5, 7)) * 4 + 2).astype(np.float32)
    results = [
        runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": images})[0]
        for path in (tmp_path / "before.onnx", tmp_path / "after.onnx")
    ]
    np.testing.assert_allclose(results[1], results[0], atol=1e-5)


def test_axes_that_are_not_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"only known when it runs .* run pip install -U tensorrt"):
        to_opset_17(write_graph(tmp_path / "graph.onnx", "input"), tmp_path / "after.onnx")


def test_what_17_cannot_say_is_refused(tmp_path: Path) -> None:
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Gelu", ["a"], ["b"])], "graph", inputs[:1], inputs[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "graph.onnx")
    with pytest.raises(ModelFileError, match=r"cannot be written for TensorRT 8\.5 \(.*Gelu"):
        to_opset_17(tmp_path / "graph.onnx", tmp_path / "after.onnx")
