"""The networks of StackGAN.

Zhang et al., "StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial Networks", ICCV
2017, sections 3.2 to 3.4.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.networks.layers import BatchNorm2d, Layers, Noise, Width, check_sides
from translatekit.options import Bounds

_START = 4  # pixels a side of the first feature map, and of the last of a discriminator
_WIDEST = 8  # times the width, at the smallest feature map

Condition = tuple[Tensor, Tensor, Tensor]
"""A condition, and the mean and the logarithm of the variance that it was drawn by, (N, size) each."""


class ConditioningAugmentation(nn.Module):
    """A condition drawn from a normal distribution that depends on the label or text (section 3.2).

    In evaluation it is the distribution's mean, unless noise is asked for (`translatekit.networks.set_noise`).
    """

    def __init__(self, num_classes: int, embedding_size: int, size: int) -> None:
        """Make it for so many classes, or for embeddings of that size, and conditions of length `size`."""
        super().__init__()
        self.parameters_of = _layer_of(num_classes, embedding_size, 2 * size)
        self.noise = Noise(size)
        if isinstance(self.parameters_of, nn.Embedding):  # classes apart from the start, and variances of 1
            nn.init.zeros_(self.parameters_of.weight[:, size:].data)

    def forward(self, given: Tensor) -> Condition:
        """Labels (N,), or embeddings (N, embedding_size), to conditions."""
        mean, log_variance = self.parameters_of(given).float().chunk(2, dim=1)
        return mean + torch.exp(log_variance / 2) * self.noise(mean), mean, log_variance


def _augmentation(num_classes: int, embedding_size: int, size: int) -> ConditioningAugmentation | None:
    """What a stage makes of labels or embeddings; None where images have neither."""
    return (
        ConditioningAugmentation(num_classes, embedding_size, size) if num_classes or embedding_size else None
    )


class StageOne(nn.Module):
    """From noise and a condition to a small image: a map of 4x4 pixels, doubled until it has the size."""

    def __init__(
        self,
        latent_size: int,
        num_classes: int,
        out_channels: int,
        size: int,
        width: int,
        condition_size: int,
        embedding_size: int,
    ) -> None:
        """Make it; the arguments are those of `StackGANGenerator`."""
        super().__init__()
        self.augment = _augmentation(num_classes, embedding_size, condition_size)
        conditional = self.augment is not None
        doublings = _doublings(_START, size)
        widest = width * min(_WIDEST, 2**doublings)
        self.start = nn.Sequential(
            nn.ConvTranspose2d(latent_size + condition_size * conditional, widest, _START, bias=False),
            BatchNorm2d(widest),
            nn.ReLU(inplace=True),
        )
        self.body = _upwards(widest, doublings, width)
        self.head = nn.Sequential(
            _conv3(_width_after(widest, doublings, width), out_channels, True), nn.Tanh()
        )

    def forward(self, z: Tensor, given: Tensor | None) -> tuple[Tensor, Condition | None]:
        """Noise (N, latent_size) to images (N, out_channels, size, size) in [-1, 1], and the condition."""
        condition = None if self.augment is None else self.augment(_needed(given))
        x = z if condition is None else torch.cat([z, condition[0].to(z.dtype)], 1)
        images: Tensor = self.head(self.body(self.start(x[:, :, None, None])))
        return images, condition


class StageTwo(nn.Module):
    """From a small image, and the condition anew, to a large one (section 3.4)."""

    def __init__(
        self,
        num_classes: int,
        out_channels: int,
        sizes: tuple[int, int],
        width: int,
        condition_size: int,
        embedding_size: int,
        blocks: int,
    ) -> None:
        """Make it for images of `sizes[0]` pixels a side to `sizes[1]`; the rest as of `StackGANGenerator`."""
        super().__init__()
        self.augment = _augmentation(num_classes, embedding_size, condition_size)
        conditional = self.augment is not None
        middle = 4 * width
        self.encoder = nn.Sequential(
            _conv3(out_channels, width, True),
            nn.ReLU(inplace=True),
            _down(width, 2 * width),
            _down(2 * width, middle),
        )
        self.joint = nn.Sequential(
            _conv3(middle + condition_size * conditional, middle), BatchNorm2d(middle), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(*(_Residual(middle) for _ in range(blocks)))
        doublings = _doublings(sizes[0] // 4, sizes[1])
        self.body = _upwards(middle, doublings, max(1, width // 4))
        last = _width_after(middle, doublings, max(1, width // 4))
        self.head = nn.Sequential(_conv3(last, out_channels, True), nn.Tanh())

    def forward(self, images: Tensor, given: Tensor | None) -> tuple[Tensor, Condition | None]:
        """Images (N, C, s, s) to (N, C, S, S), in [-1, 1], and the condition."""
        condition = None if self.augment is None else self.augment(_needed(given))
        x = self.encoder(images)
        if condition is not None:
            planes = condition[0].to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, planes], 1)
        large: Tensor = self.head(self.body(self.blocks(self.joint(x))))
        return large, condition


class StackGANGenerator(nn.Module):
    """Makes images from noise and a label, or the embedding of a text: Stage I, or both stages.

    Attributes:
        size_multiple: 1; it takes no image.
        one, two: the stages; the second is None where there is but one.
    """

    def __init__(
        self,
        latent_size: int,
        num_classes: int,
        out_channels: int,
        size: int,
        *,
        width: Width = 64,
        condition_size: Annotated[int, Bounds(minimum=1, maximum=65536)] = 128,
        blocks: Annotated[int, Bounds(minimum=1, maximum=1024)] = 4,
        embedding_size: Annotated[int, Bounds(minimum=0, maximum=65536)] = 0,
        stage_one_size: Annotated[int, Bounds(minimum=0, maximum=16384)] = 0,
        stage_one_width: Annotated[int, Bounds(minimum=0, maximum=4096)] = 0,
    ) -> None:
        """Make the network.

        Args:
            latent_size: length of the noise vector.
            num_classes: how many classes there are; 0 for none.
            out_channels: of the images.
            size: of the images, in pixels a side: a power of two, at least 16.
            width: channels of Stage I's last layer, or of Stage II's first; they double inwards.
            condition_size: length of the conditions that are drawn for labels or texts.
            blocks: residual blocks of Stage II.
            embedding_size: of texts' embeddings; 0 for labels. A method sets it.
            stage_one_size: of Stage I's images; 0 for Stage I alone. A method sets it.
            stage_one_width: its width, where there are both stages; 0 for the same. A method sets it.

        Raises:
            ValueError: a size is none of those.
        """
        super().__init__()
        self.size_multiple = 1
        small = stage_one_size or size
        for side in dict.fromkeys((small, size)):
            if side < 16 or side & (side - 1):
                raise ValueError(
                    f"the size must be a power of two and at least 16, got {side}: pass --crop-size 64"
                )
        if stage_one_size and size <= stage_one_size:
            raise ValueError(
                f"Stage II makes images larger than the {stage_one_size} pixels of Stage I, got {size}: pass "
                f"--crop-size {4 * stage_one_size} and a --load-size of at least that"
            )
        classes = 0 if embedding_size else num_classes
        conditions = {"condition_size": condition_size, "embedding_size": embedding_size}
        self.one = StageOne(latent_size, classes, out_channels, small, stage_one_width or width, **conditions)
        self.two = (
            StageTwo(classes, out_channels, (small, size), width, blocks=blocks, **conditions)
            if stage_one_size
            else None
        )
        self.fixed = False
        stages = {"one": self.one.body, **({} if self.two is None else {"two": self.two.body})}
        self.feature_layers = [
            f"{name}.body.{number}" for name, body in stages.items() for number in range(len(body))
        ]

    def fix_stage_one(self) -> None:
        """Train Stage II alone: Stage I keeps its weights and its running statistics."""
        self.fixed = True
        self.one.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> StackGANGenerator:
        """As of any module; the normalizations of a Stage I that is not trained stay in evaluation."""
        super().train(mode)
        if self.fixed:
            for module in self.one.modules():
                if isinstance(module, BatchNorm2d):
                    module.eval()
        return self

    def forward(self, z: Tensor, given: Tensor | None = None, with_condition: bool = False) -> Any:
        """Make images.

        Args:
            z: noise (N, latent_size), normal(0, 1).
            given: labels (N,), or embeddings (N, embedding_size); not looked at where there are neither.
            with_condition: give the condition of the last stage, too, or None where there is none.

        Returns:
            (N, out_channels, size, size) in [-1, 1].
        """
        images, condition = self.one(z, given)
        if self.two is not None:
            images, condition = self.two(images, given)
        return (images, condition) if with_condition else images


class StackGANDiscriminator(nn.Module):
    """Judges images with their labels or texts (section 3.3): one logit for each map of 4x4 pixels."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 0,
        *,
        layers: Layers = 3,
        width: Width = 64,
        condition_size: Annotated[int, Bounds(minimum=1, maximum=65536)] = 128,
        embedding_size: Annotated[int, Bounds(minimum=0, maximum=65536)] = 0,
    ) -> None:
        """Make the network.

        Args:
            in_channels: of the images.
            num_classes: how many classes there are; 0 for none.
            layers: convolutions of stride 2: 3 for images of 32 pixels, one more for each doubling. The method sets it.
            width: channels of the first layer; they double with each up to 8 times this.
            condition_size: numbers that a label or text is compressed to.
            embedding_size: of texts' embeddings; 0 for labels. The method sets it.
        """
        super().__init__()
        self.smallest = _START * 2**layers
        modules: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1), _leaky()]
        fan_in = width
        for layer in range(1, layers):
            fan_out = width * min(_WIDEST, 2**layer)
            modules += [
                nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=False),
                BatchNorm2d(fan_out),
                _leaky(),
            ]
            fan_in = fan_out
        self.features = nn.Sequential(*modules)
        known = embedding_size or num_classes
        self.compress = _layer_of(num_classes, embedding_size, condition_size) if known else None
        self.joint = nn.Sequential(
            nn.Conv2d(fan_in + condition_size * bool(known), fan_in, 1, bias=False),
            BatchNorm2d(fan_in),
            _leaky(),
        )
        self.head = nn.Conv2d(fan_in, 1, _START)
        self.feature_layers = [f"features.{number}" for number in range(len(modules))]

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Judge images.

        Args:
            x: (N, in_channels, H, W) in [-1, 1].
            given: labels (N,), or embeddings (N, embedding_size).

        Returns:
            Logits (N, 1, H', W').

        Raises:
            DataError: the images are too small for the layers.
        """
        check_sides(x, "stackgan discriminator", 1, self.smallest)
        x = self.features(x)
        if self.compress is not None:
            planes = F.leaky_relu(self.compress(_needed(given)), 0.2).to(x.dtype)[:, :, None, None]
            x = torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)
        logits: Tensor = self.head(self.joint(x))
        return logits


class _Residual(nn.Module):
    """Adds to its input what two convolutions make of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv3(channels, channels),
            BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            _conv3(channels, channels),
            BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _upwards(widest: int, doublings: int, narrowest: int) -> nn.Sequential:
    """Doublings of the sides, each halving the channels down to the narrowest."""
    stages = []
    for step in range(doublings):
        fan_in, fan_out = (_width_after(widest, done, narrowest) for done in (step, step + 1))
        stages.append(
            nn.Sequential(
                nn.Upsample(scale_factor=2.0, mode="nearest"),
                _conv3(fan_in, fan_out),
                BatchNorm2d(fan_out),
                nn.ReLU(inplace=True),
            )
        )
    return nn.Sequential(*stages)


def _width_after(widest: int, doublings: int, narrowest: int) -> int:
    return max(narrowest, widest // 2**doublings)


def _doublings(small: int, large: int) -> int:
    return (large // small).bit_length() - 1


def _down(fan_in: int, fan_out: int) -> nn.Sequential:
    conv = nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, BatchNorm2d(fan_out), nn.ReLU(inplace=True))


def _conv3(fan_in: int, fan_out: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=bias)


def _leaky() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def _layer_of(num_classes: int, embedding_size: int, size: int) -> nn.Module:
    """From labels (N,), or embeddings (N, embedding_size), to (N, size)."""
    return nn.Linear(embedding_size, size) if embedding_size else nn.Embedding(num_classes, size)


def _needed(given: Tensor | None) -> Tensor:
    if given is None:
        raise TypeError("this network is conditioned: call it with labels or embeddings")
    return given
