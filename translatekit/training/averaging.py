"""The exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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
