"""Several processes that train one model: no rank waits for ever, and one sentence says why a run ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import TINY
from translatekit.model_file import read_info
from translatekit.training.checkpoint import load_checkpoint

# Trains again and again, as a user's script may; every rank runs it.
SCRIPT = """
import json, sys
import translatekit
for arguments, options in json.loads(sys.argv[1]):
    translatekit.train(*arguments, devices="2", **options)
"""

# The program itself, on whose ranks something goes wrong.
FAULTY = """
import os, resource, signal, sys, time
from pathlib import Path

import torch
from translatekit.errors import DataError
from translatekit_pix2pix.method import Pix2Pix

rank = int(os.environ.get("LOCAL_RANK", "0"))
notes, at, fault, *sys.argv[1:] = sys.argv[1:]
Path(notes, f"{rank}.pid").write_text(str(os.getpid()))
step, done = Pix2Pix.step, 0

def faulty(self, batch):
    global done
    done += 1
    losses = step(self, batch)
    if done == 3:
        Path(notes, f"{rank}.ready").touch()
        if str(rank) == at:
            if fault == "bug":
                raise KeyError("something unforeseen")
            if fault == "refusal":
                raise DataError("the disk of the images is gone: mount it")
            if fault == "nan":
                losses["G_L1"] = losses["G_L1"] * float("nan")
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "hangs":
                os.kill(os.getpid(), signal.SIGSTOP)
            if fault == "full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return losses

Pix2Pix.step = faulty
from translatekit.cli import main
main()
"""

FLAGS = [
    *("--load-size", "36", "--crop-size", "32", "--accelerator", "cpu", "--log-every", "2", "--devices", "2"),
    *("-G", "depth=5", "-G", "width=4", "-D", "layers=1", "-D", "width=4"),
]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_every_method_trains_on_two_devices_by_itself(
    pairs: Path, unpaired: Path, labelled: Path, tmp_path: Path
) -> None:
    small: dict[str, Any] = {**TINY, "epochs": 1, "epochs_decay": 0}
    runs = []
    for norm in ("batch", "instance", "none"):
        networks = {"discriminator_options": {"layers": 1, "width": 4, "norm": norm}}
        for method, data, generator in (
            ("pix2pix", pairs, {"depth": 5, "width": 4, "norm": norm}),
            ("cyclegan", unpaired, {"blocks": 1, "width": 4, "norm": norm}),
            ("cgan", labelled, {"width": 4}),
        ):
            if method == "cgan" and norm != "batch":
                continue  # its networks have no such choice
            own = {"discriminator_options": {"width": 4}, "batch_size": 2} if method == "cgan" else networks
            output = str(tmp_path / f"{method}-{norm}")
            options = {**small, "generator_options": generator, **own, "output": output}
            runs.append(([method, str(data)], options))
    program = tmp_path / "many.py"
    program.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, program, json.dumps(runs)],
        capture_output=True, text=True, timeout=240, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for _, options in runs:
        run = Path(options["output"])
        step = read_info(run / "model.safetensors").step
        assert load_checkpoint(run / "checkpoints")["progress"]["step"] == step > 1
        assert list((run / "samples").glob("*.png"))
    assert not re.search(r"(?i)warning|deprecated|distributed_backend|\[W", done.stderr), done.stderr


def start(notes: Path, rank: int, fault: str, *arguments: str) -> subprocess.Popen[str]:
    program = notes / "faulty.py"
    program.write_text(FAULTY)
    return subprocess.Popen(
        [sys.executable, program, notes, str(rank), fault, "train", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def await_file(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def assert_nobody_is_left(notes: Path) -> None:
    end = time.monotonic() + 20
    for path in notes.glob("*.pid"):
        while is_running(int(path.read_text())):
            assert time.monotonic() < end, f"{path.stem} is still there"
            time.sleep(0.05)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("rank", "fault", "sentence"),
    [
        (1, "bug", r"Error: rank 1 failed \(KeyError: 'something unforeseen'\), which ended the training"),
        pytest.param(
            1, "killed", r"Error: rank 1 was ended by SIGKILL, perhaps for want of memory, which ended",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            1, "refusal", r"Error: rank 1 failed \(the disk of the images is gone: mount it\)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            0, "refusal", r"Error: the disk of the images is gone: mount it", marks=pytest.mark.matrix
        ),
        pytest.param(1, "nan", r"Error: the loss G_L1 is nan at step 3: start", marks=pytest.mark.slow),
        pytest.param(0, "killed", r"Error: rank 0 was ended from outside", marks=pytest.mark.slow),
        pytest.param(
            1, "hangs", r"Error: rank 1 did not answer within 0.4 minutes", marks=pytest.mark.slow
        ),
        pytest.param(
            0, "hangs", r"Error: rank 0 did not answer within 0.4 minutes", marks=pytest.mark.matrix
        ),
        pytest.param(0, "full", r"Error: .*: free some space", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_rank_that_fails_ends_the_run_and_is_named(
    pairs: Path, tmp_path: Path, rank: int, fault: str, sentence: str
) -> None:
    run = tmp_path / "run"
    more = ["--process-timeout", "0.4"] if fault == "hangs" else []
    process = start(tmp_path, rank, fault, "pix2pix", str(pairs), *FLAGS, "-o", str(run), *more)
    _, errors = process.communicate(timeout=120)
    killed = rank == 0 and fault in ("killed", "hangs")
    assert process.returncode == (-signal.SIGKILL if killed else 1), errors
    assert len(re.findall("(?m)^Error:", errors)) == 1, errors
    assert re.search(sentence, errors), errors
    assert ("Traceback" in errors) == (fault == "bug"), errors
    if fault not in ("nan", "full") and (rank, fault) != (0, "refusal"):
        assert f"go on with translatekit train --resume {run}" in errors
    assert load_checkpoint(run / "checkpoints")["progress"]["step"] == 1
    assert not list(run.rglob("*.tmp")) or killed
    assert_nobody_is_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.matrix)])
def test_the_first_signal_saves_on_every_rank(pairs: Path, tmp_path: Path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = start(tmp_path, 9, "none", "pix2pix", str(pairs), *FLAGS, "-o", str(run))
    await_file(tmp_path / "0.ready", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "Error" not in errors
    assert f"go on with translatekit train --resume {run}" in errors
    stopped = int(errors.split("saved at step ")[1].split(";")[0])
    state = load_checkpoint(run / "checkpoints")
    assert state["progress"]["step"] == stopped
    assert len(state["ranks"]) == 2
    assert_nobody_is_left(tmp_path)


@pytest.mark.slow
def test_the_second_signal_ends_at_once_though_a_rank_keeps_the_others_waiting(
    pairs: Path, tmp_path: Path
) -> None:
    process = start(tmp_path, 1, "hangs", "pix2pix", str(pairs), *FLAGS, "-o", str(tmp_path / "run"))
    await_file(tmp_path / "1.ready", process)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert process.poll() is None, "the first lets the step end"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    assert_nobody_is_left(tmp_path)
