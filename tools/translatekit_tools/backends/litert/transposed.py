"""Transposed convolutions in a form that LiteRT has."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


def crop_transposed(network: nn.Module) -> None:
    """Write transposed convolutions with an output padding as ones without any padding, and a crop, in place.

    LiteRT has padding as TensorFlow defines it, in which there is no output padding. What a convolution without padding
    gives is larger on each side; what lies between is the same.
    """
    for name, child in list(network.named_children()):
        if isinstance(child, nn.ConvTranspose2d) and any(child.output_padding) and _is_within(child):
            setattr(network, name, _Cropped(child))
        else:
            crop_transposed(child)


class _Cropped(nn.Module):
    def __init__(self, conv: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv: Any = self.conv
        whole = F.conv_transpose2d(
            x, conv.weight, conv.bias, conv.stride, 0, 0, conv.groups, dilation=conv.dilation
        )
        for axis in (0, 1):
            padding, more = conv.padding[axis], conv.output_padding[axis]
            whole = whole.narrow(2 + axis, padding, whole.shape[2 + axis] - 2 * padding + more)
        return whole


def _is_within(conv: nn.ConvTranspose2d) -> bool:
    """Whether the output ends within what the convolution without padding gives."""
    padding: Any = conv.padding
    return all(more <= within for more, within in zip(conv.output_padding, padding, strict=True))
