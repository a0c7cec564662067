"""The training of a run, gone on with inside of another training: of a teacher beside its student, for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from translatekit.config import RunConfig
from translatekit.interfaces import Dataset
from translatekit.training.averaging import averages_of, update_averages
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.fabric import Fabric
from translatekit.training.saving import load_method
from translatekit.training.setup import make_equipped, set_up


class ContinuedRun:
    """A run's method as its newest checkpoint has it, which goes on in memory alone: the run's folder stays as it is.

    Checkpoints of the training around it are to hold `networks`, the method's optimizers and `extra_state`; loading
    these takes the place of what was read from the run.

    Args:
        folder: of the run.
        data: what it goes on with, of the kind that its method trains on.

    Attributes:
        method: of the run.
        averages: of the generators, by their names; empty where the run keeps none.

    Raises:
        OptionError: the run's configuration cannot be read, or does not fit the data.
        TrainingError: there is no checkpoint, or it is damaged.
    """

    def __init__(self, folder: Path, data: Dataset) -> None:
        self._folder = folder
        self._config = RunConfig.from_toml(folder / "config.toml")
        self._config.options.accumulate = 1  # a batch of the training around it is a step
        self._state = load_checkpoint(folder / "checkpoints")
        progress = self._state["progress"]
        self._step, self._epoch = int(progress["step"]), int(progress["epoch"])
        with torch.random.fork_rng(devices=[]):  # what is drawn for it changes nothing around it
            self.method, self._augment = make_equipped(self._config, data)
        self.averages: dict[str, AveragedModel] = {}

    def setup(self, fabric: Fabric, wrap: Callable[[nn.Module], Any]) -> None:
        """Put it on its device, and take what the run's checkpoint holds; every process must call this.

        Raises:
            TrainingError: the checkpoint is of other networks.
        """
        set_up(self.method, self._config, fabric, wrap)
        self.averages = averages_of(self.method, self._config.options.ema)
        load_method(self.method, self.averages, self._state, fabric, self._folder)
        self._state = {}
        if self._augment is not None:
            self._augment.rank = fabric.global_rank

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All that has weights, unwrapped, by name: the method's networks, and the averages of its generators."""
        averages = {f"{name} averaged": average.module for name, average in self.averages.items()}
        return {**self.method.unwrapped, **averages}

    def generator(self, direction: str) -> nn.Module:
        """The generator that is deployed for a direction, averaged where the run averages."""
        deployed = self.method.deployed()
        name = direction if direction in deployed else next(iter(deployed))
        return self.averages[name].module if name in self.averages else deployed[name].network

    def step(self, batch: Mapping[str, Any], step: int) -> dict[str, Tensor]:
        """One step of the method; its losses.

        Args:
            batch: images, on the device.
            step: how many were done here.
        """
        if self._augment is not None:
            self._augment.step = self._step + step
        losses = self.method.step(batch)
        update_averages(self.averages, self.method)
        return losses

    def learning_rate_factor(self, optimizer: str, step: int, epoch: int) -> float | None:
        """What the method's own schedule says after so many more steps and epochs; None where it has none."""
        return self.method.learning_rate_factor(optimizer, self._step + step, self._epoch + epoch)

    def extra_state(self) -> dict[str, Any]:
        """What an exact resume needs beside networks and optimizers."""
        counts = {name: average.n_averaged.clone() for name, average in self.averages.items()}
        return {"method": self.method.extra_state(), "averaged": counts}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take `extra_state` back."""
        self.method.load_extra_state(state["method"])
        for name, count in state["averaged"].items():
            self.averages[name].n_averaged.copy_(count)
