"""The networks of SPADE.

Park et al., "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019, section 3 and appendix A.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.networks.layers import Noise, Norm, SpectralConv2d, Width, check_sides, make_norm
from translatekit.options import LARGEST_SEED, Bounds

_SLOPE = 0.2  # of the leaky ReLU
_START = 4  # pixels a side of the map that a style becomes


class SPADE(nn.Module):
    """Normalization whose scale and shift are convolved from the label map, pixel by pixel (equation 1).

    gamma(m) (x - mean) / deviation + beta(m), where gamma starts around 1: its convolution gives the difference.
    """

    def __init__(self, channels: int, label_channels: int, hidden: int, norm: Norm) -> None:
        """Make it.

        Args:
            channels: of what is normalized.
            label_channels: of the label maps.
            hidden: channels of the layer that gamma and beta share.
            norm: the normalization itself, without parameters.
        """
        super().__init__()
        self.norm = make_norm(norm, channels, affine=False)
        self.shared = nn.Conv2d(label_channels, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalize (N, channels, H, W) by label maps (N, label_channels, H, W)."""
        inner = F.relu(self.shared(labels))
        return self.norm(x) * (1 + self.gamma(inner)) + self.beta(inner)


class SPADEBlock(nn.Module):
    """A residual block whose normalizations are `SPADE` (figure 4).

    Where the numbers of channels differ, what is added goes through a normalization and a convolution, too.
    """

    def __init__(self, fan_in: int, fan_out: int, label_channels: int, hidden: int, norm: Norm) -> None:
        """Make it for (N, fan_in, H, W) to (N, fan_out, H, W); the rest as of `SPADE`."""
        super().__init__()
        middle = min(fan_in, fan_out)

        def spade(channels: int) -> SPADE:
            return SPADE(channels, label_channels, hidden, norm)

        self.norm1, self.conv1 = spade(fan_in), SpectralConv2d(fan_in, middle, 3, padding=1)
        self.norm2, self.conv2 = spade(middle), SpectralConv2d(middle, fan_out, 3, padding=1)
        self.learned = fan_in != fan_out
        if self.learned:
            self.norm_skip, self.conv_skip = spade(fan_in), SpectralConv2d(fan_in, fan_out, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Features and label maps of one size to features of that size."""
        skip = self.conv_skip(self.norm_skip(x, labels)) if self.learned else x
        x = self.conv1(F.leaky_relu(self.norm1(x, labels), _SLOPE))
        x = self.conv2(F.leaky_relu(self.norm2(x, labels), _SLOPE))
        return skip + x


class SPADEGenerator(nn.Module):
    """Label maps (N, in_channels, H, W) to images (N, out_channels, H, W) in [-1, 1].

    There is no encoder: the label maps, at the resolution of each block, steer the normalizations of a decoder. It
    starts from a style vector, made a map of 4x4 pixels and resized to the block's resolution, so that images may have
    any size; where there is no style, from the label map at its lowest resolution.

    Attributes:
        size_multiple: 2 to the power of `upsamplings`: 64 pixels with the defaults; no side may be below twice that.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: Width = 64,
        upsamplings: Annotated[int, Bounds(minimum=1, maximum=10)] = 6,
        hidden: Width = 128,
        norm: Norm = "batch",
        style_size: Annotated[int, Bounds(minimum=0, maximum=65536)] = 0,
        style: Annotated[int | None, Bounds(minimum=0, maximum=LARGEST_SEED)] = None,
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the label maps: one a class.
            out_channels: of the images.
            width: channels of the last block; they double with each block before it, up to 16 times this.
            upsamplings: how often the sides are doubled; there is a block more.
            hidden: channels between the label map and the scales and shifts.
            norm: normalization before these are applied.
            style_size: length of the style vector; 0 for none. A method sets it.
            style: the seed of the style that every image gets when the model is run; without one, the mean of all.
        """
        super().__init__()
        self.size_multiple = 2**upsamplings
        widths = [width * min(16, 2**step) for step in reversed(range(upsamplings + 1))]
        self.noise = Noise(style_size, style) if style_size else None
        self.start = (
            nn.Linear(style_size, widths[0] * _START**2)
            if style_size
            else nn.Conv2d(in_channels, widths[0], 3, padding=1)
        )
        self.blocks = nn.ModuleList(
            SPADEBlock(fan_in, fan_out, in_channels, hidden, norm)
            for fan_in, fan_out in pairwise([widths[0], *widths])
        )
        self.head = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        self.feature_layers = (*(f"blocks.{number}" for number in range(len(self.blocks))), "head")

    def forward(self, labels: Tensor, style: Tensor | None = None) -> Tensor:
        """Make images.

        Args:
            labels: (N, in_channels, H, W).
            style: (N, style_size), normal(0, 1); drawn in training, and in evaluation as the option says, where it is
                not given.

        Raises:
            DataError: a side is not a multiple of `size_multiple`, or below twice that.
        """
        check_sides(labels, "spade", self.size_multiple, smallest=2 * self.size_multiple)
        maps = [labels]
        for _ in self.blocks[1:]:
            maps.append(maps[-1][..., ::2, ::2])
        if self.noise is None:
            x = self.start(maps[-1])
        else:
            x = self.start(self.noise(labels) if style is None else style).unflatten(1, (-1, _START, _START))
            x = F.interpolate(x, size=maps[-1].shape[2:], mode="bilinear")
        for number, block in enumerate(self.blocks):
            if number:
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(x, maps.pop())
        return F.tanh(self.head(F.leaky_relu(x, _SLOPE)))


class StyleEncoder(nn.Module):
    """The distribution of an image's style: strided convolutions, and a linear layer each for two of its parameters.

    Appendix A of the paper, for images of any one size.
    """

    def __init__(self, in_channels: int, size: int, style_size: int, width: int = 64) -> None:
        """Make it.

        Args:
            in_channels: of the images.
            size: of the images, in pixels a side.
            style_size: length of the style vector.
            width: channels of the first layer; they double with each up to 8 times this.
        """
        super().__init__()
        modules: list[nn.Module] = []
        fan_in, fan_out, side = in_channels, width, size
        while side > 4 or not modules:
            modules += [SpectralConv2d(fan_in, fan_out, 3, stride=2, padding=1)]
            modules += [nn.InstanceNorm2d(fan_out), nn.LeakyReLU(_SLOPE)]
            fan_in, fan_out, side = fan_out, min(2 * fan_out, 8 * width), -(-side // 2)
        self.features = nn.Sequential(*modules)
        self.mean = nn.Linear(fan_in * side**2, style_size)
        self.log_variance = nn.Linear(fan_in * side**2, style_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, in_channels, size, size) to means and logarithms of variances, (N, style_size) each."""
        features = self.features(x).flatten(1)
        return self.mean(features), self.log_variance(features)
