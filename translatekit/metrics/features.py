"""What FID and KID compare images by: the pooled features of a network, and how images come to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from translatekit.errors import OptionError, TranslatekitError
from translatekit.metrics.weights import as_rgb, weights_file
from translatekit.storage import hash_file

INCEPTION_SIDE = 299  # pixels
_INCEPTION = {
    "inception": "bilinear as in TensorFlow 1",
    "clean-fid": "bicubic with antialiasing, by Pillow, not rounded",
    "pytorch-fid": "bilinear without antialiasing, by torch",
}
"""The ways to bring images to Inception's size; the weights are the same."""


class Features(nn.Module):
    """From images (N, 1 or 3, H, W) in [-1, 1] to features (N, D).

    Attributes:
        measured_by: what figures depend on besides the images: the network, its weights' SHA-256, the resizing.
    """

    def __init__(self, measured_by: dict[str, str]) -> None:
        super().__init__()
        self.measured_by = measured_by

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The features (N, D) of images (N, 1 or 3, H, W) in [-1, 1]."""
        return self.features(as_rgb(images.float(), "FID or KID").clamp(-1, 1))

    def features(self, images: Tensor) -> Tensor:
        """The same, of images of three channels."""
        raise NotImplementedError


def make_features(model: str | None = None) -> Features:
    """Features by name.

    Args:
        model: ``inception`` or None for the network of both papers; ``clean-fid`` or ``pytorch-fid`` for the same
            with the resizing of those packages (Parmar et al., 2022; Seitzer, 2020); ``own`` for the small network that
            comes with translatekit; or the name of a timm model, and after a comma the file of its weights:
            ``resnet18,path=resnet18.safetensors``. Without a file the weights come from Hugging Face's cache, or are
            downloaded to it. All but Inception see images at the size they have.

    Raises:
        OptionError: timm has no such model, or it gives no features at every size.
        MissingWeightsError: the weights of Inception are not there.
        TranslatekitError: timm's weights cannot be had.
    """
    if model is None or model in _INCEPTION:
        return Inception(model or "inception")
    if model == "own":
        return Own()
    return Timm(model)


class Inception(Features):
    """The Inception network of 2015 whose features Heusel et al. (2017) took, at its last pooling."""

    def __init__(self, resizing: str = "inception") -> None:
        """Make it, with one of the ways to resize."""
        path = weights_file("fid", "the Inception network that FID and KID compare images by")
        try:
            from torchmetrics.image.fid import NoTrainInceptionV3

            network: Any = NoTrainInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
            )
        except ImportError:
            raise TranslatekitError(
                "FID and KID need torch-fidelity, which is not installed: run pip install 'translatekit[evaluate]', "
                "or pass --features own"
            ) from None
        super().__init__(
            {
                "network": "Inception of 2015-12-05",
                "weights": hash_file(path, "sha256"),
                "resize": f"to {INCEPTION_SIDE} pixels, {_INCEPTION[resizing]}",
            }
        )
        self._network = network.eval()
        self._resizing = resizing

    def features(self, images: Tensor) -> Tensor:
        """(N, 2048)."""
        levels = ((images + 1) * 127.5).round()
        if self._resizing == "inception":
            found: Tensor = self._network(levels.byte())
            return found.reshape(len(images), -1)
        if self._resizing == "clean-fid":
            values = (_bicubic(levels) - 128) / 128
        else:
            side = (INCEPTION_SIDE, INCEPTION_SIDE)
            values = nn.functional.interpolate(levels / 127.5 - 1, side, mode="bilinear", align_corners=False)
        for name in _LAYERS:
            values = getattr(self._network, name)(values)
        return values.flatten(1)


_LAYERS = (
    *(
        "Conv2d_1a_3x3",
        "Conv2d_2a_3x3",
        "Conv2d_2b_3x3",
        "MaxPool_1",
        "Conv2d_3b_1x1",
        "Conv2d_4a_3x3",
        "MaxPool_2",
    ),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)
"""Of torch-fidelity's network, in their order: its own ``forward`` resizes first."""


class Own(Features):
    """The small network that comes with translatekit, for where no other's weights are at hand."""

    def __init__(self) -> None:
        from translatekit.metrics.own_features import OWN_FEATURES, load_own_features

        super().__init__(
            {"network": "translatekit's own features", "weights": hash_file(OWN_FEATURES, "sha256")}
        )
        self._network = load_own_features()

    def features(self, images: Tensor) -> Tensor:
        """(N, 208)."""
        found: Tensor = self._network(images)
        return found


class Timm(Features):
    """A timm model's last features, as means over the image."""

    def __init__(self, model: str) -> None:
        from translatekit.backbones import Backbone

        name, _, rest = model.partition(",")
        key, _, path = rest.partition("=")
        if rest and (key != "path" or not path):
            raise OptionError(
                f"--features {model!r} is not understood: write own, resnet18,path=FILE or resnet18"
            )
        network = Backbone(name, weights=path) if path else Backbone(name, pretrained=True)
        super().__init__(
            {
                "network": f"{name} of timm",
                "weights": hash_file(Path(path), "sha256") if path else "pretrained",
            }
        )
        self._network = network.eval()

    def features(self, images: Tensor) -> Tensor:
        """(N, D)."""
        last: Tensor = self._network(images)[-1]
        return last.mean((2, 3))


def _bicubic(levels: Tensor) -> Tensor:
    """Images (N, C, H, W) of [0, 255] at Inception's size, each channel by Pillow as floats that stay in that range."""
    side = (INCEPTION_SIDE, INCEPTION_SIDE)
    resized = [
        [
            np.asarray(Image.fromarray(channel).resize(side, Image.Resampling.BICUBIC))
            for channel in image.numpy()
        ]
        for image in levels.cpu()
    ]
    return torch.from_numpy(np.asarray(resized, np.float32)).clamp(0, 255).to(levels.device)
