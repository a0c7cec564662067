"""The losses of the last steps: kept on the device, read together, and checked to be numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from statistics import fmean

import torch
from torch import Tensor

from translatekit.errors import TrainingError
from translatekit.training.fabric import Fabric


class LossError(TrainingError):
    """A loss that is not a number: its name, its value and the step."""

    def __init__(self, sentence: str, name: str, value: float, step: int) -> None:
        super().__init__(sentence)
        self.name, self.value, self.step = name, value, step


@dataclass
class LossLog:
    """What the steps since the last line of the log gave.

    Reading a loss makes a step wait for the device, so that they are read together.

    Args:
        fabric: the engine; losses are the means over its processes.
        folder: of the run, for the sentence that says how to start again.
        precision: that it trains in, for the same.

    Attributes:
        checked: losses that are known to be numbers, a step each.
    """

    fabric: Fabric
    folder: Path
    precision: str
    checked: list[dict[str, float]] = field(default_factory=list)
    _pending: list[tuple[int, Mapping[str, Tensor]]] = field(default_factory=list)

    def add(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Keep what a step gave."""
        self._pending.append((step, losses))

    def drain(self) -> dict[str, float]:
        """The mean of each loss over the steps that gave it, since the last time; nothing where there was no step."""
        self.check()
        checked, self.checked = self.checked, []
        names = dict.fromkeys(name for losses in checked for name in losses)
        return {name: fmean(losses[name] for losses in checked if name in losses) for name in names}

    def check(self) -> None:
        """Bring the losses from the device; every process must call this.

        Raises:
            LossError: one is not a number.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        places = [(number, name) for number, (_, losses) in enumerate(pending) for name in losses]
        values = torch.stack([pending[number][1][name].float() for number, name in places])
        if self.fabric.world_size > 1:
            values = self.fabric.all_reduce(values, reduce_op="mean")
        values = values.cpu()
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            number, name = places[place := int(bad[0])]
            self._refuse(name, values[place].item(), pending[number][0])
        checked: list[dict[str, float]] = [{} for _ in pending]
        for (number, name), value in zip(places, values.tolist(), strict=True):
            checked[number][name] = value
        self.checked += checked

    def _refuse(self, name: str, value: float, step: int) -> None:
        raise LossError(
            f"the loss {name} is {value} at step {step}: start again with "
            f"--config {quote(str(self.folder / 'config.toml'))} and a lower --lr"
            + ("" if self.precision == "fp32" else " or --precision fp32"),
            name,
            value,
            step,
        )
