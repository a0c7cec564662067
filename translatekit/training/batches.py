"""From a dataset to the batches of a training: their order, their reading, their layout in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from translatekit.config import TrainOptions
from translatekit.interfaces import Dataset
from translatekit.training.fabric import Fabric
from translatekit.training.sampling import EpochBatches
from translatekit.training.signals import ignore_in_worker


def make_batches(data: Dataset, options: TrainOptions, fabric: Fabric) -> EpochBatches:
    """Which images this process takes, in which order.

    Raises:
        DataError: one step needs more images than there are.
    """
    return EpochBatches(len(data), options.batch_size, options.seed, fabric.global_rank, fabric.world_size)


def make_loader(data: Dataset, batches: EpochBatches, options: TrainOptions, fabric: Fabric) -> Any:
    """The training images in the order of `batches`, moved to the device."""
    loader: DataLoader[Any] = DataLoader(
        data,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=options.workers,
        collate_fn=collate,
        pin_memory=fabric.device.type == "cuda",
        worker_init_fn=_start_worker if options.workers else None,
        generator=torch.Generator(),  # else each start of an epoch would draw from the noise of the training
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)


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
