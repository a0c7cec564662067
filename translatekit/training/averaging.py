"""The exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from translatekit.interfaces import Method


def ramped_average(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """An exponential moving average that is shorter while there are few steps behind it.

    After n steps its decay is (1 + n) / (10 + n), up to `decay`: else the first thousand steps of a run would show
    little but the weights that were drawn.

    Returns:
        What `torch.optim.swa_utils.AveragedModel` takes as its ``multi_avg_fn``.
    """

    @torch.no_grad()
    def average(means: Any, current: Any, steps: Tensor | int) -> None:
        done = int(steps)
        torch._foreach_lerp_(means, current, 1 - min(decay, (1 + done) / (10 + done)))

    return average


def averages_of(method: Method, decay: float | None) -> dict[str, AveragedModel]:
    """The average of each generator that a method deploys, by its name; none where there is no decay."""
    if decay is None:
        return {}
    average = ramped_average(decay)
    return {
        name: AveragedModel(deployed.network, multi_avg_fn=average)
        for name, deployed in method.deployed().items()
    }


def update_averages(averages: Mapping[str, AveragedModel], method: Method) -> None:
    """Bring the averages of a method's generators up to date, after a step."""
    if averages:
        for name, deployed in method.deployed().items():
            averages[name].update_parameters(deployed.network)
