"""The trained networks that some metrics look at images with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from translatekit.errors import OptionError, TranslatekitError
from translatekit.storage import hash_file

URLS = {
    "lpips": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "fid": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
}


class MissingWeightsError(TranslatekitError):
    """A metric needs the weights of a trained network, and they are not on this machine.

    Attributes:
        what: the network.
        url, path: from where to where its weights are downloaded.
    """

    def __init__(self, what: str, url: str, path: Path) -> None:
        super().__init__(what, url, path)  # as pickle makes it again
        self.what, self.url, self.path = what, url, path

    def __str__(self) -> str:
        return f"{self.what} is not at {self.path}: pass --download, or download it from {self.url} to there"

    def download(self) -> None:
        """Fetch them. The start of their SHA-256 stands in the file's name, and is checked.

        Raises:
            TranslatekitError: they cannot be had, or are others.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(self.url, str(self.path), hash_prefix(self.path), progress=False)
        except (OSError, RuntimeError) as error:
            raise TranslatekitError(
                f"{self.url} could not be downloaded ({error}): try again, or put the file at {self.path} yourself"
            ) from None


def weights_file(metric: str, what: str) -> Path:
    """Where a network's weights lie.

    Args:
        metric: whose they are.
        what: the network, for the sentence.

    Raises:
        MissingWeightsError: they are not there.
        TranslatekitError: the file holds others.
    """
    url, path = URLS[metric], _place(metric)
    if not has_weights(metric):
        raise MissingWeightsError(what, url, path)
    if not hash_file(path, "sha256").startswith(hash_prefix(path)):
        raise TranslatekitError(f"{path} is damaged: delete it, and download it again from {url}")
    return path


def has_weights(metric: str) -> bool:
    """Whether the weights of a metric's network are on this machine."""
    return _place(metric).is_file()


def _place(metric: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / URLS[metric].rpartition("/")[2]


def hash_prefix(path: Path) -> str:
    """The first digits of a file's SHA-256, which its name ends with, as torch's hub names files."""
    return path.stem.rpartition("-")[2]


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
