"""Compiled models do what the trained ones do, or are not handed over."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.backends.openvino import ir_file
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.backends.parity import compare_outputs
from translatekit_tools.compile import compile_model
from translatekit_tools.graphs import onnx_file
from translatekit_tools.graphs.onnx_file import read_info as read_onnx_info
from translatekit_tools.graphs.subpixel import end_in_convolution

import translatekit
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.image_spec import GRAY, RGB, labels_spec, specs_of_8_bits
from translatekit.model_file import read_any_info, read_info
from translatekit.networks.resnet import ResNet

from .conftest import MODELS, Compiled, save_small, takes_signals

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


def batch(count: int = 2, height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("suffix", "backend"), [(".onnx", None), (".xml", None), (".onnx", "openvino")], ids=str
)
@pytest.mark.parametrize("name", MODELS)
def test_fp32_is_the_same_at_any_size_and_batch(
    name: str, suffix: str, backend: str | None, models: dict[str, Path], compiled: Compiled
) -> None:
    report = compiled(name, suffix)
    assert report.parity["psnr"] >= 70
    assert report.details["shapes"] == "any"
    translator = translatekit.load(report.path, backend=backend)
    trained = translatekit.load(models[name], "cpu")
    for count, height, width in ((1, 64, 64), (3, 96, 64)):
        images = batch(count, height, width)
        difference = np.abs(translator(images).astype(int) - trained(images))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("name", MODELS)
def test_an_images_result_does_not_depend_on_its_batch(name: str, compiled: Compiled) -> None:
    translator = translatekit.load(compiled(name, ".onnx").path)
    images = batch(3)
    np.testing.assert_array_equal(translator(images)[1:2], translator(images[1:2]))


def test_half_precision_stands_in_the_graph(compiled: Compiled, photos: Path, tmp_path: Path) -> None:
    import onnx

    source = compiled("unet running", ".onnx").path
    report = compile_model(source, tmp_path / "half.onnx", precision="fp16", check=str(photos))
    assert 45 <= report.parity["psnr"] < 119
    graph = onnx.load(str(report.path)).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = [node.input[1] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(weights) == 10
    assert {kinds[name] for name in weights} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("precision", "kind"), [("fp32", "f32"), ("bf16", "bf16")])
def test_openvino_computes_every_convolution_in_what_was_asked_for(
    name: str, precision: str, kind: str, compiled: Compiled, photos: Path, tmp_path: Path
) -> None:
    source, out = compiled(name, ".onnx").path, tmp_path / "model.xml"
    try:
        compile_model(source, out, precision=precision, check=str(photos), tolerance=40)
    except OptionError as error:
        pytest.skip(str(error))
    translator: Any = translatekit.load(out, precision=precision)
    used = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in translator._request.get_compiled_model().get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) in ("Convolution", "Deconvolution")
    ]
    assert len(used) == 10
    assert set(used) == {kind}


def test_a_last_transposed_convolution_is_the_same_as_a_sub_pixel_convolution(
    compiled: Compiled, tmp_path: Path
) -> None:
    import onnx

    source = compiled("unet running", ".onnx").path
    (tmp_path / "other.onnx").write_bytes(end_in_convolution(source))
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "other.onnx")).graph.node]
    assert (kinds.count("ConvTranspose"), kinds.count("DepthToSpace")) == (4, 1)
    assert kinds.index("Tanh") < kinds.index("Cast", 2) < kinds.index("DepthToSpace")
    for images in (batch(1, 64, 64), batch(2, 64, 96)):
        one, other = (translatekit.load(path)(images) for path in (source, tmp_path / "other.onnx"))
        assert np.abs(one.astype(int) - other).max() <= 1
        assert (one != other).mean() < 0.001


def test_networks_that_end_otherwise_stay_as_they_are(compiled: Compiled, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    resnet = compiled("resnet instance", ".onnx").path
    assert end_in_convolution(resnet) == resnet.read_bytes()
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", "weights"], ["y"], strides=[2, 2])],  # without padding
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 18, 18])],
        [numpy_helper.from_array(np.ones((3, 2, 4, 4), np.float32), "weights")],
    )
    other = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph), str(other))
    assert end_in_convolution(other) == other.read_bytes()
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    onnx.save(
        helper.make_model(
            helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "graph", values[:1], values[1:])
        ),
        str(other),
    )
    assert end_in_convolution(other) == other.read_bytes()


def test_int8_is_calibrated_and_says_on_what(models: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    report = compile_model(
        models["unet running"],
        tmp_path / "model.xml",
        precision="int8",
        calibrate=str(photos),
        check=str(photos),
    )
    assert report.parity["psnr"] >= 30
    assert report.details["calibration"]["from"] == str(photos)
    assert 0 < report.details["int8_convolutions"] <= report.details["convolutions"] == 10


def test_where_int8_misses_the_tolerance_some_convolutions_stay_in_fp32(
    compiled: Compiled, photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nncf")
    source = compiled("unet running", ".onnx").path
    given: dict[str, Any] = {"precision": "int8", "calibrate": str(photos), "check": str(photos)}
    plain = compile_model(source, tmp_path / "plain.xml", tolerance=20, **given)
    wanted = plain.parity["psnr"] + 3
    report = compile_model(source, tmp_path / "model.xml", tolerance=wanted, **given)
    assert report.parity["psnr"] >= wanted
    assert report.details["calibration"]["accuracy_control"]
    assert 0 < report.details["int8_convolutions"] < plain.details["int8_convolutions"] == 10
    assert takes_signals()


def test_past_the_tolerance_nothing_is_written_and_the_worst_part_is_named(
    models: dict[str, Path], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=r"was not written: at fp16 .* dB .*most is lost in '\w+'"):
        compile_model(
            models["resnet instance"],
            tmp_path / "model.onnx",
            precision="fp16",
            check=str(photos),
            tolerance=100,
        )
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_is_compiled_without_torch(compiled: Compiled, photos: Path, tmp_path: Path) -> None:
    source = compiled("unet running", ".onnx").path
    program = f"""
import sys
from translatekit_tools.compile import compile_model
report = compile_model({str(source)!r}, {str(tmp_path / "model.xml")!r}, check={str(photos)!r})
assert report.parity["reference"] == "onnxruntime fp32"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert read_any_info(tmp_path / "model.xml").generator == "unet"


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_run_with_a_compiled_model_imports_no_torch(
    suffix: str, compiled: Compiled, photos: Path, tmp_path: Path
) -> None:
    model = compiled("unet per_image", suffix).path
    program = f"""
import sys
from translatekit.cli import main
sys.argv = ["translatekit", "run", {str(photos)!r}, "-o", {str(tmp_path / "out")!r}]
sys.argv += ["--model", {str(model)!r}]
try:
    main()
except SystemExit as error:
    assert not error.code, error.code
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_the_header_goes_along_and_info_shows_it(
    suffix: str, models: dict[str, Path], compiled: Compiled
) -> None:
    report = compiled("unet running", suffix)
    header = read_any_info(report.path)
    assert header.compiled["parity"]["psnr"] == report.parity["psnr"]
    assert header.generator_options == read_info(models["unet running"]).generator_options
    done = subprocess.run(
        [sys.executable, "-m", "translatekit", "info", str(report.path), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["compiled"]["precision"] == "fp32"


def test_deep_images_come_back_deep(compiled: Compiled) -> None:
    translator = translatekit.load(compiled("unet running", ".onnx").path)
    images = batch()
    output = translator(images.astype(np.float32) / 255)
    assert output.dtype == np.float32
    np.testing.assert_array_equal(np.rint(output * 255).astype(np.uint8), translator(images))


def test_lab_models_are_gray_in_and_colour_out(tmp_path: Path) -> None:
    from translatekit.networks.unet import UNet

    options = {"in_channels": 1, "out_channels": 2, "depth": 2, "width": 4}
    path = save_small(
        tmp_path / "lab.safetensors",
        UNet(**options),  # type: ignore[arg-type]
        "unet",
        "running",
        options,
        **dict(zip(("input", "output"), specs_of_8_bits("lab", 1, 2), strict=True)),
    )
    report = compile_model(path, tmp_path / "lab.onnx")
    assert report.parity["psnr"] >= 70
    assert translatekit.load(report.path)(batch()[:, :, :, :1]).shape == (2, 64, 96, 3)


class TestOpenVinoCache:
    """What OpenVINO keeps of the models that were opened."""

    @pytest.fixture
    def blobs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache" / "openvino"

    def test_compiling_leaves_nothing_and_opening_one_model(
        self, compiled: Compiled, photos: Path, blobs: Path, tmp_path: Path
    ) -> None:
        source = compiled("unet running", ".onnx").path
        compile_model(source, tmp_path / "model.xml", check=str(photos))
        assert not list(blobs.rglob("*.blob"))
        for _ in range(2):
            translatekit.load(tmp_path / "model.xml")
            assert len(list(blobs.rglob("*.blob"))) == 1

    def test_the_oldest_make_room(self, compiled: Compiled, blobs: Path) -> None:
        blobs.mkdir(parents=True)
        for age in range(20):
            (blobs / f"{age}.blob").touch()
            os.utime(blobs / f"{age}.blob", (1e9 - age, 1e9 - age))
        translatekit.load(compiled("unet running", ".xml").path)
        left = {path.stem for path in blobs.rglob("*.blob")}
        assert len(left) == 16
        assert {str(age) for age in range(15)} < left

    def test_a_damaged_one_is_made_again(self, compiled: Compiled, blobs: Path) -> None:
        model = compiled("unet running", ".xml").path
        expected = translatekit.load(model)(batch())
        (blob,) = blobs.rglob("*.blob")
        for content in (b"", b"nonsense", blob.read_bytes()[:1000]):
            blob.write_bytes(content)
            np.testing.assert_array_equal(translatekit.load(model)(batch()), expected)

    def test_weights_of_another_file_of_that_name_are_not_taken_from_it(
        self, compiled: Compiled, blobs: Path, tmp_path: Path
    ) -> None:
        """However old the files are, such as those of an archive that gives all the same time."""
        model = tmp_path / "model.xml"
        for suffix in (".xml", ".bin"):
            shutil.copy2(
                compiled("unet running", ".xml").path.with_suffix(suffix), tmp_path / f"model{suffix}"
            )
        before = translatekit.load(model)(batch())
        weights = np.fromfile(tmp_path / "model.bin", np.float32)
        weights[(np.abs(weights) > 1e-6) & (np.abs(weights) < 1)] *= 1.1  # and not those that are sizes
        weights.tofile(tmp_path / "model.bin")
        after = translatekit.load(model)(batch())
        assert np.abs(after.astype(int) - before).max() > 1

    def test_a_folder_that_cannot_be_written_is_done_without(
        self, compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "file"))
        assert translatekit.load(compiled("unet running", ".xml").path)(batch()).shape == (2, 64, 96, 3)


def test_onnx_runtime_computes_fp32_without_tf32_on_a_gpu(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its CUDA provider rounds to TF32 unless it is told otherwise."""
    import onnxruntime

    made = onnxruntime.InferenceSession
    asked: list[Any] = []

    def make(model: str, options: Any, providers: list[Any]) -> Any:
        asked.extend(providers)
        session = made(model, options, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(session, "get_providers", lambda: ["CUDAExecutionProvider"])
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", make)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    assert translatekit.load(compiled("unet running", ".onnx").path, "cuda:1").device == "cuda:1"
    (name, settings), _ = asked
    assert name == "CUDAExecutionProvider"
    assert settings == {"device_id": 1, "use_tf32": 0}


def test_processes_that_share_cores_compute_with_as_many_threads_as_they_are_told(
    compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    translator: Any = translatekit.load(compiled("unet running", ".onnx").path)
    assert translator._session.get_session_options().intra_op_num_threads == 1


def test_onnx_runtime_keeps_no_identifier_of_the_device(compiled: Compiled, tmp_path: Path) -> None:
    program = f"import translatekit; translatekit.load({str(compiled('unet running', '.onnx').path)!r})"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"TRANSLATEKIT_CACHE": str(tmp_path), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert not list(tmp_path.rglob("deviceid"))


class TestRefusals:
    def test_a_file_that_is_there(self, compiled: Compiled, tmp_path: Path) -> None:
        source = compiled("unet running", ".onnx").path
        (tmp_path / "model.xml").write_text("mine")
        with pytest.raises(OptionError, match="exists already and is not overwritten: pass --force"):
            compile_model(source, tmp_path / "model.xml")
        assert (tmp_path / "model.xml").read_text() == "mine"
        compile_model(source, tmp_path / "model.xml", force=True)
        assert read_any_info(tmp_path / "model.xml").generator == "unet"

    def test_a_file_beside_it_that_is_there(self, compiled: Compiled, photos: Path, tmp_path: Path) -> None:
        (tmp_path / "model.bin").write_text("mine")
        source = compiled("unet running", ".onnx").path
        with pytest.raises(OptionError, match=r"model\.bin exists already and is not overwritten"):
            compile_model(source, tmp_path / "model.xml", check=str(photos))
        assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
        assert (tmp_path / "model.bin").read_text() == "mine"

    def test_an_ending_that_nothing_writes(self, models: dict[str, Path], tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"let the output end in one of .*\.onnx"):
            compile_model(models["unet running"], tmp_path / "model.ncnn")

    @pytest.mark.parametrize("option", ["check", "calibrate"])
    def test_no_images_to_check_on_are_told_before_anything_is_compiled(
        self, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
    ) -> None:
        monkeypatch.delattr("translatekit_tools.graphs.export.export_onnx")
        folders = {option: str(tmp_path / "none")}
        with pytest.raises(DataError, match=r"there is no folder .*none: name one with images"):
            compile_model(models["unet running"], tmp_path / "model.xml", precision="int8", **folders)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("suffix", "options", "said"),
        [
            (".onnx", {"shapes": "64x64"}, "--shapes changes nothing for onnxruntime, only for .*tensorrt"),
            (".xml", {"batch": "4"}, "--batch changes nothing for openvino, only for tensorrt"),
            (".tflite", {"timing_cache": "a.cache"}, "--timing-cache changes nothing for litert"),
            (".onnx", {"calibrate": "."}, "--calibrate changes nothing for onnxruntime, only for "),
            (".xml", {"calibrate": "."}, "changes nothing in fp32: pass --precision int8 too"),
        ],
    )
    def test_an_option_that_would_change_nothing(
        self, models: dict[str, Path], tmp_path: Path, suffix: str, options: dict[str, str], said: str
    ) -> None:
        with pytest.raises(OptionError, match=said):
            compile_model(models["unet running"], tmp_path / f"model{suffix}", **options)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("suffix", [".onnx", ".xml"])
    def test_another_precision_than_the_files(self, suffix: str, compiled: Compiled) -> None:
        with pytest.raises(OptionError, match="was compiled for fp32, not bf16"):
            translatekit.load(compiled("unet running", suffix).path, precision="bf16")

    def test_another_device(self, compiled: Compiled) -> None:
        with pytest.raises(OptionError, match="run on the CPU here"):
            translatekit.load(compiled("unet running", ".xml").path, "cuda")

    def test_a_gpu_that_onnx_runtime_cannot_use(self, compiled: Compiled) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime has CUDA")
        with pytest.raises(OptionError, match="has no CUDA: run pip install onnxruntime-gpu"):
            translatekit.load(compiled("unet running", ".onnx").path, "cuda")

    @pytest.mark.parametrize("suffix", [".onnx", ".xml"])
    def test_sides_that_do_not_fit(self, suffix: str, compiled: Compiled) -> None:
        with pytest.raises(DataError, match="multiples of 32"):
            translatekit.load(compiled("unet running", suffix).path)(batch(1, 50, 64))

    def test_what_is_compiled_already(self, compiled: Compiled, photos: Path, tmp_path: Path) -> None:
        source = compiled("unet running", ".onnx").path
        compile_model(source, tmp_path / "half.onnx", precision="fp16", check=str(photos))
        with pytest.raises(OptionError, match="is in fp16 already"):
            compile_model(tmp_path / "half.onnx", tmp_path / "model.xml")

    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12\x04abcd", b"\xff" * 64])
    def test_what_is_no_onnx_file(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(ModelFileError, match="compile"):
            read_onnx_info(tmp_path / "model.onnx")

    @pytest.mark.parametrize("content", [b"", b"<net", b"<html></html>", b"<net></net>"])
    def test_what_is_no_openvino_model(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "model.xml").write_bytes(content)
        with pytest.raises(ModelFileError, match="compile"):
            translatekit.load(tmp_path / "model.xml")

    def test_weights_that_were_left_behind(self, compiled: Compiled, tmp_path: Path) -> None:
        shutil.copy(compiled("unet running", ".xml").path, tmp_path)
        with pytest.raises(ModelFileError, match=r"has no model\.bin beside it"):
            translatekit.load(tmp_path / "model.xml")


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (
            [(np.full((1, 2, 2, 3), np.nan), np.zeros((1, 2, 2, 3)))],
            "outputs that are not finite numbers cannot",
        ),
        (
            [(np.zeros((1, 2, 2, 3)), np.full((1, 2, 2, 3), np.inf))],
            "outputs that are not finite numbers cannot",
        ),
        (
            [(np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 1)))],
            r"outputs of \(1, 2, 2, 1\) cannot be",
        ),
        ([], "there is nothing to compare outputs on: pass --check DIR"),
    ],
)
def test_outputs_that_are_no_numbers_have_no_parity(outputs: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        compare_outputs(outputs, "torch fp32", RGB)


def spoiled(path: Path, out: Path) -> Path:
    """A model file with a NaN among its weights."""
    data = bytearray(path.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    out.write_bytes(data)
    return out


def test_weights_that_are_not_finite_are_not_compiled(
    models: dict[str, Path], compiled: Compiled, tmp_path: Path
) -> None:
    import onnx

    source = spoiled(models["unet running"], tmp_path / "spoiled.safetensors")
    with pytest.raises(ModelFileError, match="its weights are not all finite"):
        compile_model(source, tmp_path / "model.onnx")
    graph = onnx.load(str(compiled("resnet instance", ".onnx").path))
    weights = next(item for item in graph.graph.initializer if len(item.dims) == 4)
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[0] = np.nan
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(graph, str(tmp_path / "spoiled.onnx"))
    with pytest.raises(ModelFileError, match="its weights are not all finite"):
        compile_model(tmp_path / "spoiled.onnx", tmp_path / "model.xml")
    with pytest.raises(ModelFileError, match="its weights are not all finite"):
        translatekit.load(tmp_path / "spoiled.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["spoiled.onnx", "spoiled.safetensors"]


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("change", [{"input": GRAY}, {"output": GRAY}, {"compiled": {"precision": "fp7"}}])
def test_a_compiled_file_whose_header_lies_is_refused(
    compiled: Compiled, tmp_path: Path, suffix: str, change: dict[str, Any]
) -> None:
    from translatekit.model_file import read_any_info

    source = compiled("resnet instance", suffix).path
    for file in source.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / source.name
    info = dataclasses.replace(read_any_info(path), generator_options={}, **change)
    write = onnx_file.write_info if suffix == ".onnx" else ir_file.write_info
    write(path, info)
    assert read_any_info(path) == info
    if suffix == ".onnx" and "compiled" in change:
        return  # the graph computes in what it computes in
    with pytest.raises(ModelFileError, match="compile the model again"):
        translatekit.load(path)


def test_what_a_runtime_raises_is_a_sentence(compiled: Compiled, tmp_path: Path) -> None:
    """A header that lets through sizes that the network does not take."""
    for suffix, write in ((".onnx", onnx_file.write_info), (".xml", ir_file.write_info)):
        source = compiled("unet per_image", suffix).path
        for file in source.parent.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        path = tmp_path / source.name
        translator = translatekit.load(path)
        write(path, dataclasses.replace(translator.info, size_multiple=1))
        with pytest.raises(
            ModelFileError, match=r"the compiled unet could not be run \(.*\): compile the model again"
        ):
            translatekit.load(path)(np.zeros((1, 40, 40, 3), np.uint8))


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0])
def test_weights_of_an_onnx_file_are_looked_at_in_every_precision(
    tmp_path: Path, kind: str, value: float
) -> None:
    import onnx
    from onnx import TensorProto, helper

    number = getattr(TensorProto, kind)
    weights = [helper.make_tensor(f"w{n}", number, [3], [0.0, 1.0, value if n else 2.0]) for n in range(2)]
    if kind == "FLOAT":  # as torch writes them
        weights = [onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(w), w.name) for w in weights]
    else:
        weights = [
            helper.make_tensor(w.name, number, [3], onnx.numpy_helper.to_array(w).tobytes(), raw=True)
            for w in weights
        ]
    graph = helper.make_graph([], "weights", [], [], weights)
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    if value == 1.0:
        onnx_file.check_weights(tmp_path / "model.onnx")
    else:
        with pytest.raises(ModelFileError, match="its weights are not all finite"):
            onnx_file.check_weights(tmp_path / "model.onnx")


def test_weights_of_an_openvino_file_are_looked_at(compiled: Compiled, tmp_path: Path) -> None:
    source = compiled("resnet instance", ".xml").path
    for file in source.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    ir_file.check_weights(tmp_path / source.name)
    numbers = (tmp_path / source.name).with_suffix(".bin")
    data = numbers.read_bytes()
    places = [
        int(item.get("offset", "0"))
        for item in ir_file._tree(source).iterfind("layers/layer[@type='Const']/data")
        if item.get("element_type") == "f32" and int(item.get("size", "0")) > 1000
    ]
    numbers.write_bytes(data[: places[0]] + np.float32(np.nan).tobytes() + data[places[0] + 4 :])
    with pytest.raises(ModelFileError, match="its weights are not all finite"):
        translatekit.load(tmp_path / source.name)
    numbers.write_bytes(data[:-100])
    with pytest.raises(ModelFileError, match="is truncated"):
        translatekit.load(tmp_path / source.name)


def test_a_few_pixels_of_a_class_map_may_be_of_another_class(tmp_path: Path) -> None:
    """Where two classes are equally likely the last bit decides, of which a network of random weights has many."""
    pytest.importorskip("onnxruntime")
    options: dict[str, Any] = {
        "in_channels": 3,
        "out_channels": 19,
        "blocks": 1,
        "width": 16,
        "norm": "instance",
    }
    path = save_small(
        tmp_path / "a.safetensors",
        ResNet(**options),
        "resnet",
        "running",
        options,
        output=labels_spec(list(range(19))),
    )
    report = compile_model(path, tmp_path / "a.onnx", precision="fp16")
    assert report.parity["unit"] == "classes"
    assert 20 <= report.parity["psnr"] < 45
    assert CompileOptions().min_psnr("uint8", labels_spec(list(range(19)))) == 30
    with pytest.raises(ModelFileError, match="and 60 dB are asked for"):
        compile_model(path, tmp_path / "b.onnx", precision="fp16", tolerance=60)
