"""A narrower network's first weights out of a wider one's: the channels that weigh most.

The importance of a channel is the L1 norm of the weights that make it, as Li et al., "Pruning Filters for Efficient
ConvNets", ICLR 2017, rank filters, and as Li et al., "GAN Compression", CVPR 2020, start their students.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Conv = nn.Conv2d | nn.ConvTranspose2d


@torch.no_grad()
def important(convolutions: Sequence[Conv], count: int) -> Tensor:
    """The channels to keep where several convolutions give the same ones.

    Args:
        convolutions: whose outputs are added up or shared, so that they keep the same channels.
        count: how many to keep, at most as many as there are.

    Returns:
        Their indices in ascending order, (count,).
    """
    norms = torch.stack([_by_output(conv).abs().flatten(1).sum(1) for conv in convolutions]).sum(0)
    return norms.topk(count).indices.sort().values


@torch.no_grad()
def take(target: Conv, source: Conv, outputs: Tensor | None, inputs: Tensor | None) -> None:
    """Give a convolution some channels of a wider one of the same kernel.

    Args:
        target, source: the convolutions.
        outputs, inputs: the channels of the source; None for all.
    """
    weight = _by_output(source)
    weight = weight if outputs is None else weight[outputs]
    weight = weight if inputs is None else weight[:, inputs]
    _by_output(target).copy_(weight)
    if target.bias is not None:
        if source.bias is None:
            nn.init.zeros_(target.bias)
        else:
            target.bias.copy_(source.bias if outputs is None else source.bias[outputs])


@torch.no_grad()
def take_norm(target: nn.Module, source: nn.Module, channels: Tensor) -> None:
    """Give a normalization the numbers of some channels of another; one that has none is left as it is."""
    own = dict(source.named_parameters()) | dict(source.named_buffers())
    for name, tensor in (*target.named_parameters(), *target.named_buffers()):
        if name in own and own[name].ndim == 1:
            tensor.copy_(own[name][channels])


def spread(count: int, total: int) -> list[int]:
    """Which of some layers to keep, evenly from the first to the last."""
    return [round(number * (total - 1) / max(1, count - 1)) for number in range(count)]


def _by_output(conv: Conv) -> Tensor:
    """The weights, (out, in, kernel, kernel): a view."""
    return conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight
