"""Adversarial losses on the logits of several discriminators, and the matching of their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from translatekit.interfaces import AdversarialLoss
from translatekit.losses.adversarial import boundary_of


class OverScales:
    """An adversarial loss that also takes a list of logits, one a scale, and is then the sum over them.

    Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018,
    equation 3.
    """

    def __init__(self, loss: AdversarialLoss) -> None:
        """Take the loss of one scale."""
        self.loss = loss
        self.boundary = boundary_of(loss)

    def discriminator(self, real: Any, fake: Any) -> tuple[Tensor, Tensor]:
        """The discriminators' losses on real and on fake images, each a scalar."""
        pairs = [self.loss.discriminator(*both) for both in zip(_each(real), _each(fake), strict=True)]
        of_real, of_fake = zip(*pairs, strict=True)
        return torch.stack(of_real).sum(), torch.stack(of_fake).sum()

    def generator(self, fake: Any) -> Tensor:
        """The generator's loss, a scalar."""
        return torch.stack([self.loss.generator(logits) for logits in _each(fake)]).sum()

    def penalty(self, discriminator: Any, real: Tensor, fake: Tensor) -> Tensor | None:
        """The sum of the penalties of all scales, a scalar; None where the loss has none.

        Args:
            discriminator: bare; a `translatekit.networks.scales.MultiScale` or one of a single scale.
            real, fake: batches of what it sees, of one shape.
        """
        if not hasattr(discriminator, "pyramid"):
            return self.loss.penalty(discriminator, real, fake)
        pyramids = discriminator.pyramid(real), discriminator.pyramid(fake)
        penalties = [self.loss.penalty(*parts) for parts in zip(discriminator.scales, *pyramids, strict=True)]
        found = [penalty for penalty in penalties if penalty is not None]
        return torch.stack(found).sum() if found else None


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor], scales: int = 1) -> Tensor:
    """How far features of outputs are from those of real images: the mean absolute difference, summed over layers.

    Equation 4 of Wang et al., CVPR 2018.

    Args:
        real: features (N, C, H, W) of each layer, which no gradient reaches.
        fake: those of the outputs.
        scales: how many discriminators they come from, whose sums are averaged.

    Returns:
        A scalar.
    """
    pairs = zip(real, fake, strict=True)
    return (
        torch.stack([F.l1_loss(made.float(), wanted.detach().float()) for wanted, made in pairs]).sum()
        / scales
    )


def _each(logits: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [logits] if isinstance(logits, Tensor) else logits
