"""A rank of some trainings, for tests: run by torchrun, by SLURM's variables or by itself.

It draws a cGAN's noise from the images that it faces, so that it is the same however they are shared out, and notes
which images were seen at which step.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from translatekit_cgan.method import CGAN

import translatekit
from translatekit.training.sampling import EpochBatches

NOTES = "TEST_NOTES"


def train_alike(runs: list[tuple[list[str], dict[str, Any]]]) -> None:
    """Train one after the other, with noise that follows from the images."""
    step = CGAN.step
    randn = torch.randn

    def with_noise_of(self: CGAN, *batches: Any) -> Any:
        images = torch.cat([batch["image"] for batch in batches])
        seeds = iter([int(image.double().sum().item() * 1000) % 2**31 for image in images])

        def noise(count: int, size: int, **_: Any) -> torch.Tensor:
            rows = [
                randn(1, size, generator=torch.Generator().manual_seed(next(seeds))) for _ in range(count)
            ]
            return torch.cat(rows)

        torch.randn = noise  # type: ignore[assignment]
        try:
            return step(self, *batches)
        finally:
            torch.randn = randn

    CGAN.step = with_noise_of  # type: ignore[method-assign]
    try:
        for arguments, options in runs:
            translatekit.train(*arguments, **options)
    finally:
        CGAN.step = step  # type: ignore[method-assign]


def note_images() -> None:
    """Write down which images this rank is given, of which epoch."""
    iterate = EpochBatches.__iter__
    path = Path(os.environ[NOTES]) / f"{os.getpid()}.jsonl"

    def noting(self: EpochBatches) -> Any:
        for batch in iterate(self):
            with path.open("a") as file:
                file.write(json.dumps([self.epoch, self.world_size, batch]) + "\n")
            yield batch

    EpochBatches.__iter__ = noting  # type: ignore[method-assign]


if __name__ == "__main__":
    if NOTES in os.environ:
        note_images()
    train_alike(json.loads(Path(sys.argv[1]).read_text()))
