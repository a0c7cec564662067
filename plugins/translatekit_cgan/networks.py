"""The networks of DCGAN (Radford et al., 2016), conditioned on a class as in cGAN (Mirza and Osindero, 2014)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.networks.layers import Layers, Norm, Width, check_sides, conv_bias, make_norm

_START = 4  # pixels a side of the first feature map


class DCGANGenerator(nn.Module):
    """Makes images from noise: a transposed convolution to 4x4, then one to each doubling of the size.

    Section 3 of DCGAN. The class enters as a one-hot vector beside the noise (section 3.2 of cGAN).

    Attributes:
        size_multiple: 1; it takes no image.
    """

    def __init__(
        self,
        latent_size: int,
        num_classes: int,
        out_channels: int,
        size: int,
        *,
        width: Width = 64,
        norm: Norm = "batch",
    ) -> None:
        """Make the network.

        Args:
            latent_size: length of the noise vector.
            num_classes: how many classes there are; 0 for the plain GAN.
            out_channels: of the images.
            size: of the images, in pixels a side: a power of two, at least 16.
            width: channels of the last hidden layer; they double with each layer before it, up to 8 times this.
            norm: normalization of all but the last layer.

        Raises:
            ValueError: the size is none of those.
        """
        super().__init__()
        if size < 16 or size & (size - 1):
            raise ValueError(
                f"the size must be a power of two and at least 16, got {size}: pass --crop-size 32"
            )
        self.size_multiple = 1
        self.num_classes = num_classes
        doublings = (size // _START).bit_length() - 1
        widths = [width * min(8, 2**layer) for layer in reversed(range(doublings))]
        modules: list[nn.Module] = [
            nn.ConvTranspose2d(latent_size + num_classes, widths[0], _START, bias=conv_bias(norm)),
            make_norm(norm, widths[0]),
            nn.ReLU(inplace=True),
        ]
        for fan_in, fan_out in pairwise(widths):
            modules += [
                nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, bias=conv_bias(norm)),
                make_norm(norm, fan_out),
                nn.ReLU(inplace=True),
            ]
        modules += [nn.ConvTranspose2d(widths[-1], out_channels, 4, stride=2, padding=1), nn.Tanh()]
        self.model = nn.Sequential(*modules)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Args:
            z: noise (N, latent_size), normal(0, 1).
            labels: classes (N,) in [0, num_classes); not looked at where there are no classes.

        Returns:
            (N, out_channels, size, size) in [-1, 1].
        """
        x = torch.cat([z, _one_hot(labels, self.num_classes).to(z.dtype)], 1) if self.num_classes else z
        images: Tensor = self.model(x[:, :, None, None])
        return images


class DCGANDiscriminator(nn.Module):
    """Judges images: convolutions of stride 2 that each halve the size, and one to a logit.

    Section 3 of DCGAN. The class enters as one-hot planes beside the image's channels (section 3.2 of cGAN). Images
    of 32 pixels a side get 3x3 logits, each of which sees all of the image.
    """

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
            in_channels: of the images.
            num_classes: how many classes there are; 0 for the plain GAN.
            layers: convolutions of stride 2: 3 for images of 32 pixels, one more for each doubling.
            width: channels of the first layer; they double with each up to 8 times this.
            norm: normalization of all but the first and the last layer.
        """
        super().__init__()
        self.num_classes = num_classes
        self.smallest = 2 * 2**layers
        modules: list[nn.Module] = [
            nn.Conv2d(in_channels + num_classes, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        fan_in = width
        for layer in range(1, layers):
            fan_out = width * min(8, 2**layer)
            modules += [
                nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=conv_bias(norm)),
                make_norm(norm, fan_out),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            fan_in = fan_out
        modules.append(nn.Conv2d(fan_in, 1, 4, padding=1))
        self.model = nn.Sequential(*modules)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge images.

        Args:
            x: (N, in_channels, H, W) in [-1, 1].
            labels: classes (N,) in [0, num_classes); not looked at where there are no classes.

        Returns:
            Logits (N, 1, H', W').

        Raises:
            DataError: the images are too small for the layers.
        """
        check_sides(x, "dcgan discriminator", 1, self.smallest)
        if self.num_classes:
            planes = _one_hot(labels, self.num_classes).to(x.dtype)[:, :, None, None]
            x = torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)
        logits: Tensor = self.model(x)
        return logits


def _one_hot(labels: Tensor | None, num_classes: int) -> Tensor:
    if labels is None:
        raise TypeError(f"this network is conditioned on {num_classes} classes: call it with labels")
    return F.one_hot(labels.long(), num_classes)
