"""Adversarial losses, of the discriminator and of the generator: each a `translatekit.interfaces.AdversarialLoss`.

All take logits of any shape, as a discriminator gives them, and return means over them, computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from translatekit.options import Bounds


class _Unpenalized:
    """An adversarial loss without a regularizer."""

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor | None:
        """None: this loss has no penalty."""
        return None


class Vanilla(_Unpenalized):
    """Binary cross-entropy, the generator maximizing log D: non-saturating.

    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 3.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """-log D(real) and -log(1 - D(fake))."""
        return _cross_entropy(real, 1.0), _cross_entropy(fake, 0.0)

    def generator(self, fake: Tensor) -> Tensor:
        """-log D(fake)."""
        return _cross_entropy(fake, 1.0)


class Minimax(Vanilla):
    """Binary cross-entropy, the generator minimizing log(1 - D): saturates where D is sure.

    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, equation 1.
    """

    def generator(self, fake: Tensor) -> Tensor:
        """log(1 - D(fake)), which is below 0."""
        return -_cross_entropy(fake, 0.0)


class LeastSquares(_Unpenalized):
    """Squared distance to 1 for real and 0 for fake.

    Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, section 3.2; without the
    factors 1/2, as in CycleGAN.

    Attributes:
        boundary: the logit that is as far from the one as from the other.
    """

    boundary = 0.5

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(D(real) - 1)^2 and D(fake)^2."""
        return (real.float() - 1).square().mean(), fake.float().square().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """(D(fake) - 1)^2."""
        return (fake.float() - 1).square().mean()


class Hinge(_Unpenalized):
    """Hinge loss: logits past the margin of 1 no longer count for the discriminator.

    Lim and Ye, "Geometric GAN", 2017, section 3.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """max(0, 1 - D(real)) and max(0, 1 + D(fake))."""
        return F.relu(1 - real.float()).mean(), F.relu(1 + fake.float()).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """-D(fake)."""
        return -fake.float().mean()


class WassersteinGP:
    """Wasserstein distance with a gradient penalty.

    Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, section 4.
    """

    def __init__(self, *, lambda_gp: Annotated[float, Bounds(minimum=0)] = 10.0) -> None:
        """Make the loss.

        Args:
            lambda_gp: weight of the gradient penalty.
        """
        self.lambda_gp = lambda_gp

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """-D(real) and D(fake)."""
        return -real.float().mean(), fake.float().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """-D(fake)."""
        return -fake.float().mean()

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor | None:
        """How far the gradient's norm is from 1, between real and fake images.

        Args:
            discriminator: maps (N, C, H, W) to logits.
            real, fake: (N, C, H, W) each. No gradient flows back into what made them.

        Returns:
            The mean of (norm - 1)^2 times ``lambda_gp``; None where that is 0.
        """
        if not self.lambda_gp:
            return None
        real, fake = real.detach(), fake.detach()
        share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)
        between = torch.lerp(fake, real, share).requires_grad_()
        logits = discriminator(between)
        (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
        # The root's slope is infinite at 0, where a gradient that vanishes would turn the weights to NaN.
        norm = (gradient.float().flatten(1).square().sum(1) + 1e-12).sqrt()
        return self.lambda_gp * (norm - 1).square().mean()


def boundary_of(loss: object) -> float:
    """The logit above which a discriminator of a loss takes an image for real."""
    return float(getattr(loss, "boundary", 0.0))


def _cross_entropy(logits: Tensor, target: float) -> Tensor:
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
