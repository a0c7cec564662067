"""How batches are read: by this process, or by others beside it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from tests.training.conftest import draw_pairs
from translatekit.config import TrainOptions
from translatekit.datasets import make_dataset
from translatekit.errors import DataError, TrainingError
from translatekit.interfaces import DataOptions, Dataset
from translatekit.training.batches import READERS, count_workers, make_batches, make_loader
from translatekit.training.failures import explaining_errors


def open_pairs(folder: Path, **options: Any) -> Dataset:
    return make_dataset("aligned", folder, DataOptions(**{"load_size": 36, "crop_size": 32, **options}))


def read(
    data: Dataset, workers: int, epochs: int = 1, **options: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """All batches of some epochs, and what was said of them."""
    given, fabric, said = TrainOptions(workers=workers, **options), Fabric(accelerator="cpu"), []
    batches = make_batches(data, given, fabric)
    loader = make_loader(data, batches, given, fabric)
    loader.say = said.append
    read = []
    for epoch in range(epochs):
        batches.start(epoch, seen=batches.images_per_step)
        read += list(loader)
    return read, said


def test_readers_that_outlive_an_epoch_give_what_this_process_gives(pairs: Path) -> None:
    alone, _ = read(open_pairs(pairs), 0, epochs=3, batch_size=2)
    beside, _ = read(open_pairs(pairs), 2, epochs=3, batch_size=2)
    assert len(alone) == len(beside) == 9
    for one, other in zip(alone, beside, strict=True):
        assert one.keys() == other.keys()
        assert one["name"] == other["name"]
        assert torch.equal(one["input"], other["input"])
        assert torch.equal(one["target"], other["target"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_vanishes_while_it_is_trained_on_is_skipped_and_named_once(
    tmp_path: Path, workers: int
) -> None:
    draw_pairs(tmp_path / "train", 6)
    data = open_pairs(tmp_path)
    (tmp_path / "train" / "3.png").unlink()
    batches, said = read(data, workers, epochs=4)
    assert len(batches) == 20
    assert said == [
        f"skipped {tmp_path}/train/3.png: there is no image {tmp_path}/train/3.png: check the path"
    ]
    assert [path.name for path, _ in data.skipped] == ["3.png"]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_no_other_image_can_stand_for_is_said_in_one_sentence(tmp_path: Path, workers: int) -> None:
    draw_pairs(tmp_path / "train", 3)
    data = open_pairs(tmp_path)
    for path in (tmp_path / "train").iterdir():
        path.unlink()
    with pytest.raises(
        DataError, match=r"^none of 3 images can be read any more: check that their disk is there$"
    ):
        read(data, workers)


def test_a_reader_that_is_killed_ends_the_run_with_a_sentence(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, training = open_pairs(pairs), os.getpid()

    def die(self: Any, index: int) -> Any:
        assert os.getpid() != training
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(type(data), "__getitem__", die)
    killed = pytest.raises(TrainingError, match=r"a process that reads images was killed.*--resume")
    with killed, explaining_errors(tmp_path / "run", "run"):
        read(data, 1)


def test_a_gpu_has_readers_by_itself_and_a_cpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class OfGpu:
        device, world_size = torch.device("cuda", 0), 2

    fabric: Any = OfGpu()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert count_workers(TrainOptions(), fabric) == READERS
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert count_workers(TrainOptions(), fabric) == 1
    assert count_workers(TrainOptions(num_nodes=2), fabric) == 3
    assert count_workers(TrainOptions(workers=0), fabric) == 0
    assert count_workers(TrainOptions(), Fabric(accelerator="cpu")) == 0
