"""Steps on several batches at once, which need the memory of one: gradients are accumulated over them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from translatekit.networks.layers import SpectralConv2d
from translatekit.training.fabric import Fabric


class Update:
    """One step of optimizers down the gradient of a loss.

    Args:
        loss: a scalar, the mean over a batch.
        names: of the optimizers.
    """

    def __init__(self, loss: Tensor, *names: str) -> None:
        self.loss, self.names = loss, names


Updates: TypeAlias = Generator[Update, None, dict[str, Tensor]]
"""The updates of a step on one batch, in order; at its end, the losses that are logged."""


class Accumulating(Protocol):
    """What a method must be to accumulate gradients: `translatekit.training.method.Method` is."""

    networks: dict[str, Any]
    unwrapped: dict[str, nn.Module]
    optimizers: dict[str, Any]
    fabric: Fabric
    part: int

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """The updates of a step on one batch."""
        ...


def accumulate(method: Accumulating, batches: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """A step on several batches, as if they were one: all of them go through each update before the next one.

    So a generator is judged by the discriminator that has seen all of the batches, as it is in one large batch. The
    result is that of one, as far as no layer or loss looks across the images of a batch.

    Returns:
        The means of the losses.
    """
    parts = [method.updates(batch) for batch in batches]
    losses: list[dict[str, Tensor]] = []
    parameters = [parameter for network in method.unwrapped.values() for parameter in network.parameters()]
    with ExitStack() as stack:
        for network in method.networks.values():
            if any(parameter.requires_grad for parameter in network.parameters()):
                # Each network's passes and those back are far apart, which DDP's own bookkeeping does not follow.
                stack.enter_context(method.fabric.no_backward_sync(network))
        while not losses:
            names: tuple[str, ...] = ()
            trained = [parameter.requires_grad for parameter in parameters]
            for method.part, part in enumerate(parts):
                for parameter, trains in zip(parameters, trained, strict=True):
                    parameter.requires_grad_(trains)  # another part may have frozen a network meanwhile
                try:
                    update = next(part)
                except StopIteration as end:
                    losses.append(end.value)
                    continue
                if not names:
                    names = update.names
                    for name in names:
                        method.optimizers[name].zero_grad()
                method.fabric.backward(update.loss / len(batches))
            method.part = 0
            for name in names:
                _average(method, name)
                method.optimizers[name].step()
    given = dict.fromkeys(name for part in losses for name in part)
    return {
        name: torch.stack([part[name].float() for part in losses if name in part]).mean() for name in given
    }


class Recomputed(nn.Module):
    """A network that keeps none of its activations, and computes them again when gradients pass through it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network gives."""
        if not torch.is_grad_enabled():
            return self.network(*args, **kwargs)
        contexts = partial(_contexts, self.network)
        return checkpoint(self.network, *args, use_reentrant=False, context_fn=contexts, **kwargs)


def _contexts(network: nn.Module) -> tuple[Any, Any]:
    return nullcontext(), _without_side_effects(network)


@contextmanager
def _without_side_effects(network: nn.Module) -> Iterator[None]:
    """Let normalization not count a batch again that is computed a second time."""
    spectral = [layer for layer in network.modules() if isinstance(layer, SpectralConv2d)]
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0  # a mean that moves by nothing
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked = layer.num_batches_tracked.clone()
    for convolution in spectral:
        convolution.iterates = False
    try:
        yield
    finally:
        for convolution in spectral:
            convolution.iterates = True
        for layer, (momentum, count) in zip(layers, kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, count


def _average(method: Accumulating, name: str) -> None:
    """Make the gradients of an optimizer's parameters their mean over all processes."""
    if method.fabric.world_size == 1:
        return
    groups = method.optimizers[name].param_groups
    gradients = [item.grad for group in groups for item in group["params"] if item.grad is not None]
    flat = method.fabric.all_reduce(
        torch.cat([gradient.flatten() for gradient in gradients]), reduce_op="mean"
    )
    for gradient, mean in zip(gradients, flat.split([item.numel() for item in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))
