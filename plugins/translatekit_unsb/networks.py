"""Networks that know where on a bridge they are: a generator by the time, discriminators by the number of the step."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.bridge import CONDITIONS
from translatekit.networks.discriminators import PatchGAN
from translatekit.networks.layers import Layers, Norm, Width, check_sides
from translatekit.options import Bounds

_FREQUENCIES = 6


class TimeEmbedding(nn.Module):
    """From times (N, 1) in [0, 1) to vectors (N, size), by sines and cosines of doubling frequencies and two layers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.frequencies = [math.pi * 2**power for power in range(_FREQUENCIES)]
        self.model = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, size), nn.ReLU(), nn.Linear(size, size), nn.ReLU()
        )

    def forward(self, time: Tensor) -> Tensor:
        """Embed."""
        angles = torch.cat([time * frequency for frequency in self.frequencies], dim=1)
        vector: Tensor = self.model(torch.cat([angles.sin(), angles.cos()], dim=1))
        return vector


class TimeNorm(nn.Module):
    """Instance normalization whose scale and shift follow a vector: adaptive instance normalization.

    Huang and Belongie, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", ICCV 2017.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.scale = nn.Linear(size, channels)
        self.shift = nn.Linear(size, channels)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Normalize (N, channels, H, W) by a vector (N, size)."""
        scale, shift = (layer(vector)[:, :, None, None] for layer in (self.scale, self.shift))
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out


class TimeBlock(nn.Module):
    """Adds to its input what two convolutions make of it at a time."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3)
        self.norm1 = TimeNorm(channels, size)
        self.conv2 = _conv(channels, channels, 3)
        self.norm2 = TimeNorm(channels, size)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Refine (N, channels, H, W)."""
        inner = F.relu(self.norm1(self.conv1(x), vector))
        out: Tensor = x + self.norm2(self.conv2(inner), vector)
        return out


class BridgeResNet(nn.Module):
    """Residual generator of one pass: from a place on the way, the time and noise to the end, in [-1, 1].

    Its last two channels are the time, of which one number is looked at, and noise, which is seen as a channel of the
    image. The paper draws a vector of noise instead (section 4.2), which a graph of images has no place for.

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
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images, the time and the noise.
            out_channels: of the output images.
            blocks: residual blocks: 6 for images of 128 pixels, 9 for 256 and more.
            width: channels at full resolution, and size of the time's vector; 4 times as many channels in the residual
                blocks.

        Raises:
            ValueError: there is no channel of an image among the inputs.
        """
        super().__init__()
        if in_channels <= len(CONDITIONS):
            raise ValueError(
                f"it takes {' and '.join(CONDITIONS)} beside an image, got {in_channels} channels"
            )

        def stage(conv: nn.Module, channels: int) -> nn.Sequential:
            return nn.Sequential(conv, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True))

        def down(fan_in: int, fan_out: int) -> nn.Sequential:
            return stage(nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), fan_out)

        def up(fan_in: int, fan_out: int) -> nn.Sequential:
            conv = nn.ConvTranspose2d(fan_in, fan_out, 3, stride=2, padding=1, output_padding=1)
            return stage(conv, fan_out)

        self.time = TimeEmbedding(width)
        self.encoder = nn.Sequential(
            stage(_conv(in_channels - 1, width, 7), width), down(width, 2 * width), down(2 * width, 4 * width)
        )
        self.blocks = nn.ModuleList(TimeBlock(4 * width, width) for _ in range(blocks))
        self.decoder = nn.Sequential(up(4 * width, 2 * width), up(2 * width, width))
        self.head = nn.Sequential(_conv(width, out_channels, 7), nn.Tanh())
        # without the time's own, whose layers give vectors
        self.feature_layers = (
            *(f"encoder.{stage}.{layer}" for stage in range(3) for layer in range(3)),
            *(f"blocks.{number}" for number in range(blocks)),
            *(f"decoder.{stage}.{layer}" for stage in range(2) for layer in range(3)),
            "head.0",
            "head.1",
        )

    def forward(self, x: Tensor) -> Tensor:
        """Foresee the end.

        Args:
            x: (N, in_channels, H, W); the time plane holds one number.

        Raises:
            DataError: a side is not a multiple of `size_multiple`, or too small for the reflecting borders.
        """
        check_sides(x, "bridge-resnet", self.size_multiple, smallest=8)
        time = x[:, -2:-1, :1, :1].flatten(1)
        vector = self.time(time)
        out = self.encoder(torch.cat([x[:, :-2], x[:, -1:]], dim=1))
        for block in self.blocks:
            out = block(out, vector)
        end: Tensor = self.head(self.decoder(out))
        return end


class ConditionalPatchGAN(PatchGAN):
    """A `PatchGAN` that is told a class of the image, as planes beside its channels.

    Without normalization in its first layer, as `PatchGAN` is, it sees planes that are constant.
    """

    name = "conditional-patch"

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 0,
        *,
        layers: Layers = 3,
        width: Width = 64,
        norm: Norm = "batch",
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images, with those they are conditioned on.
            num_classes: how many classes there are; 0 for a plain `PatchGAN`.
            layers: convolutions of stride 2; two of stride 1 follow them.
            width: channels of the first layer; they double with each up to 8 times this.
            norm: normalization of all but the first and the last layer.
        """
        super().__init__(in_channels + num_classes, layers=layers, width=width, norm=norm)
        self.num_classes = num_classes

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge images (N, in_channels, H, W) of classes (N,)."""
        if self.num_classes:
            if labels is None:
                raise TypeError(
                    f"this network is conditioned on {self.num_classes} classes: call it with labels"
                )
            planes = F.one_hot(labels.long(), self.num_classes).to(x.dtype)[:, :, None, None]
            x = torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], dim=1)
        return super().forward(x)


def _conv(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, padding=size // 2, padding_mode="reflect")
