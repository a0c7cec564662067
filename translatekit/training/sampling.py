"""In which order images are visited: decided by seed and epoch, so that a resumed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from translatekit.errors import DataError

Order = Callable[[int, int, int], Iterator[np.ndarray]]
"""From seed, epoch and a place in the epoch to the indexes from there on, in pieces of any length: the same in every
process. Data that is too much to be listed has an order of its own, which takes no memory for each image."""


def shuffled(length: int) -> Order:
    """All images in an order that is drawn anew for each epoch."""

    def order(seed: int, epoch: int, first: int) -> Iterator[np.ndarray]:
        yield np.random.default_rng((seed, epoch)).permutation(length)[first:]

    return order


class EpochBatches(Sampler[list[int]]):
    """The batches of one epoch, shuffled by seed and epoch, those of one process among several.

    A step takes the next images of the epoch's order, whatever the number of processes: a run that goes on with
    another number of them shows every image of the epoch that is left, and none again. Images that do not fill a last
    step on every process are left for another epoch's order.

    Args:
        length: images in the dataset.
        batch_size: images a batch.
        seed: decides the order.
        rank, world_size: which process this is, of how many.
        accumulate: batches a step on each process.
        order: of the images; `shuffled` when not given.

    Raises:
        DataError: one step needs more images than there are.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        accumulate: int = 1,
        order: Order | None = None,
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world_size, self.accumulate = rank, world_size, accumulate
        self.order = order or shuffled(length)
        self.epoch = self.seen = 0
        if self.images_per_step > length:
            several = f"{accumulate} accumulated batches" if accumulate > 1 else "a batch"
            less = max(1, length // (world_size * accumulate))
            remedy = f"pass --batch-size {less}" + (" or a smaller --accumulate" if accumulate > 1 else "")
            raise DataError(
                f"{several} of {batch_size} on {world_size} device(s) {'are' if accumulate > 1 else 'is'} larger than "
                f"the data, which has {length} images: {remedy}"
            )

    def start(self, epoch: int, seen: int = 0) -> None:
        """Choose the epoch to iterate over, and how many of its images all processes have been shown already."""
        self.epoch, self.seen = epoch, seen

    def __iter__(self) -> Iterator[list[int]]:
        rest = np.empty(0, np.int64)
        for piece in self.order(self.seed, self.epoch, self.seen):
            rest = np.concatenate([rest, piece])
            whole = len(rest) // self.images_per_step
            steps, rest = np.split(rest, [whole * self.images_per_step])
            for step in steps.reshape(whole, self.world_size, self.accumulate, self.batch_size):
                for batch in step[self.rank]:
                    yield batch.tolist()

    def __len__(self) -> int:
        return self.steps_after(self.seen) * self.accumulate

    @property
    def images_per_step(self) -> int:
        """Images that all processes together take for one step."""
        return self.batch_size * self.world_size * self.accumulate

    def steps_after(self, seen: int) -> int:
        """Steps of an epoch that are left when some of its images have been shown."""
        return (self.length - seen) // self.images_per_step
