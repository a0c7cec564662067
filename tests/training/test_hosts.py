"""Training on several hosts, which are processes of one machine here: torchrun, SLURM's variables, restarts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import TINY
from tests.training.hosts import train_alike
from translatekit.training.checkpoint import load_checkpoint

REPOSITORY = Path(__file__).parents[2]
PROGRAM = REPOSITORY / "tests" / "training" / "hosts.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

Run = tuple[list[str], dict[str, Any]]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def torchrun(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **environment},
    )  # fmt: skip


def ended(processes: list[subprocess.Popen[str]], seconds: float = 240) -> list[str]:
    """What processes have written to stderr when they have ended well."""
    try:
        said = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), said
    return said


def on_two_hosts(runs: list[Run], folder: Path) -> list[str]:
    """Trainings on two hosts of two processes each, by torchrun."""
    program = folder / "runs.json"
    program.write_text(json.dumps(runs))
    place = ("--nnodes=2", "--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={free_port()}")
    return ended([torchrun(*place, f"--node-rank={node}", str(PROGRAM), str(program)) for node in (0, 1)])


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(run / "checkpoints")
    return {
        f"{network}.{key}": value
        for network, values in state["networks"].items()
        for key, value in values.items()
    }


def furthest(one: Path, other: Path) -> float:
    """The largest difference between the weights of two runs, of all of their networks."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return max((first[key].double() - second[key].double()).abs().max().item() for key in first)


@pytest.fixture(scope="module")
def twenty(pairs: Path, unpaired: Path, labelled: Path) -> list[Run]:
    """Twenty steps of four images by every method, without normalization."""
    patch = {"discriminator_options": {"layers": 1, "width": 4, "norm": "none"}}
    options = {
        **TINY,
        "max_steps": 20,
        "epochs": 20,
        "epochs_decay": 0,
        "validate_every": 0,
        "sample_every": 1000,
    }
    unet = {"depth": 5, "width": 4, "norm": "none", "dropout": 0}
    return [
        (["pix2pix", str(pairs)], {**options, **patch, "generator_options": unet}),
        (
            ["cyclegan", str(unpaired)],
            {
                **options,
                **patch,
                "generator_options": {"blocks": 1, "width": 4, "norm": "none"},
                "pool_size": 0,
            },
        ),
        (
            ["cgan", str(labelled)],
            {
                **options,
                "generator_options": {"width": 4, "norm": "none"},
                "discriminator_options": {"width": 4},
            },
        ),
    ]


def at(runs: list[Run], folder: Path, **more: Any) -> tuple[list[Run], list[Path]]:
    """The same trainings with further options and a folder each."""
    folders = [folder / arguments[0] for arguments, _ in runs]
    return [
        (arguments, {**options, **more, "output": str(path)})
        for (arguments, options), path in zip(runs, folders, strict=True)
    ], folders


def test_two_hosts_of_two_processes_train_as_one_process_on_four_times_the_batch(
    twenty: list[Run], tmp_path: Path
) -> None:
    one, alone = at(twenty, tmp_path / "alone", batch_size=4)
    train_alike(one)
    many, together = at(twenty, tmp_path / "together", batch_size=1)
    on_two_hosts(many, tmp_path)
    for first, second in zip(alone, together, strict=True):
        assert load_checkpoint(second / "checkpoints")["progress"]["step"] == 20
        assert len(load_checkpoint(second / "checkpoints")["ranks"]) == 4
        assert furthest(first, second) < 1e-5, first.name
