"""How alike two sets of images are, without pairs: FID and KID, on features."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.interfaces import MetricImages

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
        self.extractor, self.measured_by = shared_extractor(features)

    def __call__(self, real: Tensor, fake: Tensor) -> float:
        """The distance of features (N, D) and (M, D)."""
        return fid(real, fake)


class KID:
    """The kernel distance of features (Binkowski et al., 2018), unbiased, so for few images too."""

    def __init__(self, *, features: str | None = None) -> None:
        """Make the metric: as `FID`."""
        self.extractor, self.measured_by = shared_extractor(features)

    def __call__(self, real: Tensor, fake: Tensor) -> float:
        """The distance of features (N, D) and (M, D)."""
        return kid(real, fake)


@lru_cache(maxsize=1)
def shared_extractor(model: str | None) -> tuple[Callable[[MetricImages], Tensor], dict[str, str]]:
    """From images to features (N, D), the same function for all metrics that compare by one model; and what it is."""
    from translatekit.metrics.features import make_features

    network = make_features(model)

    def extract(images: MetricImages) -> Tensor:
        values = images.normalized()
        features: Tensor = network.to(values.device)(values)
        return features

    return extract, network.measured_by


def without_invalid(images: MetricImages) -> MetricImages:
    """Images as sets of them are compared: pixels that do not count have the lowest value in all of them."""
    if images.valid is None:
        return images
    lowest = -1.0 if images.spec.levels else images.spec.span[0]
    return replace(images, values=torch.where(images.valid, images.values, lowest))


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
