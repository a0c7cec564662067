"""Discriminators that judge pixels, patches, or the whole image.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, sections 3.2.2
and 6.1.2.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from translatekit.networks.layers import Layers, Norm, Width, check_sides, conv_bias, make_norm


def _leaky_relu() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


class PatchGAN(nn.Module):
    """Judges overlapping patches: (N, in_channels, H, W) in [-1, 1] to logits (N, 1, H', W'), one a patch.

    The receptive field is 16, 34, 70, 142 or 286 pixels a side with one to five layers.
    """

    name: ClassVar[str] = "patch"

    def __init__(
        self, in_channels: int, *, layers: Layers = 3, width: Width = 64, norm: Norm = "batch"
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            layers: convolutions of stride 2; two of stride 1 follow them.
            width: channels of the first layer; they double with each up to 8 times this.
            norm: normalization of all but the first and the last layer.
        """
        super().__init__()
        self.smallest = 3 * 2**layers  # the two convolutions of stride 1 take a pixel each off a side of 3
        modules = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), _leaky_relu()]
        fan_in = width
        for layer in range(1, layers + 1):
            fan_out, stride = width * min(8, 2**layer), 2 if layer < layers else 1
            modules += [
                nn.Conv2d(fan_in, fan_out, 4, stride=stride, padding=1, bias=conv_bias(norm)),
                make_norm(norm, fan_out),
                _leaky_relu(),
            ]
            fan_in = fan_out
        modules.append(nn.Conv2d(fan_in, 1, 4, stride=1, padding=1))
        self.model = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Judge images.

        Raises:
            DataError: they are too small for the layers.
        """
        check_sides(x, f"{self.name} discriminator", 1, self.smallest)
        logits: Tensor = self.model(x)
        return logits


class ImageGAN(PatchGAN):
    """Judges the whole image: a `PatchGAN` of five layers, whose receptive field is 286 pixels a side."""

    name = "image"

    def __init__(self, in_channels: int, *, width: Width = 64, norm: Norm = "batch") -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            width: channels of the first layer.
            norm: normalization of all but the first and the last layer.
        """
        super().__init__(in_channels, layers=5, width=width, norm=norm)


class PixelGAN(nn.Module):
    """Judges each pixel by itself: (N, in_channels, H, W) in [-1, 1] to logits (N, 1, H, W)."""

    def __init__(self, in_channels: int, *, width: Width = 64, norm: Norm = "batch") -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            width: channels of the first layer; the second has twice as many.
            norm: normalization of the second layer.
        """
        super().__init__()
        bias = conv_bias(norm)
        self.model = nn.Sequential(
            nn.Conv2d(in_channels, width, 1),
            _leaky_relu(),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            make_norm(norm, 2 * width),
            _leaky_relu(),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge images."""
        logits: Tensor = self.model(x)
        return logits
