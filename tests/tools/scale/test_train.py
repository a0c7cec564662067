"""Training on a Ray cluster of this machine alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from translatekit_tools.scale import train as scale_train
from translatekit_tools.scale.options import Workers
from translatekit_tools.scale.train import Board, train_on

from tests.training.conftest import draw_pairs
from translatekit.errors import OptionError

FLAGS = [
    *(
        "--load-size",
        "36",
        "--crop-size",
        "32",
        "--accelerator",
        "cpu",
        "--precision",
        "fp32",
        "--log-every",
        "2",
    ),
    *("-G", "depth=5", "-G", "width=4", "-D", "layers=1", "-D", "width=4", "--validate-every", "0"),
    *("--epochs", "8", "--epochs-decay", "0", "--checkpoint-every", "5", "--checkpoint-minutes", "0"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    draw_pairs(root / "train", 8)
    return root


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "translatekit", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **environment},
    )  # fmt: skip


def losses(run: Path) -> list[Any]:
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(entry["step"], entry["losses"]) for entry in entries if entry["kind"] == "train"]


def workers(mark: str) -> list[int]:
    """Ray's processes that train, of the cluster whose programs have `mark` in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title, environment = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
        except OSError:
            continue
        if b"RayTrainWorker" in title and mark.encode() in environment:
            found.append(int(place.name))
    return found


@pytest.mark.slow
def test_a_process_that_is_killed_changes_nothing(images: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray.train")
    alone, together, mark = tmp_path / "alone", tmp_path / "together", uuid.uuid4().hex
    train = start("train", "pix2pix", str(images), *FLAGS, "--devices", "2", "-o", str(alone))
    _, errors = train.communicate(timeout=300)
    assert train.returncode == 0, errors
    process = start(
        "train-on", "ray", "--processes", "2", "pix2pix", str(images), *FLAGS, "-o", str(together), TEST_MARK=mark
    )  # fmt: skip
    end = time.monotonic() + 240
    while not (together / "metrics.jsonl").exists() or len(losses(together)) < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
    os.kill(random.Random(0).choice(workers(mark)), signal.SIGKILL)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert said == f"{together}\n"
    assert errors.count("pix2pix with unet on 8 images: 32 steps") == 2, errors
    assert losses(together) == losses(alone)
    one, other = (load_file(run / "model.safetensors") for run in (alone, together))
    assert all(one[key].equal(other[key]) for key in one)


@pytest.mark.slow
def test_what_a_process_refuses_is_said_once_and_not_tried_again(images: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray.train")
    run = tmp_path / "run"
    command = ["train-on", "ray", "--processes", "2", "pix2pix", str(images), *FLAGS, "-o", str(run)]
    process = start(*command, "--crop-size", "33")
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert not said
    assert errors.count("Error:") == 1
    assert "Error: unet needs sides that are multiples of 32, got 33x33" in errors
    assert "Traceback" not in errors


def test_a_run_needs_a_place_that_all_nodes_reach() -> None:
    pytest.importorskip("ray")
    with pytest.raises(OptionError, match="pass -o with a shared folder or an address, or --resume"):
        train_on("ray", Workers(2, 2), ["pix2pix", "images"])


def test_a_place_may_be_written_together_with_its_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")

    def connected(address: str) -> None:
        raise OptionError("the place was understood")

    monkeypatch.setattr(scale_train, "connected", connected)
    with pytest.raises(OptionError, match="the place was understood"):
        train_on("ray", Workers(2, 2), ["pix2pix", "images", "-oruns/shared"])


def test_a_training_that_is_lost_at_the_same_step_is_given_up() -> None:
    board = Board()
    assert [board.start(step) for step in (-1, 5, 5, 10, 10, 10)] == [0, 1, 2, 3, 4, 5]
    assert not board.refused()
    board.start(10)
    assert board.refused() == {0: "a process was lost 4 times at step 10: see Ray's logs for what ends it"}
