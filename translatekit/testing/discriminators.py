"""What every discriminator must keep (see `translatekit.interfaces.Discriminator`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.networks.factory import make_discriminator
from translatekit.testing.contracts import Subject, require
from translatekit.testing.networks import (
    check_documented_options,
    check_finite,
    check_gradients,
    check_unknown_option,
    images,
)

NUM_CLASSES = 10
SIDE, CONDITIONAL_SIDE = 256, 32  # pixels, the sizes that methods of either kind train at by default


def options(subject: Subject) -> None:
    """Its options have annotations and defaults, and none is swallowed."""
    check_documented_options(subject, subject.spec.load(), _arguments(subject, 3))
    check_unknown_option(subject, lambda given: _make(subject, given))


def logits(subject: Subject) -> None:
    """It maps images of any number of channels to finite logits (N, 1, H, W)."""
    for channels in (1, 3, 6):
        network = _make(subject, channels=channels).eval()
        with torch.no_grad():
            output = network(*_inputs(subject, channels))
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        require(
            isinstance(output, Tensor) and output.ndim == 4 and output.shape[:2] == (2, 1),
            f"{subject} maps 2 images to {shape}, not to logits of shape (2, 1, H, W)",
        )
        check_finite(subject, output)


def gradients(subject: Subject) -> None:
    """Gradients reach every parameter and the images."""
    network = _make(subject).train()
    inputs = _inputs(subject, 3)
    inputs[0].requires_grad_()
    check_gradients(subject, network, network(*inputs))
    gradient = inputs[0].grad
    require(
        gradient is not None and bool((gradient != 0).any()),
        f"no gradient passes through {subject} to the images: a generator could not learn from it",
    )


CONTRACTS = (options, logits, gradients)


def _arguments(subject: Subject, channels: int) -> dict[str, int]:
    arguments = {"in_channels": channels}
    if subject.spec.conditional:
        arguments["num_classes"] = NUM_CLASSES
    return arguments


def _make(subject: Subject, given: Mapping[str, Any] | None = None, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    chosen = subject.options if given is None else given
    return make_discriminator(subject.spec.name, chosen, **_arguments(subject, channels))


def _inputs(subject: Subject, channels: int) -> tuple[Tensor, ...]:
    if subject.spec.conditional:
        return images(2, channels, CONDITIONAL_SIDE), torch.arange(2)
    return (images(2, channels, SIDE),)
