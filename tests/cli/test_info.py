"""``translatekit info``: the header of a model file, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.fakes import run_program, run_python
from translatekit.image_spec import ImageSpec
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo

INFO = ModelInfo(
    method="cyclegan",
    generator="resnet",
    generator_options={"blocks": 6, "norm": "instance"},
    metrics={"l1": 0.3512345},
    classes=("cat", "dog"),
    step=1234,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with two generators."""
    for name, direction in (("model", "AtoB"), ("model-BtoA", "BtoA")):
        info = ModelInfo(
            **{**{f: getattr(INFO, f) for f in INFO.__dataclass_fields__}, "direction": direction}
        )
        save_model(tmp_path / f"{name}.safetensors", {"weight": torch.zeros(3)}, info)
    return tmp_path


def test_info_shows_what_matters(run: Path) -> None:
    result = run_program("info", str(run / "model.safetensors"))
    assert (result.returncode, result.stderr) == (0, "")
    words = result.stdout.split()
    for word in ("cyclegan", "resnet", "blocks", "6", "cat,", "dog", "1234", "0.3512", "AtoB"):
        assert word in words


def test_info_takes_a_runs_folder_and_a_direction(run: Path) -> None:
    main = json.loads(run_program("info", str(run), "--json").stdout)
    other = json.loads(run_program("info", str(run), "--direction", "BtoA", "--json").stdout)
    assert (main["direction"], other["direction"]) == ("AtoB", "BtoA")
    assert (main["other_directions"], other["other_directions"]) == (["BtoA"], ["AtoB"])
    file = json.loads(run_program("info", str(run / "model.safetensors"), "--json").stdout)
    assert file["other_directions"] == []
    assert other["file"] == str(run / "model-BtoA.safetensors")
    assert main["generator_options"] == {"blocks": 6, "norm": "instance"}


def test_info_says_which_images_a_model_takes_and_gives(tmp_path: Path) -> None:
    scan = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")
    path = tmp_path / "model.safetensors"
    save_model(path, {"weight": torch.zeros(3)}, ModelInfo(method="x", generator="y", output=scan))
    lines = [" ".join(line.split()) for line in run_program("info", str(path)).stdout.splitlines()]
    assert "input RGB of uint8" in lines
    assert "output 1 channel (CT) of int16, -1024 to 3071 HU" in lines
    header = json.loads(run_program("info", str(path), "--json").stdout)
    assert ImageSpec.from_fields(header["output"]) == scan
    assert (header["in_channels"], header["out_channels"]) == (3, 1)


def test_info_imports_no_torch(run: Path) -> None:
    code = (
        "import sys; from translatekit.cli import program\n"
        f"try: program.main(['info', {str(run)!r}])\n"
        "except SystemExit: print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert run_python("-c", code).stdout.splitlines()[-1] == "False False"


def test_info_refuses_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello, this is text")
    for path, sentence in (
        (tmp_path / "missing.safetensors", "there is no model"),
        (tmp_path / "text.safetensors", "is not a translatekit model file"),
        (tmp_path, "not a translatekit model file|holds no model"),
    ):
        result = run_program("info", str(path))
        assert result.returncode == 1
        assert result.stderr.startswith("Error: ")
        assert str(path) in result.stderr
        assert any(part in result.stderr for part in sentence.split("|"))
