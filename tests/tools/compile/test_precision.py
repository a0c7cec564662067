"""Compiled files on processors that are slow in what they were compiled for."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.backends.openvino import speeds as openvino_speeds
from translatekit_tools.backends.openvino.ir_file import read_info, write_info
from translatekit_tools.compile import compile_model

import translatekit
from tests.tools.compile.conftest import Compiled
from translatekit import precision
from translatekit.errors import OptionError, TranslatekitWarning

QUICK = {"fp32": 2.0, "bf16": 1.0, "int8": 0.5}
SLOW = {"fp32": 1.0, "bf16": 2.6, "int8": 1.9}
NONE = {"fp32": 1.0, "int8": 1.0}

IN_THIS_ISA = """
import json, sys
from translatekit_tools.backends.openvino.speeds import openvino_speeds
assert "torch" not in sys.modules
print(json.dumps(dict(openvino_speeds().seconds)))
"""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """What the probe is going to find: to be filled in."""
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "_MEASURED", {})
    found: dict[str, float] = {}

    def measure() -> dict[str, float]:
        assert found, "measured where it is not needed"
        return found

    monkeypatch.setattr(openvino_speeds, "_measure", measure)
    return found


def made_for(name: str, compiled: Compiled, folder: Path) -> Path:
    """A file as it comes from a machine that computes in that precision; the graph is the same for all but int8."""
    source, path = compiled("unet per_image", ".xml").path, folder / f"{name}.xml"
    shutil.copy(source, path)
    shutil.copy(source.with_suffix(".bin"), path.with_suffix(".bin"))
    info = read_info(path)
    write_info(path, dataclasses.replace(info, compiled={**info.compiled, "precision": name}))
    return path


def hint(translator: Any) -> str:
    """What OpenVINO was told to compute in."""
    model = translator._request.get_compiled_model()
    return str(model.get_property("INFERENCE_PRECISION_HINT").to_string())


def test_a_file_for_fp32_needs_no_measurement(compiled: Compiled, measured: dict[str, float]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=TranslatekitWarning)
        assert hint(translatekit.load(compiled("unet per_image", ".xml").path)) == "f32"


@pytest.mark.parametrize(
    ("found", "why"), [(SLOW, "bf16 takes 2.6 times as long as fp32"), (NONE, "does not compute in bf16")]
)
def test_where_bf16_is_slow_or_missing_fp32_is_taken_and_said(
    found: dict[str, float], why: str, compiled: Compiled, measured: dict[str, float], tmp_path: Path
) -> None:
    measured.update(found)
    path = made_for("bf16", compiled, tmp_path)
    with pytest.warns(TranslatekitWarning, match=rf"{why}.*: .*bf16\.xml is run in fp32"):
        translator = translatekit.load(path)
    assert hint(translator) == "f32"
    image = np.full((1, 64, 64, 3), 100, np.uint8)
    expected = translatekit.load(compiled("unet per_image", ".xml").path)(image)
    np.testing.assert_array_equal(translator(image), expected)


def test_fp32_may_be_asked_for(compiled: Compiled, measured: dict[str, float], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=TranslatekitWarning)
        assert hint(translatekit.load(made_for("bf16", compiled, tmp_path), precision="fp32")) == "f32"


def test_what_is_missing_cannot_be_asked_for(
    compiled: Compiled, measured: dict[str, float], tmp_path: Path
) -> None:
    measured.update(NONE)
    with pytest.raises(OptionError, match="does not compute in bf16: pass --precision fp32"):
        translatekit.load(made_for("bf16", compiled, tmp_path), precision="bf16")


@pytest.mark.parametrize("found", [QUICK, SLOW])
def test_bf16_where_the_processor_has_it(
    found: dict[str, float], compiled: Compiled, measured: dict[str, float], tmp_path: Path
) -> None:
    from translatekit_tools.backends.openvino.core import CORE

    if "BF16" not in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES") or "AVX2" in os.environ.get(
        "ONEDNN_MAX_CPU_ISA", ""
    ):
        pytest.skip("this processor has no bf16, not even a slow one")
    measured.update(found)
    path = made_for("bf16", compiled, tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert hint(translatekit.load(path, precision="bf16")) == "bf16"
    slow = [str(warning.message) for warning in said if warning.category is TranslatekitWarning]
    assert len(slow) == (found is SLOW)
    assert all(
        "bf16 takes 2.6 times as long" in text and "--precision fp32 is quicker" in text for text in slow
    )
    if found is QUICK:
        assert hint(translatekit.load(path)) == "bf16"


def test_slow_int8_is_said_when_run(compiled: Compiled, measured: dict[str, float], tmp_path: Path) -> None:
    measured.update(SLOW)
    path = made_for("int8", compiled, tmp_path)
    with pytest.warns(
        TranslatekitWarning, match=r"int8 takes 1.9 times .*: a model compiled for fp32 is quicker"
    ):
        translatekit.load(path)
    with pytest.raises(OptionError, match="was compiled for int8, not fp32"):
        translatekit.load(path, precision="fp32")


def test_and_when_compiled_before_it_takes_minutes(
    compiled: Compiled,
    measured: dict[str, float],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Reached(Exception):  # noqa: N818
        pass

    def quantize(*_: Any) -> None:
        raise Reached

    monkeypatch.setattr("translatekit_tools.backends.openvino.compiler._quantize", quantize)
    measured.update(SLOW)
    given: dict[str, Any] = {"precision": "int8", "calibrate": str(photos), "check": str(photos)}
    with (
        pytest.warns(TranslatekitWarning, match="int8 takes 1.9 times as long as fp32"),
        pytest.raises(Reached),
    ):
        compile_model(compiled("unet running", ".onnx").path, tmp_path / "model.xml", **given)


@pytest.mark.parametrize("isa", ["", "AVX512_CORE", "AVX2"])
def test_openvino_is_measured_on_this_processor_and_on_lesser_ones(isa: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TRANSLATEKIT_CACHE": str(tmp_path)}
    environment |= {"ONEDNN_MAX_CPU_ISA": isa} if isa else {}
    done = subprocess.run(
        [sys.executable, "-c", IN_THIS_ISA], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    speeds = precision.Speeds("openvino", json.loads(done.stdout))
    flags = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    isa = isa or os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    if isa == "AVX2" or (flags and "avx512f" not in flags and "avx_vnni" not in flags):
        assert not speeds.supports("bf16")
    elif "avx512_bf16" in flags:
        assert speeds.is_quick("bf16") == (isa != "AVX512_CORE")
        assert (speeds.slowness("bf16") is None) == (isa != "AVX512_CORE")
    if "avx512_vnni" in flags and not isa:
        assert speeds.is_quick("int8")


def test_a_run_says_it_in_one_line(compiled: Compiled, photos: Path, tmp_path: Path) -> None:
    model = made_for("bf16", compiled, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "translatekit", "run", photos, "-m", model, "-o", tmp_path / "out"],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    warned = [line for line in done.stderr.splitlines() if line.startswith("Warning: ")]
    assert warned == [
        f"Warning: this processor does not compute in bf16: {model} is run in fp32, which is nearer to the model it "
        "was made from"
    ]
