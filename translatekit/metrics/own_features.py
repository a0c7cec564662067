"""A small network of the project's own to compare sets of images by, for where no other's weights are at hand."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

OWN_FEATURES = Path(__file__).with_name("own_features.safetensors")

_WIDTHS = (16, 32, 64, 96)


class OwnFeatures(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] to features (N, 208): what four stages see, as means over the image.

    Trained by ``benchmarks/own_features.py`` to tell ways of drawing apart. Each feature has mean 0 and deviation 1 on
    the drawn pictures. Images are seen at the size they have.

    Attributes:
        size: how many features there are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        last = 3
        for width in _WIDTHS:
            self.stages.append(
                nn.Sequential(
                    *(nn.Conv2d(last, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                    *(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                )
            )
            last = width
        self.size = sum(_WIDTHS)
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("deviation", torch.ones(self.size))

    def forward(self, images: Tensor) -> Tensor:
        """The features (N, 208)."""
        return (self.pooled(images) - self.mean) / self.deviation

    def pooled(self, images: Tensor) -> Tensor:
        """The features as they come, (N, 208)."""
        pooled = []
        for stage in self.stages:
            images = stage(images)
            pooled.append(images.mean((2, 3)))
        return torch.cat(pooled, 1)

    def standardize(self, pooled: Tensor) -> None:
        """Give each feature mean 0 and deviation 1 on pictures whose pooled features, (N, 208), these are."""
        self.mean.copy_(pooled.mean(0))
        self.deviation.copy_(pooled.std(0).clamp(min=1e-3))


def load_own_features() -> OwnFeatures:
    """The trained network."""
    network = OwnFeatures()
    network.load_state_dict(
        {name: value.float() for name, value in load_file(OWN_FEATURES).items()}, strict=False
    )
    return network.eval()


def save(network: OwnFeatures, path: Path) -> None:
    """Write the network's file, in half precision."""
    weights = {name: value for name, value in network.state_dict().items() if not name.endswith("_tracked")}
    save_file({name: value.half().contiguous() for name, value in weights.items()}, path)
