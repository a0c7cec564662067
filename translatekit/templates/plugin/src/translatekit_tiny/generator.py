"""A small generator: residual blocks with growing dilation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Tiny(nn.Module):
    """Maps (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    Attributes:
        size_multiple: each side of the input must be a multiple of this, in pixels.
    """

    size_multiple = 2

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 32, blocks: int = 4) -> None:
        """Make the network.

        Args:
            in_channels: of the input images.
            out_channels: of the output images.
            width: channels inside.
            blocks: residual blocks; their dilation is 1, 2, 4, 8, and again.

        Raises:
            ValueError: an option is below 1.
        """
        super().__init__()
        if width < 1 or blocks < 1:
            raise ValueError(f"width and blocks must be at least 1, got {width} and {blocks}")
        self.stem = nn.Conv2d(in_channels, width, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(_Residual(width, 2 ** (block % 4)) for block in range(blocks)))
        self.head = nn.Sequential(nn.Conv2d(width, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Translate images."""
        return torch.tanh(self.head(self.blocks(self.stem(x))))


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation),
            nn.InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out
