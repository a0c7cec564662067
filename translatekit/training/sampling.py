"""In which order images are visited: decided by seed and epoch, so that a resumed run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from translatekit.errors import DataError


class EpochBatches(Sampler[list[int]]):
    """The batches of one epoch, shuffled by seed and epoch, those of one process among several.

    Images that do not fill a last batch on every process are left for another epoch's order.

    Args:
        length: images in the dataset.
        batch_size: images a step on each process.
        seed: decides the order.
        rank, world_size: which process this is, of how many.

    Raises:
        DataError: one step needs more images than there are.
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size * world_size > length:
            raise DataError(
                f"a batch of {batch_size} on {world_size} device(s) is larger than the data, which has "
                f"{length} images: pass --batch-size {max(1, length // world_size)}"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.skip = 0

    def start(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch to iterate over, and how many of its batches are already done."""
        self.epoch, self.skip = epoch, skip

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        total = self.batches_per_epoch
        batches = order[: total * self.batch_size * self.world_size].reshape(
            total, self.world_size, self.batch_size
        )
        for batch in batches[self.skip :, self.rank]:
            yield batch.tolist()

    def __len__(self) -> int:
        return self.batches_per_epoch - self.skip

    @property
    def batches_per_epoch(self) -> int:
        """Steps of a whole epoch."""
        return self.length // (self.batch_size * self.world_size)
