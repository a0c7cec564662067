"""Training on several hosts, which are processes of one machine here: torchrun, SLURM's variables, restarts."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.programs import NAME
from tests.training.conftest import TINY
from tests.training.hosts import NOTES, train_alike
from translatekit.errors import TrainingError
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.processes import launched_processes

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
    """What processes have written to stderr when they have ended well; one that fails ends the others."""
    end = time.monotonic() + seconds
    while any(process.poll() is None for process in processes):
        if time.monotonic() > end or any(process.poll() for process in processes):
            time.sleep(1)
            for process in processes:
                process.terminate()
            break
        time.sleep(0.1)
    said = [process.communicate(timeout=60)[1] for process in processes]
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


PATCH = {"layers": 1, "width": 4, "norm": "none"}
UNET = {"depth": 5, "width": 4, "norm": "none", "dropout": 0}


def twenty_steps(pairs: Path, unpaired: Path, labelled: Path) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """Every method without normalization; and with batch normalization over all images of a step."""
    many = {"max_steps": 20, "epochs": 20, "epochs_decay": 0, "validate_every": 0, "sample_every": 1000}
    options = {**TINY, **many, "discriminator_options": PATCH}
    batchnorm = {
        "generator_options": {**UNET, "norm": "batch"},
        "discriminator_options": {**PATCH, "norm": "batch"},
    }
    resnet = {"blocks": 1, "width": 4, "norm": "none"}
    dcgan = {"width": 4, "norm": "none"}
    return {
        "pix2pix": (["pix2pix", str(pairs)], {**options, "generator_options": UNET}),
        "cyclegan": (["cyclegan", str(unpaired)], {**options, "generator_options": resnet, "pool_size": 0}),
        "cgan": (
            ["cgan", str(labelled)],
            {**options, "generator_options": dcgan, "discriminator_options": dcgan},
        ),
        "batchnorm": (["pix2pix", str(pairs)], {**options, **batchnorm}),
    }


def test_two_hosts_of_two_processes_train_as_one_process_on_all_of_their_images(
    pairs: Path, unpaired: Path, labelled: Path, tmp_path: Path
) -> None:
    runs = twenty_steps(pairs, unpaired, labelled)
    shared = {"batchnorm": {"sync_batchnorm": True}, "cgan": {"accumulate": 2}}
    alone, together = ({name: tmp_path / place / name for name in runs} for place in ("alone", "together"))
    train_alike(
        [
            (arguments, {**options, "batch_size": 8 if name == "cgan" else 4, "output": str(alone[name])})
            for name, (arguments, options) in runs.items()
        ]
    )
    said = on_two_hosts(
        [
            (arguments, {**options, "batch_size": 1, **shared.get(name, {}), "output": str(together[name])})
            for name, (arguments, options) in runs.items()
        ],
        tmp_path,
    )
    for name in runs:
        state = load_checkpoint(together[name] / "checkpoints")
        assert state["progress"]["step"] == 20
        assert len(state["ranks"]) == 4
        assert furthest(alone[name], together[name]) < 1e-5, name
    assert "on 4 x cpu" in said[0]
    assert not said[1], "one speaks"


LONG = {**TINY, "epochs": 6, "epochs_decay": 0, "checkpoint_every": 5, "checkpoint_minutes": 0}


def elastic(program: Path, processes: int, restarts: int, **environment: str) -> subprocess.Popen[str]:
    return torchrun(
        "--standalone", f"--nproc-per-node={processes}", f"--max-restarts={restarts}", "--monitor-interval=0.1",
        str(PROGRAM), str(program), **environment,
    )  # fmt: skip


def children(process: int) -> list[int]:
    """The ranks that a launcher has started."""
    with suppress(FileNotFoundError):
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
        return [
            int(child) for child in text.split() if Path(f"/proc/{child}/comm").read_text().strip() != NAME
        ]
    return []


def losses(run: Path) -> list[Any]:
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [(entry["step"], entry["losses"]) for entry in entries if entry["kind"] == "train"]


@pytest.fixture(scope="module")
def quiet(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks that nobody kills."""
    folder = tmp_path_factory.mktemp("quiet")
    program = folder / "runs.json"
    program.write_text(json.dumps([(["pix2pix", str(pairs)], {**LONG, "output": str(folder / "run")})]))
    ended([elastic(program, 2, 0)])
    return folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in (1, 2))])
def test_a_run_whose_ranks_are_killed_at_random_equals_one_that_nobody_kills(
    pairs: Path, quiet: Path, tmp_path: Path, seed: int
) -> None:
    killed, program, kills = tmp_path / "killed", tmp_path / "runs.json", 0
    options = {**LONG, "output": str(killed), "autoresume": True}
    program.write_text(json.dumps([(["pix2pix", str(pairs)], options)]))
    process = elastic(program, 2, 3)
    drawn = random.Random(seed)
    for _ in range(2):
        step = drawn.randrange(1, 20)
        await_step(killed, step, process)
        time.sleep(drawn.random())
        ranks = children(process.pid)
        if len(ranks) == 2:
            os.kill(drawn.choice(ranks), signal.SIGKILL)
            kills += 1
        time.sleep(1)
    ended([process])
    assert kills, "all had ended before one could be killed"
    assert furthest(quiet, killed) == 0
    assert losses(quiet) == losses(killed)


def await_step(run: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Wait until a run's log has come to a step, or it has ended."""
    end = time.monotonic() + 120
    while process.poll() is None:
        with suppress(FileNotFoundError, ValueError, IndexError):
            if json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] >= step:
                return
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_shows_each_image_once(
    pairs: Path, tmp_path: Path
) -> None:
    run, program = tmp_path / "run", tmp_path / "runs.json"
    options = {**LONG, "epochs": 2, "output": str(run), "autoresume": True}
    for processes, steps in ((2, 1), (1, 5), (2, 7), (1, None)):
        program.write_text(json.dumps([(["pix2pix", str(pairs)], {**options, "max_steps": steps})]))
        (tmp_path / f"notes-{steps}").mkdir()
        ended([elastic(program, processes, 0, **{NOTES: str(tmp_path / f"notes-{steps}")})])
    shown: dict[int, list[int]] = {0: [], 1: []}
    for notes in tmp_path.glob("notes-*"):
        for path in notes.iterdir():
            for epoch, _, batch in map(json.loads, path.read_text().splitlines()):
                shown[epoch] += batch
    assert sorted(shown[0]) == sorted(shown[1]) == list(range(8))


@pytest.mark.slow
def test_processes_that_slurm_starts_know_each_other_by_its_variables(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    job = {
        "SLURM_JOB_NAME": "photos", "SLURM_JOB_ID": "77001234", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "2", "SLURM_NODELIST": "localhost,localhost", "MASTER_PORT": str(free_port()),
    }  # fmt: skip
    command = [
        *(
            sys.executable,
            "-m",
            "translatekit",
            "train",
            "pix2pix",
            str(pairs),
            "-o",
            str(run),
            "--max-steps",
            "2",
        ),
        *("--load-size", "36", "--crop-size", "32", "--accelerator", "cpu", "--validate-every", "0"),
        *("-G", "depth=5", "-G", "width=4", "-D", "layers=1", "-D", "width=4", "--autoresume"),
    ]
    processes = []
    for rank in range(4):
        place = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % 2), "SLURM_NODEID": str(rank // 2)}
        environment = {**ENVIRONMENT, **job, **place}
        processes.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
            )
        )
    both = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, both
    assert [said for said, _ in both] == [f"{run}\n", "", "", ""]
    assert "on 4 x cpu" in both[0][1]
    assert len(load_checkpoint(run / "checkpoints")["ranks"]) == 4


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, (4, 2)),
        ({"SLURM_NTASKS": "6", "SLURM_NNODES": "3", "SLURM_NTASKS_PER_NODE": "2"}, (2, 3)),
        ({"SLURM_NTASKS": "2"}, (2, 1)),
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "interactive"}, None),
        ({}, None),
    ],
)
def test_a_launcher_says_how_many_processes_there_are(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[int, int] | None
) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_processes() == expected


def test_hosts_with_different_numbers_of_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match="torchrun has started 3 processes and 2 of them on this host"):
        launched_processes()
