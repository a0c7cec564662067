"""Discriminators of one kind that judge an image at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.networks.features import feature_layers


class MultiScale(nn.Module):
    """The first discriminator sees the image, each further one an image of half the size.

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018,
    section 3.2.
    """

    def __init__(self, discriminators: Sequence[nn.Module]) -> None:
        """Take the discriminators, each with weights of its own."""
        super().__init__()
        self.scales = nn.ModuleList(discriminators)
        self.feature_layers = [
            f"scales.{number}.{name}" for number, D in enumerate(discriminators) for name in feature_layers(D)
        ]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Judge images (N, C, H, W): logits of each scale, those of the image itself first."""
        return [D(image) for D, image in zip(self.scales, self.pyramid(x), strict=True)]

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) as each of the discriminators sees them."""
        images = [x]
        for _ in self.scales[1:]:
            images.append(F.avg_pool2d(images[-1], 3, stride=2, padding=1, count_include_pad=False))
        return images


def activations(network: nn.Module) -> list[str]:
    """The layers of a discriminator that features are matched at: its activations, by name.

    Of one without any, all layers but those that give logits.
    """
    scales = network.scales if isinstance(network, MultiScale) else None
    modules = dict(network.named_modules())
    names = feature_layers(network)
    found = [name for name in names if isinstance(modules[name], nn.LeakyReLU | nn.ReLU | nn.SiLU | nn.GELU)]
    if found:
        return found
    per_scale = len(names) // len(scales) if scales is not None else len(names)
    return [name for number, name in enumerate(names, 1) if number % per_scale]
