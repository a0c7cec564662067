"""What every loss must keep (see `translatekit.interfaces.AdversarialLoss` and `ReconstructionLoss`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from translatekit.losses import make_loss
from translatekit.testing.contracts import NotApplicableError, Subject, require
from translatekit.testing.networks import check_documented_options, check_finite, check_unknown_option, images

SIDE = 64  # pixels


def options(subject: Subject) -> None:
    """It can be made with its defaults, and refuses an unknown option by name.

    For that, each of its options has an annotation and a default.
    """
    loss_type = subject.spec.load()
    if getattr(loss_type, "__init__", None) is not nn.Module.__init__:  # which takes anything, to refuse it
        check_documented_options(subject, loss_type, ())
    _make(subject)
    check_unknown_option(subject, lambda given: make_loss(subject.spec.name, subject.spec.role, **given))


def scalars(subject: Subject) -> None:
    """Its losses are finite scalars that pass gradients on."""
    loss = _make(subject)
    if subject.spec.role == "reconstruction":
        output = images(2, 3, SIDE).requires_grad_()
        _check_scalar(subject, loss(output, images(2, 3, SIDE, seed=1)), output)
        return
    for shape in ((4, 1, 5, 5), (2, 1, 1, 1)):
        real, fake = _logits(shape, 0), _logits(shape, 1)
        on_real, on_fake = loss.discriminator(real, fake)
        _check_scalar(subject, on_real, real)
        _check_scalar(subject, on_fake, fake)
        fake = _logits(shape, 1)
        _check_scalar(subject, loss.generator(fake), fake)


def direction(subject: Subject) -> None:
    """An adversarial loss rewards a discriminator that tells real from fake, and a generator that deceives it."""
    _only(subject, "adversarial")
    loss = _make(subject)
    low, high = torch.full((2, 1, 3, 3), -0.5), torch.full((2, 1, 3, 3), 0.5)
    right = float(sum(loss.discriminator(high, low)))
    wrong = float(sum(loss.discriminator(low, high)))
    require(
        right < wrong,
        f"{subject} punishes a discriminator that is right ({right:.3g}, and {wrong:.3g} if wrong)",
    )
    deceived, caught = float(loss.generator(high)), float(loss.generator(low))
    require(
        deceived < caught,
        f"{subject} punishes a generator that deceives ({deceived:.3g}, and {caught:.3g} if caught)",
    )


def penalty(subject: Subject) -> None:
    """An adversarial loss's penalty is None or a finite scalar whose gradient reaches the discriminator."""
    _only(subject, "adversarial")
    torch.manual_seed(0)
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    value = _make(subject).penalty(discriminator, images(2, 3, 16), images(2, 3, 16, seed=1))
    if value is not None:
        _check_scalar(subject, value, next(discriminator.parameters()))


def smallest_for_equal_images(subject: Subject) -> None:
    """A reconstruction loss is never negative, about zero for equal images, and grows with the difference."""
    _only(subject, "reconstruction")
    loss = _make(subject)
    target, noise = images(2, 3, SIDE) * 0.5, images(2, 3, SIDE, seed=1) * 0.5
    with torch.no_grad():
        equal, near, far = (float(loss(target + scale * noise, target)) for scale in (0.0, 0.1, 1.0))
    require(min(equal, near, far) >= 0, f"{subject} is negative: {min(equal, near, far):.3g}")
    require(equal < 1e-4, f"{subject} is {equal:.3g} for equal images, not 0")
    require(
        equal < near < far, f"{subject} does not grow with the difference: {equal:.3g}, {near:.3g}, {far:.3g}"
    )


CONTRACTS = (options, scalars, direction, penalty, smallest_for_equal_images)


def _make(subject: Subject) -> Any:
    return make_loss(subject.spec.name, subject.spec.role, **subject.options)


def _only(subject: Subject, role: str) -> None:
    if subject.spec.role != role:
        raise NotApplicableError(f"{subject} is no {role} loss")


def _logits(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul_(0.5).requires_grad_()


def _check_scalar(subject: Subject, value: Any, source: Tensor) -> None:
    is_scalar = isinstance(value, Tensor) and value.ndim == 0
    shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    require(is_scalar, f"{subject} gives {shape}, not a scalar tensor: take the mean")
    check_finite(subject, value, "value")
    require(value.requires_grad, f"no gradient passes through {subject}: do not detach")
    (gradient,) = torch.autograd.grad(value, source, retain_graph=True)
    check_finite(subject, gradient, "gradient")
    require(bool((gradient != 0).any()), f"the gradient of {subject} is zero: nothing would be learned")
