"""Places of feature maps as vectors to compare: what contrastive losses are computed in.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchHeads(nn.Module):
    """For each layer two linear layers, which make unit vectors of features (section 3.2 of the paper)."""

    def __init__(self, channels: Sequence[int], size: int = 256) -> None:
        """Make them for layers of so many channels, with vectors of length `size`."""
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(count, size), nn.ReLU(), nn.Linear(size, size)) for count in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """From a layer's features (N, P, C) of P places to unit vectors (N, P, size), for each of the layers."""
        return [
            F.normalize(head(places).float(), dim=-1)
            for head, places in zip(self.heads, features, strict=True)
        ]


def draw_places(features: Sequence[Tensor], count: int) -> list[Tensor]:
    """For each feature map (N, C, H, W) numbers of at most `count` of its places, without repetition.

    They are drawn from torch's generator of the CPU, so that a seed decides them on every device.
    """
    return [
        torch.randperm(tensor.shape[2] * tensor.shape[3])[:count].to(tensor.device) for tensor in features
    ]


def at_places(features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
    """What feature maps (N, C, H, W) hold at places: (N, P, C) each."""
    return [tensor.flatten(2)[:, :, chosen].mT for tensor, chosen in zip(features, places, strict=True)]
