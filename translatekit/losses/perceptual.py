"""The distance between images as a trained network sees them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.backbones import Backbone
from translatekit.errors import OptionError


class Perceptual(nn.Module):
    """L1 distance between features of a frozen timm model, of unit length at each position.

    After Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016, section 3; features are
    normalized as in Zhang et al., "The Unreasonable Effectiveness of Deep Features", CVPR 2018, section 3.
    """

    def __init__(self, *, model: str = "vgg16", pretrained: bool = True, weights: str | None = None) -> None:
        """Make the loss.

        Args:
            model: the name of a timm model that gives features.
            pretrained: download its trained weights, or take them from Hugging Face's cache; without, its
                features are random.
            weights: a file of its trained weights, to use without a network.

        Raises:
            OptionError: timm has no such model, or it gives no features.
            TranslatekitError: the trained weights cannot be had.
        """
        super().__init__()
        self.backbone = Backbone(model, pretrained=pretrained and weights is None, weights=weights)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Perceptual:
        """Stay in evaluation mode: the features must not change."""
        return super().train(False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """A scalar, the mean over the model's features, from two batches (N, 1 or 3, H, W) in [-1, 1].

        Raises:
            OptionError: the images have neither 1 nor 3 channels.
        """
        with torch.no_grad():
            wanted = self._features(target)
        distances = [
            (got - want).abs().sum(dim=1).mean()
            for got, want in zip(self._features(output), wanted, strict=True)
        ]
        return torch.stack(distances).mean()

    def _features(self, x: Tensor) -> list[Tensor]:
        channels = x.shape[1]
        if channels not in (1, 3):
            raise OptionError(
                f"loss 'perceptual' needs images of 1 or 3 channels, got {channels}: choose l1 or l2"
            )
        return [F.normalize(feature.float(), dim=1) for feature in self.backbone(x.expand(-1, 3, -1, -1))]
