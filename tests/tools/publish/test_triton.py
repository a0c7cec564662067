"""A Triton model repository, held against Triton's own schema and against the graphs in it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.backends.tensorrt.engine_file import (
    EngineHeader,
    hash_engine,
    read_header,
    write_header,
)
from translatekit_tools.backends.tensorrt.profiles import Profile
from translatekit_tools.publish.triton import write_config

from tests.tools.publish.conftest import Publish
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.model_info import ModelInfo

TYPES = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}


def config_of(folder: Path) -> Any:
    return parsed((folder / "config.pbtxt").read_text())


def parsed(text: str) -> Any:
    """A configuration as Triton reads it: text of the message that its published schema describes."""
    pytest.importorskip("google.protobuf")
    try:
        found = importlib.metadata.distribution("tritonclient")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tritonclient is not installed")
    path = found.locate_file("tritonclient/grpc/model_config_pb2.py")  # the package itself wants gRPC
    spec = importlib.util.spec_from_file_location("triton_model_config_pb2", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from google.protobuf import text_format

    return text_format.Parse(text, module.ModelConfig())


def ends(config: Any) -> list[tuple[str, Any, list[int]]]:
    """Name, dtype and dimensions of the input and the output."""
    (taken,), (given,) = config.input, config.output
    described = type(taken).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    return [(end.name, TYPES[described[end.data_type].name], list(end.dims)) for end in (taken, given)]


def test_the_configuration_is_that_of_the_onnx_graph(published: Publish, graph: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    made = published("triton", graph, max_batch=16)
    folder = tmp_path / "out" / "summer-2-winter"
    assert made.path == folder
    assert sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.name[0] != "."
    ) == [
        "1/model.onnx",
        "config.pbtxt",
    ]
    config = config_of(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("summer-2-winter", "onnxruntime", 16)
    assert config.HasField("dynamic_batching")
    held = onnx.load(folder / "1" / config.default_model_filename).graph
    for (name, kind, dims), end in zip(ends(config), (*held.input, *held.output), strict=True):
        of_graph = end.type.tensor_type
        assert (name, kind) == (end.name, onnx.helper.tensor_dtype_to_np_dtype(of_graph.elem_type))
        shape = [dim.dim_value or -1 for dim in of_graph.shape.dim]
        assert shape[1:] == dims  # Triton adds the batch in front
        assert shape[0] == -1
    assert any("multiples of 8 pixels" in note for note in made.notes)


def test_values_are_float32_and_labels_uint8() -> None:
    values = ImageSpec(
        channels=("t",), meaning="values", levels=False, dtype="float32", low=(-5.0,), high=(40.0,), unit="°C"
    )
    labels = ImageSpec(channels=("class",), meaning="labels", levels=False, ids=(0, 1, 2), codec="onehot")
    info = ModelInfo(
        method="pix2pix", generator="unet", input=values, output=labels, compiled={"dtype": "float32"}
    )
    config = parsed(write_config("maps", "onnxruntime", info, 8))
    assert ends(config) == [("image", np.float32, [-1, -1, 1]), ("translated", np.uint8, [-1, -1, 1])]


def test_a_graph_of_one_size_is_said_to_be_of_one() -> None:
    """Triton loads no ONNX file whose fixed sides the configuration calls free."""
    info = ModelInfo(method="pix2pix", generator="unet", compiled={"shapes": "96x64"})
    assert ends(parsed(write_config("maps", "onnxruntime", info, 8)))[0][2] == [64, 96, 3]
    assert ends(parsed(write_config("maps", "openvino", info, 8)))[1][2] == [-1, 64, 96, 3]


def test_openvino_takes_any_batch_by_itself(published: Publish, graph: Path, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    made = published("triton", graph, runtimes=("openvino",))
    folder = Path(made.path)
    config = config_of(folder)
    assert (config.backend, config.max_batch_size) == ("openvino", 0)
    assert not config.HasField("dynamic_batching")
    assert [group.kind for group in config.instance_group] == [2]  # KIND_CPU
    assert {path.name for path in (folder / "1").iterdir()} == {"model.xml", "model.bin"}
    held = openvino.Core().read_model(str(folder / "1" / config.default_model_filename))
    for (name, kind, dims), port in zip(ends(config), (*held.inputs, *held.outputs), strict=True):
        assert (name, np.dtype(kind)) == (port.any_name, port.element_type.to_dtype())
        assert dims == [side.get_length() if side.is_static else -1 for side in port.partial_shape]
    shutil.copy(graph, tmp_path / "other.onnx")
    published("triton", tmp_path / "other.onnx")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summer-2-winter", "other"}


def engine(path: Path, **fields: Any) -> Path:
    """An engine of bytes that no TensorRT wrote, and the file beside it."""
    path.write_bytes(b"plan")
    header = EngineHeader(
        info=ModelInfo(
            method="pix2pix", generator="unet", compiled={"backend": "tensorrt", "precision": "fp16"}
        ),
        sha256=hash_engine(b"plan"),
        source="model.safetensors",
        precision="fp16",
        profiles=(Profile((1, 256, 256), (8, 256, 256), (12, 512, 512)),),
        gpu="NVIDIA A10",
        compute_capability="8.6",
        tensorrt="10.13.2",
        driver="13.0",
    )
    write_header(path, dataclasses.replace(header, **fields))
    return path


def test_an_engine_is_served_as_far_as_it_was_built(published: Publish, tmp_path: Path) -> None:
    made = published("triton", engine(tmp_path / "maps.engine"), runtimes=("tensorrt",), max_batch=64)
    config = config_of(Path(made.path))
    assert (config.backend, config.max_batch_size) == ("tensorrt", 12)
    assert ends(config) == [("image", np.uint8, [-1, -1, 3]), ("translated", np.uint8, [-1, -1, 3])]
    assert [path.name for path in (Path(made.path) / "1").iterdir()] == ["model.plan"]
    with pytest.raises(OptionError, match="--precision bf16"):
        published("triton", tmp_path / "maps.engine", "a", runtimes=("tensorrt",), precision="bf16")
    for fields, says in (
        ({"flavour": "tensorrt-rtx"}, "--flavour tensorrt"),
        ({"profiles": (Profile((4, 64, 64), (4, 64, 64), (4, 64, 64)),)}, "--batch 1,8,32"),
    ):
        with pytest.raises(OptionError, match=says):
            published("triton", engine(tmp_path / "maps.engine", **fields), "b", runtimes=("tensorrt",))
    assert not (tmp_path / "b" / "maps").exists()
    assert read_header(tmp_path / "maps.engine").flavour == "tensorrt"


def test_all_sizes_that_an_engine_was_built_for_are_served(published: Publish, tmp_path: Path) -> None:
    profiles = tuple(Profile((1, side, side), (8, side, side), (8, side, side)) for side in (256, 512))
    made = published("triton", engine(tmp_path / "maps.engine", profiles=profiles), runtimes=("tensorrt",))
    (group,) = config_of(Path(made.path)).instance_group
    assert (group.kind, list(group.profile)) == (1, ["0", "1"])  # KIND_GPU


def test_directions_that_are_left_out_are_named(
    run: Path, graph: Path, published: Publish, tmp_path: Path
) -> None:
    """Of a run that is compiled, as `translatekit compile` may have done for each direction."""
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("model.onnx", "model-BtoA.onnx"):
        shutil.copy(graph, folder / name)
    notes = published("triton", folder).notes
    assert "The run has 2 directions, and this is AtoB: publish the other with --direction" in notes[-1]
    assert not any("The run has" in note for note in published("triton", folder / "model.onnx", "one").notes)


def test_what_triton_does_not_serve_is_refused(published: Publish, graph: Path) -> None:
    with pytest.raises(OptionError, match=r"one runtime, and --for names onnxruntime and openvino"):
        published("triton", runtimes=("onnxruntime", "openvino"))
    made = published("triton", graph)
    text = (Path(made.path) / "config.pbtxt").read_text()
    (Path(made.path) / "config.pbtxt").write_text(text.replace("8", "4"))
    with pytest.raises(OptionError, match=r"config\.pbtxt is not as it was published"):
        published("triton", graph)
