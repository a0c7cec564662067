"""What a run in progress consists of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn
from torch.optim.swa_utils import AveragedModel

from translatekit.config import RunConfig, TrainOptions
from translatekit.datasets.palette import PaletteClass
from translatekit.interfaces import Dataset, Method
from translatekit.training.averaging import update_averages
from translatekit.training.discriminators import DiffAugment
from translatekit.training.fabric import Fabric
from translatekit.training.losses import LossLog
from translatekit.training.remote import Keeper
from translatekit.training.validator import Validator


@dataclass
class Progress:
    """How far a run has come: counted in steps, epochs, and images of the current epoch.

    Attributes:
        images: of the current epoch that all processes together have been shown.
        best: the best validation metric so far, negated where more is better.
        since_best: validations since then.
    """

    step: int = 0
    epoch: int = 0
    images: int = 0
    best: float = math.inf
    since_best: int = 0


Judge = Callable[[int, Mapping[str, float]], bool]
"""Of the epochs that are done and the figures of a validation, whether a run is to go on."""


@dataclass
class Training:
    """A run in progress: everything the loop works with.

    Attributes:
        augment: what changes what the discriminators see; None where nothing does.
        held_out: images that are not trained on, as the training would see them, on which discriminators are looked at.
        ema: the exponential moving averages of the deployed generators, by their names; empty where none are kept.
        losses: since the last line of the log.
        keeper: what keeps the folder elsewhere, where the run's place is an address.
        metrics: of the last validation.
        notes: what the user is told at the start.
        palettes: the colours of each deployed generator's inputs.
        judge: is asked after each validation whether the run is to go on; None where nobody is.
        given_up: whether it said no.
    """

    folder: Path
    config: RunConfig
    fabric: Fabric
    data: Dataset
    validation: Dataset | None
    method: Method
    losses: LossLog
    keeper: Keeper
    progress: Progress = field(default_factory=Progress)
    augment: DiffAugment | None = None
    held_out: Dataset | None = None
    ema: dict[str, AveragedModel] = field(default_factory=dict)
    validator: Validator | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    palettes: dict[str, list[PaletteClass]] = field(default_factory=dict)
    judge: Judge | None = None
    given_up: bool = False

    @property
    def options(self) -> TrainOptions:
        """The general options."""
        return self.config.options

    @property
    def ends_early(self) -> bool:
        """Whether it is not worth going on."""
        return self.given_up or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """Whether the last validations brought nothing better."""
        patience = self.options.patience
        return patience is not None and self.progress.since_best >= patience

    def generators(self) -> dict[str, nn.Module]:
        """The generators that users will run, by name: averaged where the run averages."""
        return {
            name: self.ema[name].module if name in self.ema else deployed.network
            for name, deployed in self.method.deployed().items()
        }

    def begin_step(self) -> None:
        """Tell what depends on the step's number which one it is."""
        if self.augment is not None:
            self.augment.step = self.progress.step

    def average(self) -> None:
        """Bring the moving averages up to date, after a step."""
        update_averages(self.ema, self.method)
