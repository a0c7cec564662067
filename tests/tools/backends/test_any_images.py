"""Images of any kind through an identity network: what goes in comes out, in every backend, whole and tiled."""

from __future__ import annotations

import itertools
import warnings
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
from tests.matrix import combinations
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, levels_spec
from translatekit.inference.tiles import TiledTranslator
from translatekit.interfaces import Translator
from translatekit.model_file import read_any_info, read_info, save_model
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


COMPILED = [("uint8", 3), ("uint16", 4), ("values", 1), ("values", 13)]
FEW = [
    *itertools.product(SPECS, CHANNELS, (".safetensors",)),
    *((*case, suffix) for case in COMPILED for suffix in (".onnx", ".xml")),
]
"""Each of the compiled ones is exported, which takes seconds."""


@pytest.mark.parametrize(
    ("kind", "channels", "suffix"),
    combinations(SPECS, CHANNELS, (".safetensors", ".onnx", ".xml"), few=FEW),
)
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


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The identity of one channel in HU, by suffix; it was compiled as what is lossless."""
    folder = tmp_path_factory.mktemp("scan")
    paths = {".safetensors": same(folder / "scan.safetensors", HOUNSFIELD)}
    paths[".onnx"] = compile_model(paths[".safetensors"], folder / "scan.onnx").path
    paths[".xml"] = compile_model(paths[".onnx"], folder / "scan.xml").path
    return paths


SUFFIXES = (".safetensors", ".onnx", ".xml")
EXACT_IN_HALF = np.array([-1024.0, 1023.5, 3071.0, 2047.25], np.float32).reshape(1, 2, 2, 1)
"""-1, 0, 1 and 0.5 to the network; fp16 has neither 3071 nor 2047.25, bf16 none but the first."""


def test_the_header_and_the_report_say_what_a_graph_takes(scan: dict[str, Path], tmp_path: Path) -> None:
    info = read_any_info(scan[".xml"])
    assert info.compiled["dtype"] == read_any_info(scan[".onnx"]).compiled["dtype"] == "float32"
    assert (info.input, info.output) == (HOUNSFIELD, HOUNSFIELD)
    parity = info.compiled["parity"]
    assert parity["unit"] == "HU"
    assert parity["psnr"] > 110
    assert 0 <= parity["mean_error"] <= parity["max_error"] < 4095 / 65535
    report = compile_model(same(tmp_path / "rgb.safetensors", RGB), tmp_path / "rgb.onnx", dtype="float32")
    assert report.details["dtype"] == "float32"
    assert report.parity["unit"] == "levels of 255"
    assert translatekit.load(report.path).dtypes == ("uint8", "float32")  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_values_are_float32_and_finite(scan: dict[str, Path], suffix: str) -> None:
    translator = translatekit.load(scan[suffix], "cpu")
    assert translator.dtypes == ("float32",)  # type: ignore[attr-defined]
    with pytest.raises(
        DataError, match=r"takes float32 arrays \(N, H, W, 1\), which are 1 channel \(CT\) of int16"
    ):
        translator(np.zeros((1, 4, 4, 1), np.uint8))
    for wrong in (np.nan, np.inf, -np.inf):
        batch = np.zeros((1, 4, 4, 1), np.float32)
        batch[0, 1, 2] = wrong
        with pytest.raises(DataError, match="hold NaN or infinite values"):
            translator(batch)
    beyond = translator(np.array([-5000, 5000], np.float32).reshape(1, 1, 2, 1))
    assert beyond.flatten().tolist() == [-1024, 3071]


def test_a_graph_of_8_bits_is_refused_where_it_would_leave_nothing(
    scan: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"takes 1 channel .* of which uint8 would leave nothing"):
        compile_model(scan[".safetensors"], tmp_path / "x.onnx", dtype="uint8")
    with pytest.raises(OptionError, match="takes float32 already, not uint8: leave out --dtype"):
        compile_model(scan[".onnx"], tmp_path / "x.xml", dtype="uint8")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_header_that_lies_about_the_dtype_is_refused(
    scan: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    for file in scan[".xml"].parent.glob("scan.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(path.read_bytes().replace(b"float32", b"uint8  ").replace(b'"uint8  "', b'"uint8"  '))
    path.write_bytes(path.read_bytes().replace(b"&quot;uint8  &quot;", b"&quot;uint8&quot;  "))
    with pytest.raises(ModelFileError, match="compile the model again"):
        translatekit.load(path, "cpu")


def test_the_codec_stays_in_float32_where_the_network_is_in_half(
    scan: dict[str, Path], tmp_path: Path
) -> None:
    half = compile_model(scan[".safetensors"], tmp_path / "half.onnx", precision="fp16")
    translators = [
        translatekit.load(half.path, "cpu"),
        translatekit.load(scan[".safetensors"], "cpu", "bf16"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            bf16 = compile_model(scan[".onnx"], tmp_path / "half.xml", precision="bf16")
            translators.append(translatekit.load(bf16.path, "cpu", "bf16"))
        except OptionError:  # a CPU that does not compute in it
            pass
    for translator in translators:
        np.testing.assert_allclose(translator(EXACT_IN_HALF), EXACT_IN_HALF, atol=0.01)
    assert half.parity["max_error"] < 1


@pytest.mark.slow
def test_int8_between_float32_ends(scan: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    report = compile_model(scan[".onnx"], tmp_path / "int8.xml", precision="int8")
    assert (report.details["dtype"], report.parity["unit"]) == ("float32", "HU")
    assert report.parity["psnr"] >= 30
    output = translatekit.load(report.path, "cpu")(EXACT_IN_HALF)
    assert output.dtype == np.float32
    assert output.min() >= -1024  # what lies beyond the images that it was calibrated on ends where those end
    assert output.max() <= 3071


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx"])
def test_class_numbers_in_and_out(tmp_path: Path, suffix: str) -> None:
    path = same(tmp_path / "city.safetensors", CITY)
    if suffix != ".safetensors":
        path = compile_model(path, tmp_path / "city.onnx").path
    translator = translatekit.load(path, "cpu")
    classes = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), (2, 9, 11, 1))
    for output in (
        translator(classes),
        TiledTranslator(translator, 4)(classes),
        translator(classes.astype(np.float32)),
    ):
        assert output.dtype == np.uint8
        np.testing.assert_array_equal(output, classes)


def test_class_numbers_become_levels_of_either_depth(tmp_path: Path) -> None:
    translator = translatekit.load(same(tmp_path / "city.safetensors", CITY, RGB), "cpu")
    classes = np.array([0, 7, 255], np.uint8).reshape(1, 1, 3, 1)
    colours = np.array([[255, 128, 128], [128, 255, 128], [128, 128, 255]], np.uint8)
    np.testing.assert_array_equal(translator(classes)[0, 0], colours)
    fine = translator(classes.astype(np.float32))
    assert fine.dtype == np.float32
    np.testing.assert_allclose(fine[0, 0], np.where(colours == 255, 1, 0.5))


def test_photographs_become_values(tmp_path: Path) -> None:
    source = same(tmp_path / "photo.safetensors", GRAY, HOUNSFIELD)
    for path in (source, compile_model(source, tmp_path / "photo.onnx").path):
        translator = translatekit.load(path, "cpu")
        output = translator(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1))
        assert (output.dtype, output.flatten().tolist()) == (np.float32, [-1024, 3071])
    eight = compile_model(source, tmp_path / "eight.onnx", dtype="uint8")
    translator = translatekit.load(eight.path, "cpu")
    assert translator.dtypes == ("uint8",)  # type: ignore[attr-defined]
    output = translator(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1))
    assert (output.dtype, output.flatten().tolist()) == (np.float32, [-1024, 3071])


@pytest.mark.parametrize(
    "channels", [1, *(pytest.param(count, marks=pytest.mark.matrix) for count in (4, 13))]
)
def test_tensorrt_rtx_builds_engines_of_float32(tmp_path: Path, channels: int) -> None:
    pytest.importorskip("tensorrt_rtx")
    import onnx
    from translatekit_tools.backends.tensorrt.engine_file import graph_path

    spec = values_spec(channels)
    report = compile_model(
        same(tmp_path / "same.safetensors", spec),
        tmp_path / "same.engine",
        flavour="tensorrt-rtx",
        target="8.9",
    )
    info = read_any_info(report.path)
    assert (info.compiled["dtype"], info.input, info.output) == ("float32", spec, spec)
    assert report.parity["psnr"] > 110
    graph = onnx.load(str(graph_path(report.path))).graph
    ends = [end.type.tensor_type for end in (*graph.input, *graph.output)]
    assert [end.elem_type for end in ends] == [onnx.TensorProto.FLOAT] * 2
    assert [end.shape.dim[3].dim_value for end in ends] == [channels] * 2
