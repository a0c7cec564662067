"""The residual generator of CycleGAN.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017,
section 7.2, after Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from translatekit.networks.layers import (
    Dropout,
    Norm,
    Upsampling,
    Width,
    check_sides,
    conv_bias,
    doubling,
    make_norm,
)
from translatekit.networks.slicing import important, spread, take, take_norm
from translatekit.options import Bounds


class _Residual(nn.Module):
    """Adds to its input what two convolutions make of it."""

    def __init__(self, channels: int, norm: Norm, dropout: float, separable: bool) -> None:
        super().__init__()

        def conv() -> nn.Module:
            if not separable:
                return _conv(channels, channels, 3, conv_bias(norm))
            return nn.Sequential(
                _conv(channels, channels, 3, conv_bias(norm), groups=channels),
                make_norm(norm, channels),
                nn.Conv2d(channels, channels, 1, bias=conv_bias(norm)),
            )

        self.conv1 = conv()
        self.norm1 = make_norm(norm, channels)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = conv()
        self.norm2 = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.relu(self.norm1(self.conv1(x))))
        out: Tensor = x + self.norm2(self.conv2(inner))
        return out


class ResNet(nn.Module):
    """Residual generator: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    Attributes:
        size_multiple: 4 pixels; no side may be below 8.
    """

    size_multiple = 4

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        blocks: Annotated[int, Bounds(minimum=1, maximum=1024)] = 9,
        width: Width = 64,
        norm: Norm = "instance",
        dropout: Dropout = 0.0,
        separable: bool = False,
        upsampling: Upsampling = "transposed",
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the input images.
            out_channels: of the output images.
            blocks: residual blocks: 6 for images of 128 pixels, 9 for 256 and more.
            width: channels at full resolution; 4 times as many in the residual blocks.
            norm: normalization of all but the last layer.
            dropout: probability, within each residual block.
            separable: make each convolution of the residual blocks of one by channel and one by pixel, which takes an
                eighth of the multiplications (Li et al., "GAN Compression", CVPR 2020, section 3.2).
            upsampling: what doubles the sides: CycleGAN's `transposed` convolutions, or `nearest`, pixels repeated and
                convolved, which have no checkerboard to unlearn.
        """
        super().__init__()
        self.width, self.separable = width, separable
        bias = conv_bias(norm)

        def stage(conv: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(conv, make_norm(norm, channels), nn.ReLU(inplace=True))

        def down(fan_in: int, fan_out: int) -> nn.Sequential:
            return stage(nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1, bias=bias), fan_out)

        def up(fan_in: int, fan_out: int) -> nn.Sequential:
            return stage(doubling(upsampling, fan_in, fan_out, bias), fan_out)

        self.encoder = nn.Sequential(
            stage(_conv(in_channels, width, 7, bias), width),
            down(width, 2 * width),
            down(2 * width, 4 * width),
        )
        self.blocks = nn.Sequential(*(_Residual(4 * width, norm, dropout, separable) for _ in range(blocks)))
        self.decoder = nn.Sequential(up(4 * width, 2 * width), up(2 * width, width))
        self.head = nn.Sequential(_conv(width, out_channels, 7, bias=True), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        Raises:
            DataError: a side is not a multiple of `size_multiple`, or too small for the reflecting borders.
        """
        check_sides(x, "resnet", self.size_multiple, smallest=8)
        out: Tensor = self.head(self.decoder(self.blocks(self.encoder(x))))
        return out

    @torch.no_grad()
    def start_from(self, teacher: Any) -> None:
        """Take the weights of the most important channels and of evenly spread blocks of a wider `ResNet`.

        Blocks of separable convolutions keep their own weights where the teacher's are full ones, and so do the layers
        that double the sides where the teacher's are of another kind.
        """
        own: Any
        other: Any
        block: Any
        kept: Tensor | None = None
        stream = [teacher.encoder[2][0], *(_last(block.conv2) for block in teacher.blocks)]
        givers = [[teacher.encoder[0][0]], [teacher.encoder[1][0]], stream]
        for own, other, makers in zip(self.encoder, teacher.encoder, givers, strict=True):
            before, kept = kept, important(makers, own[0].out_channels)
            take(own[0], other[0], kept, before)
            take_norm(own[1], other[1], kept)
        assert kept is not None
        for block, number in zip(self.blocks, spread(len(self.blocks), len(teacher.blocks)), strict=True):
            other = teacher.blocks[number]
            if self.separable != teacher.separable:
                continue
            inner = important([_last(other.conv1)], len(kept))
            for own, source, makes, takes in (
                (block.conv1, other.conv1, inner, kept),
                (block.conv2, other.conv2, kept, inner),
            ):
                if self.separable:
                    take(own[0], source[0], takes, None)
                    take_norm(own[1], source[1], takes)
                take(_last(own), _last(source), makes, takes)
            take_norm(block.norm1, other.norm1, inner)
            take_norm(block.norm2, other.norm2, kept)
        for own, other in zip(self.decoder, teacher.decoder, strict=True):
            before, kept = kept, important([other[0]], own[0].out_channels)
            if type(own[0]) is type(other[0]):
                take(own[0], other[0], kept, before)
            take_norm(own[1], other[1], kept)
        head: Any = self.head[0]
        take(head, teacher.head[0], None, kept)


def _last(conv: nn.Module) -> Any:
    """The convolution that makes a layer's channels: itself, or the last of a separable one."""
    return conv[-1] if isinstance(conv, nn.Sequential) else conv


def students(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The narrower and shallower forms of a network that one may learn from it.

    Args:
        options: the teacher's.
    """
    width, blocks = int(options.get("width", 64)), int(options.get("blocks", 9))
    for share in (0.75, 0.5, 0.375, 0.25, 0.1875, 0.125):
        for depth in dict.fromkeys((blocks, max(1, round(blocks * 2 / 3)), max(1, round(blocks / 3)))):
            for separable in dict.fromkeys((bool(options.get("separable", False)), True)):
                narrow = max(1, round(width * share))
                yield {**options, "width": narrow, "blocks": depth, "separable": separable, "dropout": 0.0}


def _conv(in_channels: int, out_channels: int, size: int, bias: bool, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels,
        out_channels,
        size,
        padding=size // 2,
        padding_mode="reflect",
        bias=bias,
        groups=groups,
    )
