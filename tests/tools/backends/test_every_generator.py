"""Every generator of ours, compiled for every backend that is here: what it comes to, or the sentence that refuses it.

TensorRT's engines are tested alike beside its builder; LiteRT's where its converter is installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from translatekit_tools.compile import compile_model

from tests.matrix import combinations
from tests.tools.compile.conftest import save_small
from translatekit.errors import TranslatekitError
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.registry import registry

GENERATORS: dict[str, dict[str, Any]] = {
    "coarse_to_fine": {
        "width": 4,
        "downsamplings": 2,
        "blocks": 1,
        "enhancers": 1,
        "enhancer_blocks": 1,
        "norm": "instance",
        "upsampling": "nearest",
    },
    "encoder_decoder": {"depth": 5, "width": 4, "norm": "batch"},
    "resnet": {"blocks": 1, "width": 4, "norm": "instance"},
    "timm_unet": {"encoder": "resnet10t", "width": 4, "norm": "batch"},
    "unet": {"depth": 5, "width": 4, "norm": "batch"},
}
"""Small ones, whose sides are multiples of 64 or less."""

BACKENDS = {
    "onnxruntime": (".onnx", "onnx"),
    "openvino": (".xml", "openvino"),
    "coreml": (".mlpackage", "coremltools"),
    "litert": (".tflite", "litert_torch"),
}
"""Suffix, and the package that compiles."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """From a generator's name to a model file of it."""
    folder = tmp_path_factory.mktemp("models")

    def make(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            options = {"in_channels": 3, "out_channels": 3, **GENERATORS[name]}
            save_small(path, registry("generator").get(name).load()(**options), name, "running", options)
        return path

    return make


def test_every_generator_is_among_them() -> None:
    """A new one needs its small options above."""
    specs = [entry.spec for entry in registry("generator").entries()]
    ours = [spec for spec in specs if spec.target.startswith("translatekit.")]
    assert {spec.name for spec in ours} == GENERATORS.keys() - {"coarse_to_fine"}  # which is a plugin's
    compilers = {entry.spec.name for entry in registry("backend").entries() if entry.spec.compiler}
    assert compilers - {"tensorrt", "tensorrt-rtx"} == set(BACKENDS)


@pytest.mark.parametrize(
    ("generator", "backend"),
    combinations(GENERATORS, BACKENDS, few=[("timm_unet", "coreml")]),
)
def test_it_is_compiled_and_gives_the_same(generator: str, backend: str, made: Any, tmp_path: Path) -> None:
    suffix, compiler = BACKENDS[backend]
    if importlib.util.find_spec(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    report = compile_model(made(generator), tmp_path / f"model{suffix}", shapes="64x64")
    assert report.backend == backend
    assert report.parity["psnr"] >= 70


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_draws_from_noise_is_refused(backend: str, tmp_path: Path) -> None:
    suffix, compiler = BACKENDS[backend]
    if importlib.util.find_spec(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    info = ModelInfo(method="cgan", generator="dcgan", source="latent", classes=("0", "1"), size=28)
    path = tmp_path / "noise.safetensors"
    save_model(path, {"weight": torch.zeros(1)}, info)
    with pytest.raises(TranslatekitError, match="noise"):
        compile_model(path, tmp_path / f"model{suffix}")
    assert [each.name for each in tmp_path.iterdir()] == ["noise.safetensors"]
