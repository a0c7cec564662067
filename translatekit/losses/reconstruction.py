"""How far an output is from its target, pixel by pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class L1(nn.Module):
    """Mean absolute error."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """A scalar, from two batches (N, C, H, W) in [-1, 1]."""
        return F.l1_loss(output, target)


class L2(nn.Module):
    """Mean squared error."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """A scalar, from two batches (N, C, H, W) in [-1, 1]."""
        return F.mse_loss(output, target)
