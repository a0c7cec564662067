"""Discriminators that judge pixels, patches, or the whole image.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, sections 3.2.2
and 6.1.2.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from translatekit.networks.layers import (
    Layers,
    Norm,
    SpectralConv2d,
    Width,
    check_sides,
    conv_bias,
    make_norm,
)


def _leaky_relu() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def _conv(
    in_channels: int,
    out_channels: int,
    size: int,
    spectral: bool,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
) -> nn.Conv2d:
    if spectral:
        return SpectralConv2d(in_channels, out_channels, size, stride=stride, padding=padding)
    return nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=padding, bias=bias)


class PatchGAN(nn.Module):
    """Judges overlapping patches: (N, in_channels, H, W) in [-1, 1] to logits (N, 1, H', W'), one a patch.

    The receptive field is 16, 34, 70, 142 or 286 pixels a side with one to five layers.
    """

    name: ClassVar[str] = "patch"

    def __init__(
        self,
        in_channels: int,
        *,
        layers: Layers = 3,
        width: Width = 64,
        norm: Norm = "batch",
        spectral: bool = False,
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            layers: convolutions of stride 2; two of stride 1 follow them.
            width: channels of the first layer; they double with each up to 8 times this.
            norm: normalization of all but the first and the last layer.
            spectral: divide the weights of all layers by their largest singular values.
        """
        super().__init__()
        self.smallest = 3 * 2**layers  # the two convolutions of stride 1 take a pixel each off a side of 3
        modules = [_conv(in_channels, width, 4, spectral, stride=2, padding=1), _leaky_relu()]
        fan_in = width
        for layer in range(1, layers + 1):
            fan_out, stride = width * min(8, 2**layer), 2 if layer < layers else 1
            modules += [
                _conv(fan_in, fan_out, 4, spectral, stride=stride, padding=1, bias=conv_bias(norm)),
                make_norm(norm, fan_out),
                _leaky_relu(),
            ]
            fan_in = fan_out
        modules.append(_conv(fan_in, 1, 4, spectral, padding=1))
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

    def __init__(
        self, in_channels: int, *, width: Width = 64, norm: Norm = "batch", spectral: bool = False
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            width: channels of the first layer.
            norm: normalization of all but the first and the last layer.
            spectral: divide the weights of all layers by their largest singular values.
        """
        super().__init__(in_channels, layers=5, width=width, norm=norm, spectral=spectral)


class PixelGAN(nn.Module):
    """Judges each pixel by itself: (N, in_channels, H, W) in [-1, 1] to logits (N, 1, H, W)."""

    def __init__(
        self, in_channels: int, *, width: Width = 64, norm: Norm = "batch", spectral: bool = False
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            width: channels of the first layer; the second has twice as many.
            norm: normalization of the second layer.
            spectral: divide the weights of all layers by their largest singular values.
        """
        super().__init__()
        bias = conv_bias(norm)
        self.model = nn.Sequential(
            _conv(in_channels, width, 1, spectral),
            _leaky_relu(),
            _conv(width, 2 * width, 1, spectral, bias=bias),
            make_norm(norm, 2 * width),
            _leaky_relu(),
            _conv(2 * width, 1, 1, spectral, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge images."""
        logits: Tensor = self.model(x)
        return logits
