"""The precision of a run: chosen once, noted down and kept, and said where it is slow."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import TINY
from translatekit import precision, train
from translatekit.config import RunConfig
from translatekit.errors import OptionError

SHORT: dict[str, Any] = {
    **{name: value for name, value in TINY.items() if name != "precision"},
    "max_steps": 1,
    "validate_every": 0,
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float]:
    """Seconds by precision, as a probe of another machine finds them: to be changed."""
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    seconds = {"fp32": 2.0, "bf16": 1.0}

    def speeds() -> precision.Speeds:
        return precision.Speeds("torch 3.0", seconds)

    monkeypatch.setattr(precision, "torch_speeds", speeds)
    monkeypatch.setattr("translatekit.training.setup.torch_speeds", speeds)
    return seconds


def kept(run: Path) -> str:
    return RunConfig.from_toml(run / "config.toml").options.precision


def test_auto_takes_what_is_quick_says_so_and_is_kept(
    machine: dict[str, float], pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT)
    assert "training in bf16, measured to be 2.0 times as quick as fp32" in capsys.readouterr().err
    assert kept(run) == "bf16"

    machine["bf16"] = 86.0  # it goes on elsewhere
    for given in ({}, {"precision": "auto"}):
        train(resume=run, **{"max_steps": 2, **given})
        assert kept(run) == "bf16"
    assert "bf16 takes 43 times as long as fp32" in capsys.readouterr().err

    again = train(config=run / "config.toml", output=str(tmp_path / "again"))
    said = capsys.readouterr().err
    assert kept(again) == "bf16"
    assert said.count("bf16 takes 43 times as long as fp32 on this processor") == 1
    assert "--precision fp32 is quicker" in said

    train(resume=run, precision="fp32", max_steps=3)
    assert "bf16" not in capsys.readouterr().err


def test_auto_on_a_machine_that_is_slow_in_bf16(
    machine: dict[str, float], pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine["bf16"] = 86.0
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT)
    assert kept(run) == "fp32"
    assert "bf16" not in capsys.readouterr().err
    machine["bf16"] = 1.0  # it goes on where bf16 is quick
    train(resume=run, max_steps=2)
    assert "bf16" not in capsys.readouterr().err


def test_fp16_on_a_cpu_is_refused_before_anything_is_written(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU: pass --precision bf16 or fp32 on the CPU"):
        train("pix2pix", pairs, output=str(tmp_path / "run"), precision="16-mixed", **SHORT)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_a_gradient_penalty_in_bf16(name: str, pairs: Path, unpaired: Path, tmp_path: Path) -> None:
    """It takes gradients of gradients, which Fabric allows of nothing that it wrapped for another precision."""
    networks = {"generator": "unet", "discriminator_options": {"layers": 1, "width": 4, "norm": "none"}}
    options = {**SHORT, **networks, "adversarial": "wgangp"}
    data = pairs if name == "pix2pix" else unpaired
    run = train(name, data, output=str(tmp_path / "run"), precision="bf16", **options)
    assert (run / "model.safetensors").is_file()


ONE_OF_TWO = """
import os, sys
import translatekit
from translatekit.errors import TrainingError
from translatekit.training import setup

setup.choose_for_training = lambda device: "bf16" if os.environ["LOCAL_RANK"] == "0" else "fp32"
try:
    translatekit.train(
        "pix2pix", sys.argv[1], output=sys.argv[2], devices="2", strategy="ddp", accelerator="cpu"
    )
except TrainingError as error:
    print(error)
"""


def test_processes_on_machines_of_two_kinds_do_not_mix_precisions(pairs: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = tmp_path / "program.py"
    program.write_text(ONE_OF_TWO)
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, program, pairs, tmp_path / "run"],
            env={**environment, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        for process in processes:
            said = process.communicate(timeout=120)[0]
            assert "the processes of this run would compute in bf16 and fp32: pass --precision fp32" in said
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert not (tmp_path / "run").exists()
