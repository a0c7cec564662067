"""Holding each patch of an output to its own of the input, by features inside of the generator itself.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from translatekit.config import PatchOptions
from translatekit.errors import OptionError
from translatekit.losses.contrastive import patch_nce
from translatekit.networks.features import Layer, feature_layers, inner_features
from translatekit.networks.patches import PatchHeads, at_places, draw_places

if TYPE_CHECKING:
    from translatekit.training.method import Method

INPUT = "input"


class PatchContrast:
    """The contrastive loss of a method, between outputs and what they were made of.

    Attributes:
        with_input: whether the image itself is compared.
        layers: those of the generator whose features are.
    """

    def __init__(
        self,
        method: Method,
        generator: str,
        heads: str,
        options: PatchOptions,
        given: Callable[[Tensor], Tensor] = lambda images: images,
    ) -> None:
        """Choose the layers.

        Args:
            method: whose networks are used.
            generator: the name of the network whose features are compared.
            heads: the name under which the method adds what `make_heads` gives.
            options: the method's own.
            given: from images (N, C, H, W) to what the generator is given of them.

        Raises:
            OptionError: there is no such layer.
        """
        self._method, self._generator, self._heads = method, generator, heads
        self._options, self._given = options, given
        self.with_input, self.layers = _layers(options.layers, method.unwrapped[generator])

    def make_heads(self, images: Tensor) -> PatchHeads:
        """A head for each layer, of as many channels as the layer gives for such images."""
        network = self._method.unwrapped[self._generator]
        training = network.training
        with torch.no_grad():
            maps = inner_features(network.eval(), self.layers, self._given(images))
        network.train(training)
        return PatchHeads([images.shape[1]] * self.with_input + [tensor.shape[1] for tensor in maps])

    def __call__(
        self, output: Tensor, real: Tensor, *, parts: int = 1, mirrored: bool = False
    ) -> list[Tensor]:
        """The mean over layers and places.

        Args:
            output, real: images (N, C, H, W), each output with what it was made of.
            parts: of the batch, one behind the other, each of which has a loss of its own.
            mirrored: whether the outputs are made of mirrored images.

        Returns:
            A scalar for each part.
        """
        with torch.no_grad():
            of_real = self._features(real)
        of_output = self._features(output)
        if mirrored:
            of_output = [tensor.flip(-1) for tensor in of_output]
        places = draw_places(of_real, self._options.patches)
        chosen = [
            torch.cat(pair)
            for pair in zip(at_places(of_output, places), at_places(of_real, places), strict=True)
        ]
        vectors = [tensor.chunk(2) for tensor in self._method.networks[self._heads](chosen)]
        temperature, hard = self._options.temperature, self._options.hard_negatives
        losses = [
            [
                patch_nce(q, k.detach(), temperature, hard)
                for q, k in zip(queries.chunk(parts), keys.chunk(parts), strict=True)
            ]
            for queries, keys in vectors
        ]
        return [torch.stack(of_layers).mean() for of_layers in zip(*losses, strict=True)]

    def _features(self, images: Tensor) -> list[Tensor]:
        inner = self._method.features(self._generator, self.layers, self._given(images))
        return [images] * self.with_input + inner


def _layers(text: str | None, network: nn.Module) -> tuple[bool, Sequence[Layer]]:
    """Whether the image itself is compared, and the layers whose features are.

    Without a choice, the layers at one, two, three and four eighths of the way. Of `resnet` with 9 blocks these are the
    paper's: both strided convolutions, the first and the fifth residual block (appendix A).
    """
    if text is None:
        names = feature_layers(network)
        return True, list(dict.fromkeys(names[len(names) * eighths // 8] for eighths in (1, 2, 3, 4)))
    words = [word.strip() for word in text.split(",") if word.strip()]
    layers: list[Layer] = [
        int(word) if word.lstrip("-").isdecimal() else word for word in words if word != INPUT
    ]
    if not layers:
        raise OptionError(
            f"--layers {text} names no layer of the generator: choose among {', '.join(feature_layers(network))}"
        )
    return INPUT in words, layers
