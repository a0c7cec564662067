"""From a dataset to the batches of a training: their order, their reading, their layout in memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from translatekit.config import TrainOptions
from translatekit.errors import TranslatekitError
from translatekit.inference.stages import background
from translatekit.interfaces import Dataset
from translatekit.terminal import say
from translatekit.training.fabric import Fabric
from translatekit.training.sampling import EpochBatches
from translatekit.training.signals import ignore_in_worker

READERS = 4
"""Processes that read images for one GPU, where nobody says how many: each reads a few times what a step needs."""

_FAULTS = "faults"  # the key of what could not be read, beside the images of a batch
_TAKEN = 2  # batches that are taken from the readers, and to the device, before they are asked for
_AHEAD = 4  # batches that each reader has ready: one slow image, or a slow answer of a store, stops no step


def make_batches(data: Dataset, options: TrainOptions, fabric: Fabric) -> EpochBatches:
    """Which images this process takes, in which order.

    Raises:
        DataError: one step needs more images than there are.
    """
    order = getattr(data, "order", None)
    rank, world_size = fabric.global_rank, fabric.world_size
    return EpochBatches(
        len(data), options.batch_size, options.seed, rank, world_size, options.accumulate, order
    )


def make_loader(data: Dataset, batches: EpochBatches, options: TrainOptions, fabric: Fabric) -> Loader:
    """The training images in the order of `batches`, moved to the device."""
    workers = count_workers(options, fabric)
    warnings.filterwarnings(
        "ignore", "This DataLoader will create"
    )  # more readers than cores: as was asked for
    loader: DataLoader[Any] = DataLoader(
        _Items(data),  # type: ignore[arg-type]
        batch_sampler=_OfEpoch(batches),
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=fabric.device.type == "cuda",
        worker_init_fn=_start_worker if workers else None,
        persistent_workers=workers > 0,
        prefetch_factor=_AHEAD if workers else None,
        generator=torch.Generator(),  # else each start of an epoch would draw from the noise of the training
    )
    return Loader(fabric.setup_dataloaders(loader, use_distributed_sampler=False), data, beside=workers > 0)


def count_workers(options: TrainOptions, fabric: Fabric) -> int:
    """How many processes read images: as the options say, else none on a CPU and a few for each GPU."""
    if options.workers is not None:
        return options.workers
    if fabric.device.type == "cpu":  # whose cores are busy
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    trainings = max(1, fabric.world_size // options.num_nodes)
    return max(1, min(READERS, cores // trainings - 1))


class Loader:
    """The batches of an epoch, each time it is gone through.

    Args:
        loader: what reads them.
        data: their dataset, whose ``skipped`` is told what readers skip.
        beside: whether they are taken from it beside the training.

    Attributes:
        say: tells the user what is skipped.
    """

    def __init__(self, loader: Any, data: Dataset, beside: bool = False) -> None:
        self._loader, self._data, self._beside = loader, data, beside
        self._said: set[str] = set()  # each reader finds out by itself
        self.say: Callable[[str], None] = say

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The next batches.

        Raises:
            TranslatekitError: what a reader has found that is no single image's fault.
        """
        batches = iter(self._loader)
        for first in batches:  # readers are started by this thread, which hears of it when one dies
            # To take a batch from a reader costs a few milliseconds of waiting for it, which are spent beside the step.
            following = background(batches, _TAKEN) if self._beside else batches
            for batch in chain([first], following):
                for fault in batch.pop(_FAULTS):
                    self._tell(fault)
                yield batch

    def _tell(self, fault: TranslatekitError | tuple[Path, str]) -> None:
        if isinstance(fault, TranslatekitError):
            raise fault
        path, reason = fault
        if str(path) not in self._said:
            self._said.add(str(path))
            self.say(f"skipped {path}: {reason}")
        if fault not in self._data.skipped:
            self._data.skipped.append(fault)


class _Items:
    """Items by epoch and index, with what was skipped on the way to them; for readers that outlive an epoch."""

    def __init__(self, data: Dataset) -> None:
        self._data, self._epoch = data, -1
        self._told = len(data.skipped)

    def __getitem__(self, place: tuple[int, int]) -> tuple[dict[str, Any], list[Any]]:
        epoch, index = place
        if epoch != self._epoch:
            self._data.set_epoch(epoch)
            self._epoch = epoch
        try:
            item = self._data[index]
        except TranslatekitError as error:
            return {}, [error]  # a process could not raise it as it is
        skipped = self._data.skipped[self._told :]
        self._told += len(skipped)
        return item, skipped


class _OfEpoch:
    """Batches whose indexes say of which epoch they are."""

    def __init__(self, batches: EpochBatches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self._batches.epoch
        return ([(epoch, index) for index in batch] for batch in self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def _collate(items: list[tuple[dict[str, Any], list[Any]]]) -> dict[str, Any]:
    faults = [fault for _, found in items for fault in found]
    failed = any(isinstance(fault, TranslatekitError) for fault in faults)
    return {**({} if failed else collate([item for item, _ in items])), _FAULTS: faults}


def in_steps(batches: Iterable[dict[str, Any]], accumulate: int) -> Iterator[list[dict[str, Any]]]:
    """As many batches at a time as make a step."""
    remaining = iter(batches)
    while step := list(islice(remaining, accumulate)):
        yield step


def first_batch(data: Dataset, size: int) -> dict[str, Any]:
    """The first images of a dataset as its first epoch shows them, on the CPU: the same for every process."""
    data.set_epoch(0)
    return collate([data[index] for index in range(min(size, len(data)))])


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """One batch from its items."""
    return dict(default_collate(items))


def in_memory_format(batch: dict[str, Any], options: TrainOptions, fabric: Fabric) -> dict[str, Any]:
    """A batch with its images in the memory format that the options ask for, or that is quicker."""
    if not use_channels_last(options, fabric.device):
        return batch
    return {name: to_channels_last(value) for name, value in batch.items()}


def use_channels_last(options: TrainOptions, device: torch.device) -> bool:
    """Whether images are laid out as NHWC: as the options say, else where it was measured to be quicker."""
    if options.channels_last is not None:
        return options.channels_last
    return device.type != "cpu" or options.batch_size > 1


def to_channels_last(value: Any) -> Any:
    """A batch's images as NHWC in memory; anything else as it is."""
    is_image = isinstance(value, Tensor) and value.ndim == 4
    return value.contiguous(memory_format=torch.channels_last) if is_image else value


def _start_worker(worker: int) -> None:
    """Keep readers from taking the cores that the training computes on, and from hearing its signals."""
    torch.set_num_threads(1)
    ignore_in_worker()
