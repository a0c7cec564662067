"""The residual generator of CycleGAN.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017,
section 7.2, after Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from translatekit.networks.layers import Dropout, Norm, Width, check_sides, conv_bias, make_norm
from translatekit.options import Bounds


class _Residual(nn.Module):
    """Adds to its input what two convolutions make of it."""

    def __init__(self, channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3, conv_bias(norm))
        self.norm1 = make_norm(norm, channels)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = _conv(channels, channels, 3, conv_bias(norm))
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
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the input images.
            out_channels: of the output images.
            blocks: residual blocks: 6 for images of 128 pixels, 9 for 256 and more.
            width: channels at full resolution; 4 times as many in the residual blocks.
            norm: normalization of all but the last layer.
            dropout: probability, within each residual block.
        """
        super().__init__()
        bias = conv_bias(norm)

        def stage(conv: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(conv, make_norm(norm, channels), nn.ReLU(inplace=True))

        def down(fan_in: int, fan_out: int) -> nn.Sequential:
            return stage(nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1, bias=bias), fan_out)

        def up(fan_in: int, fan_out: int) -> nn.Sequential:
            conv = nn.ConvTranspose2d(fan_in, fan_out, 3, stride=2, padding=1, output_padding=1, bias=bias)
            return stage(conv, fan_out)

        self.encoder = nn.Sequential(
            stage(_conv(in_channels, width, 7, bias), width),
            down(width, 2 * width),
            down(2 * width, 4 * width),
        )
        self.blocks = nn.Sequential(*(_Residual(4 * width, norm, dropout) for _ in range(blocks)))
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


def _conv(in_channels: int, out_channels: int, size: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, padding=size // 2, padding_mode="reflect", bias=bias)
