"""Images of any kind through an identity network: what goes in comes out, in every backend, whole and tiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from translatekit_tools.compile import compile_model

import translatekit
from translatekit.image_spec import ImageSpec, labels_spec, levels_spec
from translatekit.inference.tiles import TiledTranslator
from translatekit.interfaces import Translator
from translatekit.model_file import read_info, save_model
from translatekit.model_info import ModelInfo

HOUNSFIELD = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")
CITY = labels_spec([0, 7, 255], ["void", "road", "sky"])
CHANNELS = (1, 2, 3, 4, 5, 13)


def values_spec(channels: int) -> ImageSpec:
    """As many channels of values, each of a range of its own."""
    low = [-1000.0 * index for index in range(channels)]
    return levels_spec(channels, "float32").with_range(low, [bound + 4000 + 3 * channels for bound in low])


SPECS = {
    "uint8": levels_spec,
    "uint16": lambda channels: levels_spec(channels, "uint16"),
    "values": values_spec,
}


class Same(nn.Conv2d):
    """Gives back the channels that it gets, as far as there are some."""

    size_multiple = 1

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)
        nn.init.dirac_(self.weight)


@pytest.fixture(scope="module", autouse=True)
def _loads_identities() -> Iterator[None]:
    """Model files named ``same`` are of that network."""

    def load(path: Path) -> tuple[nn.Module, ModelInfo]:
        info = read_info(path)
        return Same(info.in_channels, info.out_channels), info

    with pytest.MonkeyPatch.context() as patch:
        for module in ("graphs.export", "backends.torch.translator", "compile.groups"):
            patch.setattr(f"translatekit_tools.{module}.load_network", load)
        yield


def same(path: Path, spec: ImageSpec, output: ImageSpec | None = None) -> Path:
    """A model file of a network that gives back what it gets, through a convolution."""
    info = ModelInfo(method="test", generator="same", input=spec, output=output or spec, size=8)
    save_model(path, {"weight": torch.zeros(1)}, info)
    return path


Opened = Callable[[str, int, str], Translator]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The identity of a kind of images and a number of channels, in a backend."""
    folder = tmp_path_factory.mktemp("same")

    @cache
    def file(kind: str, channels: int, suffix: str) -> Path:
        path = folder / f"{kind}{channels}{suffix}"
        if suffix == ".safetensors":
            return same(path, SPECS[kind](channels))
        source = file(kind, channels, ".safetensors" if suffix == ".onnx" else ".onnx")
        assert compile_model(source, path).parity["psnr"] > 110
        return path

    @cache
    def open_one(kind: str, channels: int, suffix: str) -> Translator:
        return translatekit.load(file(kind, channels, suffix), "cpu")

    return open_one


def image(kind: str, channels: int, seed: int, height: int, width: int) -> np.ndarray:
    """Random levels or values of the whole range, both ends of it included."""
    spec, random = SPECS[kind](channels), np.random.default_rng(seed)
    most = {"uint8": 255, "uint16": 65535, "values": 2**20}[kind]
    steps = random.integers(0, most + 1, (1, height, width, channels))
    steps[0, 0, 0], steps[0, 0, 1] = 0, most
    if kind == "uint8":
        return steps.astype(np.uint8)
    low, high = np.array(spec.low), np.array(spec.high)
    return (steps / most * (high - low) + low).astype(np.float32)


QUICK = [("uint8", 3), ("uint16", 4), ("values", 1), ("values", 13)]
"""Of the compiled ones: each is exported, which takes seconds."""

CASES = [
    pytest.param(
        kind,
        channels,
        suffix,
        marks=() if suffix == ".safetensors" or (kind, channels) in QUICK else pytest.mark.slow,
    )
    for kind in SPECS
    for channels in CHANNELS
    for suffix in (".safetensors", ".onnx", ".xml")
]


@pytest.mark.parametrize(("kind", "channels", "suffix"), CASES)
@settings(
    max_examples=8,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 2**32 - 1), height=st.integers(2, 9), width=st.integers(2, 9), tile=st.integers(3, 9)
)
def test_what_goes_in_comes_out(
    opened: Opened, kind: str, channels: int, suffix: str, seed: int, height: int, width: int, tile: int
) -> None:
    translator, given_ = opened(kind, channels, suffix), image(kind, channels, seed, height, width)
    tiled = TiledTranslator(translator, tile)
    spec = translator.info.output
    ranges = np.array(spec.high) - np.array(spec.low) if kind != "uint8" else np.ones(1)
    for output in (translator(given_), tiled(given_)):
        assert (output.shape, output.dtype) == (given_.shape, given_.dtype)
        error = np.abs(output.astype(np.float64) - given_.astype(np.float64)) / ranges
        assert error.max() <= (0 if kind == "uint8" else 1 / 65535)
