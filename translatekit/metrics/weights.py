"""The trained networks that some metrics look at images with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from translatekit.errors import OptionError, TranslatekitError

_URLS = {
    "lpips": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "fid": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
}


class MissingWeightsError(TranslatekitError):
    """A metric needs the weights of a trained network, and they are not on this machine."""


def weights_file(metric: str, what: str) -> Path:
    """Where a network's weights lie.

    Args:
        metric: whose they are.
        what: the network, for the sentence.

    Raises:
        MissingWeightsError: they are not there.
    """
    url = _URLS[metric]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        raise MissingWeightsError(f"{what} is not at {path}: download it from {url} to there")
    return path


def as_rgb(images: Tensor, what: str) -> Tensor:
    """Images (N, 1 or 3, H, W) as such networks take them, (N, 3, H, W).

    Raises:
        OptionError: they have other channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise OptionError(
            f"{what} compares images of 1 or 3 channels, got {channels}: choose l1, psnr or ssim"
        )
    return images.expand(-1, 3, -1, -1)
