"""When things happen in a run: how long it is, what is due after a step, and how high the learning rates are."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch.distributed import ReduceOp

from translatekit.interfaces import Method
from translatekit.training.fabric import Fabric
from translatekit.training.sampling import EpochBatches
from translatekit.training.state import Training


@dataclass(frozen=True)
class Plan:
    """How long a run is, and how often what happens in it; all in steps.

    Attributes:
        epochs: of the whole run.
        steps_per_epoch: of a whole one.
        total: the run's last step.
        log_every, sample_every, checkpoint_every: steps between two of them.
    """

    epochs: int
    steps_per_epoch: int
    total: int
    log_every: int
    sample_every: int
    checkpoint_every: int

    @classmethod
    def of(cls, training: Training, batches: EpochBatches) -> Plan:
        """The plan of a run, from where it is."""
        options, progress = training.options, training.progress
        epochs = options.epochs + options.epochs_decay
        steps_per_epoch = batches.steps_after(0)
        total = progress.step
        if progress.epoch < epochs:
            total += batches.steps_after(progress.images) + steps_per_epoch * (epochs - progress.epoch - 1)
        return cls(
            epochs,
            steps_per_epoch,
            min(total, options.max_steps or total),
            options.log_every,
            options.sample_every or steps_per_epoch,
            options.checkpoint_every or steps_per_epoch,
        )


def set_learning_rates(training: Training) -> None:
    """Each optimizer's rate for the next step: its initial one times what the method or the run's schedule says.

    It follows from the run's progress alone, so that a run goes on as it would have.
    """
    options, progress = training.options, training.progress
    step, epoch = progress.step, progress.epoch
    risen = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    for name, optimizer in training.method.optimizers.items():
        factor = training.method.learning_rate_factor(name, step, epoch)
        if factor is None and options.schedule == "cosine":
            now = epoch + progress.images / len(training.data)
            factor = cosine_decay(now, options.epochs, options.epochs_decay)
        elif factor is None:
            factor = linear_decay(epoch, options.epochs, options.epochs_decay)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor * risen


def linear_decay(epoch: int, epochs: int, epochs_decay: int) -> float:
    """Constant for `epochs`, then falling linearly to zero over `epochs_decay` (Pix2Pix and CycleGAN alike)."""
    return 1 - max(0, epoch + 1 - epochs) / (epochs_decay + 1)


def cosine_decay(epoch: float, epochs: int, epochs_decay: int) -> float:
    """Constant for `epochs`, then falling to zero over `epochs_decay` as half of a cosine's period.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, section 3, without
    restarts. `epoch` counts parts of epochs as well.
    """
    share = (epoch - epochs) / epochs_decay if epochs_decay else 0.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, share))))


def main_learning_rate(method: Method) -> float:
    """The rate of the first optimizer, which stands for all in the log."""
    optimizer = next(iter(method.optimizers.values()))
    return float(optimizer.param_groups[0]["lr"])


def agree(fabric: Fabric, signal_number: int, due: bool) -> tuple[int, bool]:
    """The signal by which any process was asked to stop, and whether a checkpoint is due by any one's clock.

    All must agree, or some would wait for the others for ever.
    """
    if fabric.world_size == 1:
        return signal_number, due
    wishes = fabric.all_reduce(torch.tensor([float(signal_number), float(due)]), reduce_op=ReduceOp.MAX)
    return int(wishes[0]), bool(wishes[1] > 0)


class Timer:
    """Says when some minutes have passed since it was started; never, where they are 0."""

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self.start()

    def start(self) -> None:
        """Count from now."""
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether they have passed."""
        return 0 < self._seconds <= time.monotonic() - self._since


class Speed:
    """How many images a second are trained on, since it was last asked."""

    def __init__(self, images_per_step: int, step: int) -> None:
        self._images_per_step = images_per_step
        self.start(step)

    def start(self, step: int) -> None:
        """Count from now."""
        self._step, self._since = step, time.perf_counter()

    def until(self, step: int) -> float:
        """Images a second up to this step, which the next measurement starts from."""
        images = (step - self._step) * self._images_per_step
        rate = images / (time.perf_counter() - self._since)
        self.start(step)
        return rate
