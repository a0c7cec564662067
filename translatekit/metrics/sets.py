"""How alike two sets of images are, without pairs: FID and KID, on the features of a trained network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError, TranslatekitError
from translatekit.interfaces import MetricImages
from translatekit.metrics.weights import as_rgb, weights_file

_KID_SUBSET = 1000


class FID:
    """The Frechet distance of features (Heusel et al., 2017)."""

    def __init__(self, *, features: str | None = None) -> None:
        """Make the metric.

        Args:
            features: what images are compared by, as `Features` takes it.

        Raises:
            OptionError: there is no such model.
            TranslatekitError: its weights are not there.
        """
        self.extractor = shared_extractor(features)

    def __call__(self, real: Tensor, fake: Tensor) -> float:
        """The distance of features (N, D) and (M, D)."""
        return fid(real, fake)


class KID:
    """The kernel distance of features (Binkowski et al., 2018), unbiased, so for few images too."""

    def __init__(self, *, features: str | None = None) -> None:
        """Make the metric: as `FID`."""
        self.extractor = shared_extractor(features)

    def __call__(self, real: Tensor, fake: Tensor) -> float:
        """The distance of features (N, D) and (M, D)."""
        return kid(real, fake)


@lru_cache(maxsize=1)
def shared_extractor(model: str | None) -> Callable[[MetricImages], Tensor]:
    """From images to features (N, D), the same function for all metrics that compare by one model."""
    network = Features(model)

    def extract(images: MetricImages) -> Tensor:
        values = images.normalized()
        features: Tensor = network.to(values.device)(values)
        return features

    return extract


class Features(nn.Module):
    """What FID and KID compare images by: the pooled features of a trained network.

    Args:
        model: None for the Inception network that both papers use; or the name of a timm model, and after a comma
            the file of its weights: ``resnet18,path=resnet18.safetensors``. Without a file the weights come from
            Hugging Face's cache, or are downloaded to it. A timm model sees images at the size they have;
            Inception sees them resized to 299 pixels a side.

    Raises:
        OptionError: timm has no such model, or it gives no features at every size.
        MissingWeightsError: the weights of Inception are not there.
        TranslatekitError: timm's weights cannot be had.
    """

    def __init__(self, model: str | None = None) -> None:
        super().__init__()
        self.name = model or "inception"
        self._network: Any = _make_inception() if model is None else _make_backbone(model)
        self._network.eval()
        self._is_inception = model is None

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The features (N, D) of images (N, 1 or 3, H, W) in [-1, 1]."""
        images = as_rgb(images.float(), "FID or KID").clamp(-1, 1)
        if self._is_inception:
            levels = ((images + 1) * 127.5).round().byte()
            features: Tensor = self._network(levels)
            return features.reshape(len(images), -1)
        last: Tensor = self._network(images)[-1]
        return last.mean((2, 3))


def fid(real: Tensor, fake: Tensor) -> float:
    """The Frechet distance (Heusel et al., 2017) of two sets of features, (N, D) and (M, D).

    Raises:
        OptionError: a set has fewer than two images, which have no covariance.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check_sets(real, fake, "FID")
    return _distance(FrechetInceptionDistance(feature=_Identity(real.shape[1])), real, fake)


def kid(real: Tensor, fake: Tensor, seed: int = 0) -> float:
    """The kernel distance (Binkowski et al., 2018), unbiased, of two sets of features, (N, D) and (M, D).

    Up to 1000 images are compared at once, of the larger set as many as the smaller has; beyond, it is the mean
    over 100 random subsets of 1000.

    Raises:
        OptionError: a set has fewer than two images.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _check_sets(real, fake, "KID")
    size = min(len(real), len(fake), _KID_SUBSET)
    subsets = 1 if size == len(real) == len(fake) else 100
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message="Metric .* will save all")  # they are here already
        metric = KernelInceptionDistance(feature=_Identity(real.shape[1]), subsets=subsets, subset_size=size)
        torch.manual_seed(seed)
        return _distance(metric, real, fake)


class _Identity(nn.Module):
    """Stands where torchmetrics expects a network: the features are computed once, and used many times."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def _distance(metric: Any, real: Tensor, fake: Tensor) -> float:
    metric.update(real.float(), real=True)
    metric.update(fake.float(), real=False)
    value = metric.compute()
    return float(value[0] if isinstance(value, tuple) else value)


def _check_sets(real: Tensor, fake: Tensor, name: str) -> None:
    if min(len(real), len(fake)) < 2:
        raise OptionError(
            f"{name} compares two sets of images and one has {min(len(real), len(fake))}: give at least 2 images"
        )


def _make_inception() -> nn.Module:
    path = weights_file("fid", "the Inception network that FID and KID compare images by")
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        return NoTrainInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
    except ImportError:
        raise TranslatekitError(
            "FID and KID need torch-fidelity, which is not installed: run pip install 'translatekit[evaluate]', "
            "or pass --features with a timm model"
        ) from None


def _make_backbone(model: str) -> nn.Module:
    from translatekit.backbones import Backbone

    name, _, rest = model.partition(",")
    key, _, path = rest.partition("=")
    if rest and (key != "path" or not path):
        raise OptionError(f"--features {model!r} is not understood: write resnet18,path=FILE or resnet18")
    return Backbone(name, weights=path) if path else Backbone(name, pretrained=True)
