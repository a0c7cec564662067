"""The U-Net of Pix2Pix, and the same network without its skip connections.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, sections 3.2.1
and 6.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.networks.layers import (
    DoublingConv2d,
    Dropout,
    HalvingConv2d,
    Norm,
    Width,
    check_sides,
    conv_bias,
    make_norm,
)
from translatekit.networks.slicing import important, take, take_norm
from translatekit.options import Bounds


class _Down(nn.Module):
    """Halves each side: convolution, then normalization."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, bias: bool) -> None:
        super().__init__()
        self.conv = HalvingConv2d(in_channels, out_channels, bias)
        self.norm = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


class _Up(nn.Module):
    """Doubles each side: transposed convolution, normalization, dropout."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, bias: bool, dropout: float) -> None:
        super().__init__()
        self.conv = DoublingConv2d(in_channels, out_channels, bias)
        self.norm = make_norm(norm, out_channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.norm(self.conv(x)))
        return out


class UNet(nn.Module):
    """U-Net: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    Attributes:
        size_multiple: 2 ** depth pixels, at which the bottleneck is a single pixel.
    """

    name: ClassVar[str] = "unet"
    skips: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        depth: Annotated[int, Bounds(minimum=2, maximum=16)] = 8,
        width: Width = 64,
        norm: Norm = "batch",
        dropout: Dropout = 0.5,
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the input images.
            out_channels: of the output images.
            depth: how many times each side is halved: 7 for 128 pixels, 8 for 256, 9 for 512.
            width: channels of the outermost level; they double inwards up to 8 times this.
            norm: normalization of all but the outermost and innermost levels.
            dropout: probability, on the decoder's levels between two of full width; the paper's noise.
        """
        super().__init__()
        self.size_multiple = 2**depth
        widths = [width * min(8, 2**level) for level in range(depth)]
        innermost, bias = depth - 1, conv_bias(norm)

        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in range(depth):
            plain = level in (0, innermost)
            fan_in = widths[level - 1] if level else in_channels
            self.encoder.append(_Down(fan_in, widths[level], "none" if plain else norm, bias))
        for level in reversed(range(depth)):
            fan_in = widths[level] * (2 if self.skips and level < innermost else 1)
            if level == 0:
                self.decoder.append(_Up(fan_in, out_channels, "none", True, 0.0))
            else:
                full = level < innermost and widths[level - 1] == 8 * width
                self.decoder.append(_Up(fan_in, widths[level - 1], norm, bias, dropout if full else 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        Raises:
            DataError: a side is not a multiple of `size_multiple`.
        """
        check_sides(x, self.name, self.size_multiple)
        levels: list[Tensor] = []
        for down in self.encoder:
            # In place, so that a skip carries LeakyReLU's output: ReLU of that equals ReLU of its input.
            x = down(F.leaky_relu(x, 0.2, inplace=True) if levels else x)
            levels.append(x)
        levels.pop()
        for up in self.decoder:
            x = up(F.relu(x, inplace=True))
            if self.skips and levels:
                x = torch.cat((levels.pop(), x), dim=1)
        return torch.tanh(x)

    @torch.no_grad()
    def start_from(self, teacher: UNet) -> None:
        """Take the weights of the most important channels of a wider network, and of its outer levels."""
        encoder: Any = teacher.encoder
        own: Any
        other: Any
        down: list[Tensor] = []
        for own, other in zip(self.encoder, encoder, strict=False):  # which may have more levels
            kept = important([other.conv], own.conv.out_channels)
            take(own.conv, other.conv, kept, down[-1] if down else None)
            take_norm(own.norm, other.norm, kept)
            down.append(kept)
        made: Tensor | None = None
        skipped = (
            0  # channels of the teacher's skip connection, which come first in what the next level takes
        )
        offset = len(teacher.decoder) - len(self.decoder)
        levels = reversed(range(len(self.decoder)))
        for level, own, other in zip(levels, self.decoder, teacher.decoder[offset:], strict=True):
            takes = down.pop()
            if made is not None:
                takes = torch.cat([takes, made + skipped]) if self.skips else made
            kept = important([other.conv], own.conv.out_channels)
            take(own.conv, other.conv, kept, takes)
            take_norm(own.norm, other.norm, kept)
            made = kept
            if level > 0:
                skipped = encoder[level - 1].conv.out_channels


class EncoderDecoder(UNet):
    """The U-Net without its skip connections: everything passes the bottleneck (section 4.3)."""

    name = "encoder_decoder"
    skips = False


def students(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The narrower and shallower forms of a network that one may learn from it.

    Args:
        options: the teacher's.
    """
    width, depth = int(options.get("width", 64)), int(options.get("depth", 8))
    for share in (0.75, 0.5, 0.375, 0.25, 0.1875, 0.125):
        for levels in range(depth, max(2, depth - 3), -1):
            yield {**options, "width": max(1, round(width * share)), "depth": levels, "dropout": 0.0}
