"""The R1 penalty, which any adversarial loss can be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from translatekit.interfaces import AdversarialLoss
from translatekit.losses.adversarial import boundary_of
from translatekit.options import Bounds


class R1:
    """The squared norm of the discriminator's gradient at real images.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, section 4.1; lazily, as in
    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 3.1.
    """

    def __init__(
        self,
        *,
        r1: Annotated[float, Bounds(minimum=0)] = 1.0,
        r1_every: Annotated[int, Bounds(minimum=1, maximum=10_000)] = 16,
    ) -> None:
        """Make the penalty.

        Args:
            r1: its weight, gamma in the paper, which halves it.
            r1_every: updates of the discriminator among which it is in one, with that many times the weight. Which one
                is drawn from torch's generator, so that nothing has to be counted, and a resumed run draws the same;
                of several processes, from that of the first.
        """
        self.r1, self.r1_every = r1, r1_every

    def __call__(self, discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor | None:
        """The penalty, a scalar in float32; None where it is not due.

        Args:
            discriminator: maps (N, C, H, W) to logits.
            real: (N, C, H, W).
        """
        if not self.r1 or not self._is_due(real.device):
            return None
        images = real.detach().requires_grad_()
        logits = discriminator(images)
        (gradient,) = torch.autograd.grad(logits.float().flatten(1).mean(1).sum(), images, create_graph=True)
        return self.r1_every * self.r1 / 2 * gradient.float().square().flatten(1).sum(1).mean()

    def _is_due(self, device: torch.device) -> bool:
        if self.r1_every == 1:
            return True
        drawn = torch.randint(self.r1_every, ())
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # A pass that one process makes alone would wait for others, where normalization is over all of them.
            drawn = drawn.to(device)
            torch.distributed.broadcast(drawn, 0)
        return drawn.item() == 0


class Regularized:
    """An adversarial loss with a further penalty."""

    def __init__(self, loss: AdversarialLoss, regularizer: R1) -> None:
        """Take both."""
        self.loss, self.regularizer = loss, regularizer
        self.boundary = boundary_of(loss)

    def discriminator(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """The loss's own."""
        return self.loss.discriminator(real, fake)

    def generator(self, fake: Tensor) -> Tensor:
        """The loss's own."""
        return self.loss.generator(fake)

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor | None:
        """The sum of both penalties, a scalar; None where there is neither."""
        penalties = [self.loss.penalty(discriminator, real, fake), self.regularizer(discriminator, real)]
        found = [penalty for penalty in penalties if penalty is not None]
        return torch.stack(found).sum() if found else None
