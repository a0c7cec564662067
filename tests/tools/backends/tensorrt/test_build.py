"""Building engines: what TensorRT is asked for, what is kept, and what is told when it fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.backends.tensorrt.compiler import check_version, timing_cache_path
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu
from translatekit_tools.backends.tensorrt.engine_file import read_engine, read_header
from translatekit_tools.backends.tensorrt.flavour import RTX

from tests.tools.backends.tensorrt.conftest import RunPython
from tests.tools.backends.tensorrt.engines import COMPILE, write_graph
from translatekit.errors import OptionError

Build = Any


@pytest.fixture
def build(run_python: RunPython, tmp_path: Path) -> Build:
    write_graph(tmp_path / "graph.onnx")

    def run(
        options: dict[str, object] | None = None, **variables: object
    ) -> subprocess.CompletedProcess[str]:
        given = {
            "GRAPH": tmp_path / "graph.onnx",
            "OPTIONS": json.dumps(options or {}),
            "TRANSLATEKIT_CACHE": tmp_path,
        }
        done = run_python(COMPILE, tmp_path / "model.engine", **{**given, **variables})
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_an_engine_and_its_header(build: Build, tmp_path: Path) -> None:
    said = json.loads(build({"shapes": "8x8,4x4/8x8/16x16", "workspace": 0.5}).stdout)
    assert said["asked"] == ["fp16"]
    assert said["report"] == {
        "backend": "tensorrt",
        "flavour": "tensorrt",
        "precision": "fp16",
        "batch": [1, 2, 4],
        "shapes": ["8x8", "4x4 to 16x16"],
        "gpu": "Stub 0",
        "compute_capability": "9.0",
        "versions": {"tensorrt": "10.16.1.11", "driver": "13.0"},
    }
    header = read_header(tmp_path / "model.engine")
    assert (header.source, header.tensorrt, header.precision) == ("runs/maps", "10.16.1.11", "fp16")
    asked = json.loads(read_engine(tmp_path / "model.engine", header))
    assert asked["profiles"] == [
        [[1, 8, 8, 3], [2, 8, 8, 3], [4, 8, 8, 3]],
        [[1, 4, 4, 3], [2, 8, 8, 3], [4, 16, 16, 3]],
    ]
    assert asked["flags"] == 1 << 1  # strongly typed
    assert (asked["cleared"], asked["set"], asked["workspace"]) == (["TF32"], [], 2**29)


def test_progress_runs_from_nothing_to_half(build: Build) -> None:
    told = json.loads(build().stdout)["told"]
    assert told[0] == ["building", None]
    shares = [share for text, share in told if text == "Building"]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 0.5)
    assert len(shares) == 7


def test_an_interrupt_ends_the_build(build: Build, tmp_path: Path) -> None:
    assert build(STOP_AT=4).stdout == "interrupted\n"
    assert not (tmp_path / "model.engine").exists()


def test_timings_are_kept_for_the_next_build(build: Build, tmp_path: Path) -> None:
    cache = tmp_path / "tensorrt" / "Stub-0-9.0-10.16.1.11.timing"
    build()
    assert cache.read_bytes() == b"+"
    build()
    assert cache.read_bytes() == b"++"
    cache.write_bytes(b"foreign")
    build()
    assert cache.read_bytes() == b"+"
    build({"timing_cache": "none"})
    build({"timing_cache": str(tmp_path / "my.timing")})
    assert cache.read_bytes() == b"+"
    assert (tmp_path / "my.timing").read_bytes() == b"+"


def test_a_cache_that_cannot_be_written_does_not_matter(build: Build, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "report" in build(TRANSLATEKIT_CACHE=tmp_path / "file").stdout


def test_what_tensorrt_says_is_quoted(build: Build, tmp_path: Path) -> None:
    said = build(FAKE_FAILURE="no implementation for  node\nconv_7").stdout
    assert "refused: TensorRT 10.16.1.11 cannot build the model (no implementation for node conv_7): " in said
    said = build(FAKE_HOSTILE=1).stdout
    assert "does not understand the model (Unsupported operator: Hostile)" in said
    assert not (tmp_path / "model.engine").exists()


def test_a_graph_of_fixed_shape(build: Build) -> None:
    assert "report" in build(FAKE_INPUT="[-1, 8, 8, 3]").stdout
    said = build({"shapes": "12x8"}, FAKE_INPUT="[-1, 8, 8, 3]").stdout
    assert "exported for anyx8x8 and takes no 1x12x8 (images x width x height): leave out --shapes" in said


def test_another_gpu_may_be_named(run_on_stub: RunPython, tmp_path: Path) -> None:
    write_graph(tmp_path / "graph.onnx")
    given = {
        "GRAPH": tmp_path / "graph.onnx",
        "OPTIONS": json.dumps({"device": "cuda:1"}),
        "TRANSLATEKIT_CACHE": tmp_path,
    }
    said = json.loads(run_on_stub(COMPILE, tmp_path / "model.engine", **given).stdout)
    assert said["report"]["gpu"] == "Stub 1"


@pytest.mark.parametrize(("precision", "flags"), [("fp16", ["FP16"]), ("fp32", [])])
def test_version_8_5_is_asked_for_flags(
    build: Build, tmp_path: Path, precision: str, flags: list[str]
) -> None:
    assert json.loads(build({"precision": precision}, FAKE_TENSORRT="8.5.3.1").stdout)["asked"] == ["fp32"]
    asked = json.loads((tmp_path / "model.engine").read_bytes())
    assert (asked["flags"], asked["set"], asked["tactics"]) == (1, flags, 0b11000)


def test_a_model_file_becomes_an_engine(run_on_stub: RunPython, tmp_path: Path) -> None:
    """With the real source and options, up to where TensorRT takes over."""
    run_on_stub(
        """
import json, sys
from pathlib import Path
from translatekit.model_info import ModelInfo
from translatekit.model_file import save_model
from translatekit.networks.factory import make_generator
from translatekit.registry import registry
from translatekit_tools.backends.tensorrt.engine_file import read_header
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.compile.source import Source

folder = Path(sys.argv[1])
network = make_generator("unet", {"depth": 3, "width": 2}, in_channels=3, out_channels=3)
info = ModelInfo(
    method="test", generator="unet", generator_options=network.arguments, size=16, size_multiple=network.size_multiple
)
save_model(folder / "model.safetensors", network.state_dict(), info)
source = Source(folder / "model.safetensors")
compile = registry("backend").get("tensorrt").load_compiler()
for precision in ("bf16", "fp16"):
    compile(source, folder / "model.engine", CompileOptions(precision=precision), lambda *_: None)
    header = read_header(folder / "model.engine")
    assert (header.precision, header.info.generator, header.source) == (precision, "unet", str(source.path))
    plan = json.loads((folder / "model.engine").read_bytes())
    assert plan["profiles"] == [[[1, 16, 16, 3], [8, 16, 16, 3], [32, 16, 16, 3]]]
""",
        tmp_path,
        TRANSLATEKIT_CACHE=tmp_path,
    )


def test_versions() -> None:
    assert check_version("10.0.1", "bf16")
    assert check_version("11.4.0.106", "bf16")
    assert not check_version("8.5.3.1", "fp16")
    with pytest.raises(OptionError, match=r"8\.5\.3\.1 builds no bf16: pass --precision fp16"):
        check_version("8.5.3.1", "bf16")
    for version in ("8.4.3.1", "8.6.1", "9.3.0"):
        with pytest.raises(OptionError, match=f"TensorRT {version} is not supported"):
            check_version(version, "fp32")
    assert check_version("1.7.1.116", "bf16", RTX)
    with pytest.raises(OptionError, match=r"TensorRT-RTX 1\.6\.0\.1 is not supported: run pip install -U"):
        check_version("1.6.0.1", "fp32", RTX)


def test_the_timing_cache_is_one_of_its_gpu_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(0, "NVIDIA H200/PCIe", "9.0", 0, "13.0")
    monkeypatch.setenv("TRANSLATEKIT_CACHE", "/caches")
    path = Path("/caches/tensorrt/NVIDIA-H200-PCIe-9.0-11.4.0.106.timing")
    assert timing_cache_path(None, gpu, "11.4.0.106") == path
    assert timing_cache_path("none", gpu, "11.4.0.106") is None
    assert timing_cache_path("~/a", gpu, "") == Path.home() / "a"
