"""One kind of file, several runtimes: which one runs it is a choice with a rule, and no accident."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from translatekit_tools.bench import bench
from translatekit_tools.compile import compile_model
from translatekit_tools.graphs.onnx_file import read_info, write_info

import translatekit
from tests.fakes import run_program
from translatekit.errors import OptionError, PluginError
from translatekit.model_info import ModelInfo

from .conftest import Compiled, takes_signals

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")


def runtime(path: Path, backend: str | None = None) -> str:
    return type(translatekit.load(path, backend=backend)).__name__


def test_the_one_whose_own_file_it_is_runs_it_and_another_by_name(compiled: Compiled) -> None:
    path = compiled("unet running", ".onnx").path
    assert runtime(path) == runtime(path, "onnxruntime") == "OnnxTranslator"
    assert runtime(path, "openvino") == "OpenVinoTranslator"
    with pytest.raises(OptionError) as error:
        translatekit.load(path, backend="torch")
    assert str(error.value) == (
        "backend 'torch' is not for model.onnx: pass --backend onnxruntime or openvino, or leave it out"
    )
    with pytest.raises(PluginError, match="no backend named 'openvion': did you mean 'openvino'"):
        translatekit.load(path, backend="openvion")


def test_a_process_whose_models_came_and_went_takes_signals(compiled: Compiled) -> None:
    path = compiled("unet running", ".xml").path
    models = [translatekit.load(path), translatekit.load(path)]
    with ThreadPoolExecutor(1) as thread:
        thread.submit(translatekit.load, path).result()
    while models:
        del models[0]
        gc.collect()
    assert takes_signals()


def test_run_and_evaluate_take_it(compiled: Compiled, photos: Path, tmp_path: Path) -> None:
    path = compiled("unet running", ".onnx").path
    outputs = []
    for name in ("onnxruntime", "openvino"):
        summary = translatekit.translate(photos, path, tmp_path / name, backend=name, fit="pad")
        assert (summary.translated, summary.failed) == (4, [])
        outputs.append((tmp_path / name / "0.png").read_bytes())
    again = translatekit.translate(photos, path, tmp_path / "openvino", backend="openvino", fit="pad")
    assert again.skipped == 4
    other = translatekit.translate(photos, path, tmp_path / "openvino", fit="pad")
    assert other.translated == 4  # another runtime may give other pixels
    for command in (["run", str(photos), "--model", str(path)], ["evaluate", str(path), str(photos)]):
        done = run_program(*command, "--backend", "tensorrt")
        assert done.returncode == 1
        assert (
            "backend 'tensorrt' is not for model.onnx: pass --backend onnxruntime or openvino" in done.stderr
        )


def test_bench_measures_a_file_on_all_that_run_it(compiled: Compiled) -> None:
    rows = bench(compiled("unet running", ".onnx").path, images=2, rounds=1)
    assert [(row.backend, row.precision, row.problem) for row in rows] == [
        ("onnxruntime", "fp32", None),
        ("openvino", "fp32", None),
    ]


def test_openvino_leaves_half_precision_to_the_runtime_that_rounds_as_the_graph_says(
    compiled: Compiled, tmp_path: Path
) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(compiled("unet running", ".onnx").path.read_bytes())
    info = read_info(path)
    write_info(
        path, ModelInfo.from_json(info.to_json().replace('"precision": "fp32"', '"precision": "fp16"'), path)
    )
    with pytest.raises(
        OptionError, match=r"half.onnx is in fp16, and OpenVINO would .* run it by onnxruntime"
    ):
        translatekit.load(path, backend="openvino")


def test_compile_takes_the_names_of_those_that_write_such_files(
    models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(
        OptionError, match=r"backend 'openvino' is not for a.onnx: pass --backend onnxruntime"
    ):
        compile_model(models["unet running"], tmp_path / "a.onnx", backend="openvino")
    assert not list(tmp_path.iterdir())


def test_both_give_the_same(compiled: Compiled) -> None:
    path = compiled("resnet instance", ".onnx").path
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    one, other = (translatekit.load(path, backend=name)(images) for name in ("onnxruntime", "openvino"))
    assert np.abs(one.astype(int) - other).max() <= 1
