"""What may be asked of every method's discriminators: spectral normalization, and augmentation of what they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from translatekit.errors import OptionError
from translatekit.interfaces import Method
from translatekit.networks.layers import SpectralConv2d
from translatekit.types import AugmentKind

_SHIFT = 1 / 8  # of a side, at most
_CUT = 1 / 2


def discriminators_of(method: Method) -> list[nn.Module]:
    """The discriminators among a method's networks and within them: those that the factory made."""
    return [
        module
        for network in method.unwrapped.values()
        for module in network.modules()
        if getattr(module, "judges", False) is True
    ]


def normalize_spectrally(method: Method) -> None:
    """Divide the weights of each discriminator's convolutions and linear layers by their largest singular value.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, algorithm 1. The vectors
    of its power iteration are buffers, so that a checkpoint holds them.

    Raises:
        OptionError: there is no such layer.
    """
    layers = [
        layer
        for network in discriminators_of(method)
        for layer in network.modules()
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear)
    ]
    if not layers:
        raise OptionError(
            "--spectral-norm is for convolutions and linear layers of a discriminator, and there are none: leave it out"
        )
    for layer in layers:
        if not isinstance(layer, SpectralConv2d) and not is_parametrized(
            layer, "weight"
        ):  # those are already
            spectral_norm(layer)


class DiffAugment:
    """Random changes of all images that discriminators see, through which gradients pass to what made them.

    Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020, section 3.2: colours,
    a translation by up to an eighth of the sides, and a square of half of them cut out. All that a discriminator sees
    in one step is changed alike, real and generated images, and their conditions, which keep their values, in the same
    places: so features of both can be compared, and nothing but the step's number has to be known to draw it again.
    Of several batches of a step, each is changed as if all were one.

    Args:
        kinds: of changes.
        seed: decides them, with the step and the process.
        channels: of the images that discriminators judge. Where one takes more, what comes before the last of these is
            what the image is conditioned on.

    Attributes:
        step: the number of the step, which whoever trains keeps up to date.
        part: which of the step's batches is seen.
        rank: of the process.
    """

    def __init__(self, kinds: Sequence[AugmentKind], seed: int, channels: set[int]) -> None:
        self.kinds, self.seed, self._channels = kinds, seed, channels
        self.step = self.part = self.rank = 0

    def attach(self, method: Method) -> None:
        """Let all discriminators of a method see changed images while they are in training mode.

        Raises:
            OptionError: there are none.
        """
        networks = discriminators_of(method)
        if not networks:
            raise OptionError("--diff-augment is for discriminators, and this method has none: leave it out")

        @torch.compiler.disable
        def before(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            self.part = getattr(method, "part", 0)
            return (self(inputs[0]), *inputs[1:]) if network.training else None

        for network in networks:
            network.register_forward_pre_hook(before)

    def __call__(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] as the discriminators see them in this step."""
        earlier = self.part * len(x)
        draws = np.random.default_rng((self.seed, self.rank, self.step)).random((earlier + len(x), 7))[
            earlier:
        ]
        if "color" in self.kinds:
            count = self._image_channels(x.shape[1])
            condition, image = x[:, : x.shape[1] - count], x[:, x.shape[1] - count :]
            x = torch.cat([condition, _recolored(image, *draws[:, :3].T)], 1)
        if "translation" in self.kinds:
            x = _translated(x, draws[:, 3:5])
        if "cutout" in self.kinds:
            x = _cut(x, draws[:, 5:7])
        return x

    def _image_channels(self, channels: int) -> int:
        fitting = [count for count in self._channels if count <= channels]
        return channels if channels in fitting or not fitting else min(fitting)


def _recolored(x: Tensor, shift: np.ndarray, saturation: np.ndarray, contrast: np.ndarray) -> Tensor:
    def factor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1, 1)

    x = x + factor(shift - 0.5)
    if x.shape[1] == 3:
        gray = x.mean(1, keepdim=True)
        x = gray + (x - gray) * factor(2 * saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * factor(contrast + 0.5)


def _translated(x: Tensor, places: np.ndarray) -> Tensor:
    """Each image moved, and 0 where nothing comes to."""
    sides = np.array(x.shape[-2:])
    moves = np.rint((2 * places - 1) * _SHIFT * sides).astype(int)
    # padding by less than nothing takes away
    images = [
        F.pad(image, (right, -right, down, -down)) for image, (down, right) in zip(x, moves, strict=True)
    ]
    return torch.stack(images)


def _cut(x: Tensor, places: np.ndarray) -> Tensor:
    height, width = x.shape[-2:]
    sides = np.array([int(height * _CUT), int(width * _CUT)])
    starts = np.floor(places * (np.array([height, width]) + 1)).astype(int) - sides // 2
    mask = np.ones((len(x), 1, height, width), np.float32)
    for one, (top, left) in zip(mask, starts, strict=True):
        one[:, max(0, top) : top + sides[0], max(0, left) : left + sides[1]] = 0
    return x * torch.as_tensor(mask, dtype=x.dtype, device=x.device)
