"""Without a driver or a GPU: one clear sentence, and TensorRT is never reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.backends.tensorrt.conftest import RunPython
from tests.tools.backends.tensorrt.engines import COMPILE, write_engine

FIND = """
import sys
from translatekit.errors import OptionError
from translatekit_tools.backends.tensorrt.cuda.driver import find_gpu
try:
    print(find_gpu(sys.argv[1]))
except OptionError as error:
    print("refused:", error)
"""

LOAD = """
import sys
from pathlib import Path
from translatekit.errors import TranslatekitError
from translatekit_tools.backends.tensorrt.translator import load
try:
    load(Path(sys.argv[1]))
except TranslatekitError as error:
    print("refused:", error)
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A folder whose driver cannot be loaded, whatever the machine itself has."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "libcuda.so.1").write_bytes(b"not a library")
    return folder


def test_gpus_are_described(run_python: RunPython) -> None:
    for device in ("auto", "cuda", "cuda:0"):
        assert run_python(FIND, device).stdout == (
            "Gpu(index=0, name='Stub 0', compute_capability='9.0', memory=1073741824, driver='13.0')\n"
        )
    assert "Stub 1" in run_python(FIND, "cuda:1").stdout


def test_devices_that_are_not_there_are_named(run_python: RunPython) -> None:
    said = run_python(FIND, "cuda:2").stdout
    assert (
        said == "refused: the device 'cuda:2' is not available here: choose auto or one of cuda:0, cuda:1\n"
    )
    assert "run on an NVIDIA GPU, not on 'cpu': pass --device cuda" in run_python(FIND, "cpu").stdout


def test_a_missing_driver_is_told(run_python: RunPython, broken: Path) -> None:
    said = run_python(FIND, "auto", LD_LIBRARY_PATH=broken)
    assert said.stdout.startswith("refused: there is no NVIDIA driver here (libcuda.so.1 cannot be loaded"), (
        said
    )
    assert said.stdout.count("\n") == 1


@pytest.mark.parametrize("variables", [{"STUB_INIT": 100}, {"STUB_GPUS": 0}])
def test_a_driver_without_a_gpu_is_told(run_python: RunPython, variables: dict[str, int]) -> None:
    assert (
        "refused: the NVIDIA driver finds no GPU: look at nvidia-smi"
        in run_python(FIND, "auto", **variables).stdout
    )


def test_a_driver_that_does_not_start_is_told(run_python: RunPython) -> None:
    said = run_python(FIND, "auto", STUB_INIT=803).stdout
    assert "does not start (cuInit says CUDA_ERROR_SYSTEM_DRIVER_MISMATCH): look at nvidia-smi" in said
    assert "cuInit says error 9" in run_python(FIND, "auto", STUB_INIT=9).stdout


@pytest.mark.parametrize("without", ["driver", "gpu"])
@pytest.mark.parametrize("script", [LOAD, COMPILE], ids=["load", "compile"])
def test_tensorrt_is_not_reached_without_a_gpu(
    run_python: RunPython, broken: Path, tmp_path: Path, script: str, without: str
) -> None:
    engine = write_engine(tmp_path / "model.engine")
    place = {"LD_LIBRARY_PATH": broken} if without == "driver" else {"STUB_GPUS": 0}
    done = run_python(script, engine, FAKE_ABORT=1, **place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused: ")
    assert "NVIDIA driver" in done.stdout


def test_the_fake_tensorrt_would_abort_if_it_was_reached(run_python: RunPython, tmp_path: Path) -> None:
    assert run_python("import tensorrt", FAKE_ABORT=1).returncode != 0


def test_a_tensorrt_that_does_not_import_is_told(run_python: RunPython, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    )
    engine = write_engine(tmp_path / "model.engine")
    said = run_python(LOAD, engine, PYTHONPATH=tmp_path).stdout
    assert said == (
        "refused: TensorRT cannot be used (libnvinfer.so.10: cannot open shared object file): "
        "run pip install 'translatekit[tensorrt]'\n"
    )
