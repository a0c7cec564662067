"""A U-Net whose encoder is any of timm's backbones.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.backbones import Backbone
from translatekit.networks.layers import Dropout, Norm, Width, check_sides, conv_bias, make_norm


class _Level(nn.Module):
    """Doubles each side, joins the encoder's features of that resolution, and convolves twice."""

    def __init__(self, in_channels: int, skip: int, out_channels: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        bias = conv_bias(norm)
        self.convs = nn.Sequential(
            nn.Conv2d(in_channels + skip, out_channels, 3, padding=1, bias=bias),
            make_norm(norm, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=bias),
            make_norm(norm, out_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout) if dropout else nn.Identity(),
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.convs(x if skip is None else torch.cat((skip, x), dim=1))
        return out


class TimmUNet(nn.Module):
    """U-Net on a timm backbone: (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    At inference, the encoder's own normalization always uses its running statistics.

    Attributes:
        size_multiple: the encoder's reduction, in most cases 32 pixels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        encoder: str = "resnet34",
        pretrained: bool = False,
        width: Width = 16,
        norm: Norm = "batch",
        dropout: Dropout = 0.0,
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the input images.
            out_channels: of the output images.
            encoder: the name of a timm model that gives features.
            pretrained: start from its trained weights.
            width: the decoder's channels at full resolution; they double inwards up to 16 times this.
            norm: normalization in the decoder.
            dropout: probability, after the decoder's three innermost levels.

        Raises:
            OptionError: timm has no such model, or it cannot be an encoder.
            TranslatekitError: the trained weights cannot be had.
        """
        super().__init__()
        self.encoder = Backbone(encoder, in_channels, pretrained=pretrained)
        # Of several features of one resolution, the last.
        skips = dict(zip(self.encoder.reductions, self.encoder.channels, strict=True))
        self.size_multiple = max(skips)
        channels, reduction = skips[self.size_multiple], self.size_multiple
        self.decoder = nn.ModuleList()
        while reduction > 1:
            reduction //= 2
            fan_out = width * min(16, reduction)
            noise = dropout if len(self.decoder) < 3 else 0.0
            self.decoder.append(_Level(channels, skips.get(reduction, 0), fan_out, norm, noise))
            channels = fan_out
        self.head = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.feature_layers = (*(f"decoder.{level}" for level in range(len(self.decoder))), "head")

    def forward(self, x: Tensor) -> Tensor:
        """Translate images.

        Raises:
            DataError: a side is not a multiple of `size_multiple`; or, training on one image, not twice that,
                since batch normalization needs more than one value.
        """
        alone = self.training and len(x) == 1
        check_sides(x, "timm_unet", self.size_multiple, self.size_multiple * (2 if alone else 1))
        features = dict(zip(self.encoder.reductions, self.encoder(x), strict=True))
        reduction = self.size_multiple
        x = features[reduction]
        for level in self.decoder:
            reduction //= 2
            x = level(x, features.get(reduction))
        return torch.tanh(self.head(x))
