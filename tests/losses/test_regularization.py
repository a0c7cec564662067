"""The R1 penalty among several processes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import multiprocessing

from translatekit.losses.regularization import R1

UPDATES = 40


def _updates(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    torch.manual_seed(rank)  # as each process of a run has noise of its own
    penalty, images = R1(r1=1.0, r1_every=4), torch.ones(1, 1, 2, 2)
    due = [penalty(lambda x: x.square(), images) is not None for _ in range(UPDATES)]
    torch.save(due, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_it_is_due_in_the_same_updates_of_all_processes(tmp_path: Path) -> None:
    """Else one alone would make a pass through normalization over the images of all, and wait for ever."""
    multiprocessing.start_processes(_updates, args=(tmp_path,), nprocs=2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first == second
    assert 0 < sum(first) < UPDATES
