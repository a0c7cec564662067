"""The coarse-to-fine generator of Pix2PixHD.

Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018, section 3.1.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.networks.layers import Norm, Upsampling, Width, check_sides, conv_bias, doubling, make_norm
from translatekit.options import Bounds


class CoarseToFine(nn.Module):
    """Coarse-to-fine generator: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    A global generator works at a fraction of the resolution. Each local enhancer around it doubles that: what it makes
    of the larger image is added to the last features of what it surrounds.

    Attributes:
        size_multiple: 2 to the power of `downsamplings` plus `enhancers`: 16 pixels with the defaults.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Width = 64,
        downsamplings: Annotated[int, Bounds(minimum=1, maximum=8)] = 4,
        blocks: Annotated[int, Bounds(minimum=1, maximum=1024)] = 9,
        enhancers: Annotated[int, Bounds(minimum=0, maximum=4)] = 0,
        enhancer_blocks: Annotated[int, Bounds(minimum=1, maximum=1024)] = 3,
        norm: Norm = "instance",
        upsampling: Upsampling = "transposed",
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the input images.
            out_channels: of the output images.
            width: channels of the global generator at its full resolution; each enhancer has half of what it surrounds.
            downsamplings: how often the global generator halves the sides: 4 for 1024 pixels, 2 for 128.
            blocks: its residual blocks.
            enhancers: local enhancers; the paper has one for 2048x1024 pixels.
            enhancer_blocks: residual blocks of each.
            norm: normalization of all but the last layer.
            upsampling: what doubles the sides: the paper's `transposed` convolutions, or `nearest`, pixels repeated and
                convolved, which have no checkerboard to unlearn.

        Raises:
            ValueError: the width cannot be halved for each enhancer.
        """
        super().__init__()
        if width % 2**enhancers:
            raise ValueError(
                f"the width must be a multiple of {2**enhancers} for {enhancers} enhancers, got {width}"
            )
        self.size_multiple = 2 ** (downsamplings + enhancers)
        self.coarse = nn.Sequential(
            _encoder(in_channels, width, downsamplings, norm),
            nn.Sequential(*(_Residual(width * 2**downsamplings, norm) for _ in range(blocks))),
            nn.Sequential(
                *(
                    _up(width * 2 ** (step + 1), width * 2**step, norm, upsampling)
                    for step in reversed(range(downsamplings))
                )
            ),
        )
        widths = [width // 2 ** (number + 1) for number in range(enhancers)]
        self.finer = nn.ModuleList(_encoder(in_channels, fine, 1, norm) for fine in widths)
        self.merged = nn.ModuleList(
            nn.Sequential(
                *(_Residual(2 * fine, norm) for _ in range(enhancer_blocks)),
                _up(2 * fine, fine, norm, upsampling),
            )
            for fine in widths
        )
        last = widths[-1] if widths else width
        self.head = nn.Sequential(_conv(last, out_channels, 7, bias=True), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        Raises:
            DataError: a side is not a multiple of `size_multiple`, or too small for the reflecting borders.
        """
        check_sides(x, "coarse_to_fine", self.size_multiple, smallest=2 * self.size_multiple)
        images = [x]
        for _ in self.finer:
            images.append(F.avg_pool2d(images[-1], 3, stride=2, padding=1, count_include_pad=False))
        features = self.coarse(images.pop())
        for encoder, rest in zip(self.finer, self.merged, strict=True):
            features = rest(encoder(images.pop()) + features)
        out: Tensor = self.head(features)
        return out


class _Residual(nn.Module):
    """Adds to its input what two convolutions make of it."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, 3, conv_bias(norm)),
            make_norm(norm, channels),
            nn.ReLU(inplace=True),
            _conv(channels, channels, 3, conv_bias(norm)),
            make_norm(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _encoder(in_channels: int, width: int, downsamplings: int, norm: Norm) -> nn.Sequential:
    stages = [_stage(_conv(in_channels, width, 7, conv_bias(norm)), width, norm)]
    for step in range(downsamplings):
        fan_in, fan_out = width * 2**step, width * 2 ** (step + 1)
        stages.append(
            _stage(nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1, bias=conv_bias(norm)), fan_out, norm)
        )
    return nn.Sequential(*stages)


def _up(fan_in: int, fan_out: int, norm: Norm, upsampling: Upsampling) -> nn.Sequential:
    return _stage(doubling(upsampling, fan_in, fan_out, conv_bias(norm)), fan_out, norm)


def _stage(conv: nn.Module, channels: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(conv, make_norm(norm, channels), nn.ReLU(inplace=True))


def _conv(in_channels: int, out_channels: int, size: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, padding=size // 2, padding_mode="reflect", bias=bias)
