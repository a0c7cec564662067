"""TensorRT-RTX: engines for other GPUs, built by the real builder on a machine without any."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.backends.parity import compare_outputs
from translatekit_tools.backends.tensorrt.checker import SIMULATED, simulate
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu
from translatekit_tools.backends.tensorrt.engine_file import (
    check_gpu,
    check_tensorrt,
    graph_path,
    hash_engine,
    read_engine,
    read_header,
)
from translatekit_tools.backends.tensorrt.rebuild import fit_engine
from translatekit_tools.backends.tensorrt.targets import parse_targets, runs_on
from translatekit_tools.compile import CompileReport, compile_model
from translatekit_tools.compile.source import Source
from translatekit_tools.graphs.half import simulate_half, to_half

from tests.tools.backends.tensorrt.models import draw_images, save
from translatekit.errors import ModelFileError, OptionError, TranslatekitWarning
from translatekit.image_spec import RGB
from translatekit.model_file import read_any_info

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def gpu(capability: str) -> Gpu:
    return Gpu(0, "NVIDIA Test", capability, 2**30, "13.0")


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return save(
        tmp_path_factory.mktemp("unet") / "unet.safetensors", "unet", "per_image", 8, depth=3, width=4
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_images(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def report(unet: Source, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> CompileReport:
    pytest.importorskip("tensorrt_rtx")
    out = tmp_path_factory.mktemp("engine") / "maps.engine"
    return compile_model(
        unet.path, out, precision="fp16", check=str(photos), flavour="tensorrt-rtx", target="7.5,12.0"
    )


def test_an_engine_is_built_where_there_is_no_gpu(report: CompileReport) -> None:
    header = read_header(report.path)
    assert (header.flavour, header.targets, header.gpu, header.driver) == ("tensorrt-rtx", "7.5,12.0", "", "")
    plan = read_engine(report.path, header)
    assert ".".join(map(str, plan[24:28])) == header.tensorrt  # which the library itself wrote there
    assert header.graph == hash_engine(graph_path(report.path).read_bytes())
    assert read_any_info(graph_path(report.path)).compiled["precision"] == "fp16"


def test_int8_of_a_graph_of_one_size_is_measured_at_that_size(
    unet: Source, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a network that cannot be exported for any."""
    pytest.importorskip("tensorrt_rtx")
    import torch

    real = torch.onnx.export

    def of_one_size(*arguments: Any, **options: Any) -> Any:
        if len(options["dynamic_shapes"][0]) > 1:
            raise RuntimeError("a side is a constant")
        return real(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", of_one_size)
    report = compile_model(
        unet.path,
        tmp_path / "maps.engine",
        precision="int8",
        check=str(photos),
        flavour="tensorrt-rtx",
        tolerance=0,
    )
    assert report.details["calibration"] == {"images": 2, "from": str(photos)}


def test_its_parity_is_said_to_be_simulated(report: CompileReport) -> None:
    assert report.details["checked"] == SIMULATED == "simulated, not run on a GPU"
    assert report.parity["psnr"] > 45
    assert read_any_info(report.path).compiled["checked"] == SIMULATED
    assert report.details["versions"].keys() == {"tensorrt-rtx"}


def test_it_runs_on_its_targets_alone(report: CompileReport) -> None:
    header = read_header(report.path)
    check_gpu(report.path, header, gpu("12.0"))
    with pytest.raises(
        ModelFileError, match=r"built for compute capability 7\.5,12\.0, and .* has 8\.6"
    ) as caught:
        check_gpu(report.path, header, gpu("8.6"))
    assert "--flavour tensorrt-rtx --target 8.6 --batch" in str(caught.value)
    with pytest.raises(ModelFileError, match="has no such target, so build it here with the full TensorRT"):
        check_gpu(report.path, header, gpu("9.0"))
    with pytest.raises(ModelFileError, match=r"was built by TensorRT-RTX 1\.\d+.* this one is 9\.9"):
        check_tensorrt(report.path, header, "9.9")


def test_damaged_and_foreign_engines_are_refused(report: CompileReport, tmp_path: Path) -> None:
    header = read_header(report.path)
    plan = report.path.read_bytes()
    for damaged in (plan[: len(plan) // 2], b"", b"ptrt" + plan[4:]):
        path = tmp_path / "maps.engine"
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=r"is not the engine that maps\.engine\.json describes"):
            read_engine(path, header)
    fields = json.loads((report.path.parent / "maps.engine.json").read_text())
    (tmp_path / "maps.engine.json").write_text(json.dumps({**fields, "flavour": "tensor flow"}))
    with pytest.raises(ModelFileError, match="its flavour is no TensorRT, but 'tensor flow'"):
        read_header(tmp_path / "maps.engine")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"target": "7.5", "precision": "bf16"},
            r"capability 7\.5 do not compute in bf16: pass --precision fp16",
        ),
        ({"target": "9.0"}, r"builds for no compute capability '9\.0': pass --target with any, 7\.5, 8\.0"),
        ({"target": "any,8.6"}, "--target takes any alone, got 'any,8.6'"),
        (
            {"shapes": "10x8"},
            "unet needs sides that are multiples of 8, got 10x8 in --shapes: pass --shapes 16x8",
        ),
        (
            {"workspace": 1e-6},
            "--workspace 1e-06 is too small to build the model: give more GiB, or leave it out",
        ),
        ({"timing_cache": "a"}, "TensorRT-RTX times nothing while it builds: leave out --timing-cache"),
        (
            {"target": "8.6", "flavour": "tensorrt"},
            "not for --target 8.6: leave it out, or pass --flavour tensorrt-rtx",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(
    unet: Source, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(OptionError, match=said) as caught:
        compile_model(unet.path, tmp_path / "a.engine", **{"flavour": "tensorrt-rtx", **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_targets() -> None:
    assert parse_targets(None, "bf16") == parse_targets("ANY", "bf16") == ("any",)
    assert parse_targets("8.6, 12.0,8.6", "fp32") == ("8.6", "12.0")
    assert [
        name for name in ("7.5", "8.0", "8.6", "8.9", "9.0", "12.0", "12.1") if runs_on(["any"], name)
    ] == [
        "8.0",
        "8.6",
        "8.9",
        "12.0",
        "12.1",
    ]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_simulation_is_what_the_graph_says(
    unet: Source, photos: Path, tmp_path: Path, precision: str
) -> None:
    """Against ONNX's own evaluator, which takes the half-precision graph as it is."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    graph = to_half(unet.onnx(), tmp_path / "half.onnx", precision)  # type: ignore[arg-type]
    simulated = simulate(graph)
    evaluator = ReferenceEvaluator(onnx.load(graph))
    batch = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
    full = simulate(unet.onnx())(batch)
    ours, theirs = simulated(batch), evaluator.run(None, {"image": batch})[0]
    assert compare_outputs([(theirs, ours)], "", RGB).psnr > 60
    losses = [compare_outputs([(full, half)], "", RGB).psnr for half in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], abs=0.3)


def test_weights_that_the_network_computes_are_simulated_too(tmp_path: Path) -> None:
    """As those are that an exporter leaves to the graph, such as of weight normalization."""
    onnx = pytest.importorskip("onnx")
    make, floats = onnx.helper.make_node, onnx.TensorProto.FLOAT
    random = np.random.default_rng(0)
    tensors = {"direction": random.normal(size=(4, 3, 3, 3)), "length": random.normal(size=(4, 1, 1, 1))}
    nodes = [make("Mul", ["direction", "length"], ["weight"]), make("Conv", ["x", "weight"], ["y"])]
    ends = [
        onnx.helper.make_tensor_value_info(*end) for end in (("x", floats, [1, 3, 9, 9]), ("y", floats, None))
    ]
    given = [onnx.numpy_helper.from_array(one.astype(np.float32), name) for name, one in tensors.items()]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], given)
    opset = onnx.helper.make_opsetid("", 20)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "full.onnx")
    half = to_half(tmp_path / "full.onnx", tmp_path / "half.onnx", "fp16")
    x = random.normal(size=(1, 3, 9, 9)).astype(np.float32)
    full, rounded, simulated = (
        onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
        for model in (
            onnx.load(tmp_path / "full.onnx"),
            onnx.load(half),
            onnx.load_from_string(simulate_half(half)),
        )
    )
    np.testing.assert_allclose(simulated, rounded, atol=0.02)
    assert 0 < np.abs(simulated - full).max() < 0.05


def test_headers_survive(report: CompileReport) -> None:
    header = read_header(report.path)
    assert "--flavour tensorrt-rtx --target 7.5,12.0" in header.rebuild(report.path)
    assert "--flavour" not in dataclasses.replace(header, targets="").rebuild(report.path)


def test_what_does_not_run_here_is_built_again_from_its_graph(
    report: CompileReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    header = read_header(report.path)
    plan = read_engine(report.path, header)
    version = header.tensorrt
    for capability, installed in (("12.0", version), ("9.0", version)):
        assert fit_engine(report.path, plan, header, capability, installed) == (plan, header)

    with pytest.warns(TranslatekitWarning, match=r"capability 7\.5,12\.0: it is built again by .* for 8\.6"):
        fitted, fitting = fit_engine(report.path, plan, header, "8.6", version)
    check_gpu(report.path, fitting, gpu("8.6"))
    assert fitted != plan
    assert (fitting.targets, fitting.sha256) == ("8.6", hash_engine(fitted))
    assert fit_engine(report.path, plan, header, "8.6", version) == (
        fitted,
        fitting,
    )  # kept, so nothing is said

    older = dataclasses.replace(header, tensorrt="1.6.0.1")
    with pytest.warns(TranslatekitWarning, match=r"was built by TensorRT-RTX 1\.6\.0\.1"):
        _, fitting = fit_engine(report.path, plan, older, "12.0", version)
    check_tensorrt(report.path, fitting, version)

    without = dataclasses.replace(older, graph="0" * 64)
    assert fit_engine(report.path, plan, without, "12.0", version) == (plan, without)
