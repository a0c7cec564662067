"""How far outputs are from their targets (L1, PSNR, SSIM, MS-SSIM, LPIPS), and how alike two sets are (FID, KID)."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from translatekit.errors import OptionError, TranslatekitError

DATA_RANGE = 2.0
PSNR_OF_EQUAL_IMAGES = 100.0
PAIRED_METRICS = ("l1", "psnr", "ssim", "ms_ssim", "lpips")
"""Metrics of one output and its target."""
SET_METRICS = ("fid", "kid")
"""Metrics of two sets of images, which need no pairs."""
RISING = frozenset({"psnr", "ssim", "ms_ssim"})
"""Metrics of which more is better."""

_BASIC = ("l1", "psnr", "ssim")
_SSIM_SIGMA = 1.5
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # table 1 of Wang, Simoncelli and Bovik, 2003
_LPIPS_MIN_SIDE = 64  # pixels: AlexNet's poolings leave nothing of much smaller images
_KID_SUBSET = 1000
_WEIGHTS = {
    "lpips": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "fid": "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
}


class MissingWeightsError(TranslatekitError):
    """A metric needs the weights of a trained network, and they are not on this machine."""


def image_metrics(output: Tensor, target: Tensor) -> dict[str, float]:
    """The metrics of a batch of outputs, each the mean over its images.

    Args:
        output: (N, C, H, W) in [-1, 1].
        target: of the same shape and range.

    Returns:
        ``l1``, ``psnr`` and ``ssim``, as `PairedMetrics` has them.
    """
    return {name: values.mean().item() for name, values in PairedMetrics(_BASIC)(output, target).items()}


class PairedMetrics:
    """Chosen metrics of outputs against their targets, image by image.

    ``l1`` is the mean absolute error on [-1, 1]. ``psnr`` is in dB for a data range of 2, at most 100 (equal
    images have no noise). ``ssim`` (Wang et al., 2004) has a Gaussian window of standard deviation 1.5, a narrower
    one for images of fewer than 6 pixels a side. ``ms_ssim`` (Wang, Simoncelli and Bovik, 2003) has five scales,
    fewer for images of fewer than 176 pixels a side; their weights then add up to 1 again. ``lpips`` (Zhang et al.,
    2018) is that of AlexNet; images of fewer than 64 pixels a side are enlarged to that.

    Args:
        names: of the metrics, out of `PAIRED_METRICS`.

    Raises:
        OptionError: there is no such metric.
        MissingWeightsError: ``lpips`` without the weights of AlexNet.
    """

    def __init__(self, names: Iterable[str] = _BASIC) -> None:
        self.names = tuple(names)
        for name in self.names:
            if name not in PAIRED_METRICS:
                raise OptionError(
                    f"there is no metric of pairs {name!r}: choose among {', '.join(PAIRED_METRICS)}"
                )
        self._lpips = _make_lpips() if "lpips" in self.names else None

    @torch.no_grad()
    def __call__(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The metrics of (N, C, H, W) in [-1, 1] against the same, (N,) each."""
        output, target = output.float(), target.float()
        difference = (output - target).flatten(1)
        values: dict[str, Tensor] = {}
        for name in self.names:
            if name == "l1":
                values[name] = difference.abs().mean(1)
            elif name == "psnr":
                least = DATA_RANGE**2 / 10 ** (PSNR_OF_EQUAL_IMAGES / 10)
                values[name] = 10 * (DATA_RANGE**2 / difference.square().mean(1).clamp(min=least)).log10()
            elif name == "ssim":
                values[name] = _ssim(output, target)
            elif name == "ms_ssim":
                values[name] = _ms_ssim(output, target)
            else:
                values[name] = self._perceptual_distance(output, target)
        return values

    def _perceptual_distance(self, output: Tensor, target: Tensor) -> Tensor:
        assert self._lpips is not None
        self._lpips.to(output.device)
        pair = [_as_rgb(image).clamp(-1, 1) for image in (output, target)]
        if (small := min(output.shape[-2:])) < _LPIPS_MIN_SIDE:
            factor = -(-_LPIPS_MIN_SIDE // small)
            pair = [nn.functional.interpolate(image, scale_factor=factor) for image in pair]
        self._lpips.reset()
        self._lpips.update(*pair)
        distance: Tensor = self._lpips.compute()
        return distance.reshape(-1)


class MetricMean:
    """The mean of metrics over a dataset that is seen in batches of any size."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: dict[str, float] = defaultdict(float)

    def update(self, metrics: Mapping[str, float], count: int = 1) -> None:
        """Add a batch of `count` images whose mean metrics these are."""
        self.count += count
        for name, value in metrics.items():
            self._sums[name] += value * count

    def compute(self) -> dict[str, float]:
        """The means over all images so far; empty where there were none."""
        return {name: total / self.count for name, total in self._sums.items()}


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
        images = _as_rgb(images.float()).clamp(-1, 1)
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


def set_metric(name: str, real: Tensor, fake: Tensor) -> float:
    """One of `SET_METRICS` by name."""
    return {"fid": fid, "kid": kid}[name](real, fake)


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


def _as_rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _ssim(output: Tensor, target: Tensor) -> Tensor:
    sigma = [_ssim_sigma(side) for side in output.shape[-2:]]
    values: Any = structural_similarity_index_measure(
        output, target, sigma=sigma, data_range=DATA_RANGE, reduction="none"
    )
    return values.reshape(-1)


def _ms_ssim(output: Tensor, target: Tensor) -> Tensor:
    sigma = [_ssim_sigma(side) for side in output.shape[-2:]]
    scales = _scales(min(output.shape[-2:]), int(3.5 * min(sigma) + 0.5) * 2 + 1)
    if scales == 1:
        return _ssim(output, target)
    weights = _SCALE_WEIGHTS[:scales]
    values: Tensor = multiscale_structural_similarity_index_measure(
        output,
        target,
        sigma=sigma,
        data_range=DATA_RANGE,
        betas=tuple(weight / sum(weights) for weight in weights),
        normalize="relu",  # a negative similarity has no fractional power
        reduction="none",
    )
    return values.reshape(-1)


def _scales(side: int, window: int) -> int:
    """As many of the five scales as leave enough for a window and its reflected margin, by torchmetrics' count."""
    fitting = [
        count
        for count in range(1, len(_SCALE_WEIGHTS) + 1)
        if side // 2 ** (count - 1) > window // 2 and side // max(1, count - 1) ** 2 > window - 1
    ]
    return max(fitting, default=1)


def _ssim_sigma(side: int) -> float:
    """The widest window, up to the usual one, whose reflected margin is narrower than the image."""
    margin = int(3.5 * _SSIM_SIGMA + 0.5)
    return _SSIM_SIGMA if side > margin else max(side - 1, 0.1) / 3.5


def _weights_file(metric: str, what: str) -> Path:
    url = _WEIGHTS[metric]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        raise MissingWeightsError(f"{what} is not at {path}: download it from {url} to there")
    return path


def _make_lpips() -> Any:
    _weights_file("lpips", "the AlexNet that LPIPS compares images by")
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        return LearnedPerceptualImagePatchSimilarity("alex", reduction="none")
    except ImportError:
        raise TranslatekitError(
            "LPIPS needs torchvision, which is not installed: run pip install 'translatekit[evaluate]'"
        ) from None


def _make_inception() -> nn.Module:
    path = _weights_file("fid", "the Inception network that FID and KID compare images by")
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
