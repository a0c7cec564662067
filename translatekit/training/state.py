"""What a run in progress consists of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from lightning_fabric import Fabric
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from translatekit.config import RunConfig, TrainOptions
from translatekit.datasets.palette import PaletteClass
from translatekit.interfaces import Dataset, Method
from translatekit.training.validation import Judge


@dataclass
class Progress:
    """How far a run has come: counted in steps, epochs, and batches of the current epoch.

    Attributes:
        best: the best validation metric so far, negated where more is better.
        waited: validations since then.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best: float = math.inf
    waited: int = 0


@dataclass
class Training:
    """A run in progress: everything the loop works with.

    Attributes:
        pending: steps and their losses that are still on the device.
        checked: losses since the last line of the log that are known to be numbers.
    """

    folder: Path
    config: RunConfig
    fabric: Fabric
    data: Dataset
    validation: Dataset | None
    method: Method
    progress: Progress = field(default_factory=Progress)
    averages: dict[str, AveragedModel] = field(default_factory=dict)
    judge: Judge | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    palettes: dict[str, list[PaletteClass]] = field(default_factory=dict)
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)
    checked: list[dict[str, float]] = field(default_factory=list)

    @property
    def options(self) -> TrainOptions:
        """The general options."""
        return self.config.options
