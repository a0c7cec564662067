"""What the contrastive loss is computed in: places of feature maps, through a small network for each layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Heads(nn.Module):
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


def patch_nce(query: Tensor, key: Tensor, temperature: float, hard_negatives: float = 0.0) -> Tensor:
    """The contrastive loss that ties each place of the output to its own of the input (equation 3 of the paper).

    Args:
        query: unit vectors (N, P, size) of places of the outputs.
        key: those of the same places of the inputs. A place's own is its positive, the others of its image are its
            negatives.
        temperature: divides the similarities.
        hard_negatives: beta; with more than 0, a negative of similarity s has a weight in proportion to exp(beta s),
            with a mean of 1 (Robinson et al., 2021, "Contrastive Learning with Hard Negative Samples", section 3.1,
            by similarities without the temperature).

    Returns:
        A scalar.
    """
    similarity = query @ key.mT
    logits = similarity / temperature
    count = similarity.shape[-1]
    if hard_negatives:
        own = torch.eye(count, dtype=torch.bool, device=query.device)
        scores = (hard_negatives * similarity.detach()).masked_fill(own, -torch.inf)
        weights = F.log_softmax(scores, dim=-1) + torch.log(scores.new_tensor(count - 1.0))
        logits = logits + weights.masked_fill(own, 0.0)
    own_places = torch.arange(count, device=query.device).expand(len(query), count)
    return F.cross_entropy(logits.flatten(0, 1), own_places.flatten())
