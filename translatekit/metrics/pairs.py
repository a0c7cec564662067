"""How far outputs are from their targets: L1, PSNR, SSIM, MS-SSIM, LPIPS, image by image."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import TranslatekitError
from translatekit.image_spec import ImageSpec, levels_spec
from translatekit.images.codec import ValueCodec
from translatekit.interfaces import MetricImages, PairMetric
from translatekit.metrics.weights import as_rgb, weights_file
from translatekit.storage import hash_file

PSNR_OF_EQUAL_IMAGES = 100.0

_SSIM_SIGMA = 1.5
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # table 1 of Wang, Simoncelli and Bovik, 2003
_ONLY_CONTRAST = 1e4  # so large a constant of the luminance's term that the term is 1
_LPIPS_MIN_SIDE = 64  # pixels: AlexNet's poolings leave nothing of much smaller images


class L1:
    """The mean absolute error over all valid pixels: on [-1, 1] for images with levels, else in their unit."""

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        return _mean((output.values - target.values).abs(), target.valid)


class PSNR:
    """The peak signal-to-noise ratio in dB, for the range of the images; at most 100: equal ones have no noise."""

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        peak = target.data_range**2
        error = _mean((output.values - target.values).square(), target.valid)
        return 10 * (peak / error.clamp(min=peak / 10 ** (PSNR_OF_EQUAL_IMAGES / 10))).log10()


class SSIM:
    """The structural similarity (Wang et al., 2004), with a Gaussian window of standard deviation 1.5.

    The window is narrower for images of fewer than 6 pixels a side. It is the mean over the valid pixels of the map;
    within the window of one of them, pixels that are not valid are taken as equal.
    """

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        return _mean(_similarity(*_comparable(output, target)), target.valid)


class MultiScaleSSIM:
    """SSIM over five scales (Wang, Simoncelli and Bovik, 2003).

    There are fewer for images of fewer than 176 pixels a side; their weights then add up to 1 again. Of each scale it
    is the mean over the map, in which a pixel counts by the share of it that is valid.
    """

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        return _ms_ssim(*_comparable(output, target), target.valid)


class LPIPS:
    """The distance between features of AlexNet (Zhang et al., 2018); images below 64 pixels a side are enlarged.

    Where pixels are not valid, it is the mean over the valid ones of the map of distances (each layer's enlarged to the
    image); others are taken as equal.

    Raises:
        MissingWeightsError: the weights of AlexNet are not there.
        TranslatekitError: torchvision is not installed.
    """

    def __init__(self) -> None:
        path = weights_file("lpips", "the AlexNet that LPIPS compares images by")
        self.measured_by = {"network": "AlexNet of torchvision", "weights": hash_file(path, "sha256")}
        try:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

            self._network: Any = LearnedPerceptualImagePatchSimilarity("alex", reduction="none")
        except ImportError:
            raise TranslatekitError(
                "LPIPS needs torchvision, which is not installed: run pip install 'translatekit[evaluate]'"
            ) from None

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        self._network.to(output.values.device)
        pair = [as_rgb(images, "LPIPS").clamp(-1, 1) for images in _comparable(output, target)]
        valid = target.valid
        if (small := min(pair[0].shape[-2:])) < _LPIPS_MIN_SIDE:
            factor = -(-_LPIPS_MIN_SIDE // small)
            pair = [nn.functional.interpolate(image, scale_factor=factor) for image in pair]
            if target.valid is not None:
                valid = nn.functional.interpolate(target.valid.float(), scale_factor=factor).bool()
        network = self._network.net
        network.spatial = False
        distance: Tensor = network(*pair).reshape(-1)
        if valid is None:
            return distance
        network.spatial = True
        # An image of which all pixels count has the usual figure, whatever others its batch holds.
        return torch.where(valid.flatten(1).all(1), distance, _mean(network(*pair), valid))


@torch.no_grad()
def measure_pairs(
    metrics: Mapping[str, PairMetric], output: MetricImages, target: MetricImages
) -> dict[str, Tensor]:
    """Each metric of a batch of outputs, (N,) by name."""
    return {name: metric(output, target) for name, metric in metrics.items()}


def image_metrics(output: Tensor, target: Tensor) -> dict[str, float]:
    """The usual metrics of a batch of outputs, each the mean over its images.

    Args:
        output: (N, C, H, W) in [-1, 1].
        target: of the same shape and range.

    Returns:
        ``l1``, ``psnr`` and ``ssim``.
    """
    usual: dict[str, PairMetric] = {"l1": L1(), "psnr": PSNR(), "ssim": SSIM()}
    values = measure_pairs(usual, images_with_levels(output), images_with_levels(target))
    return {name: value.mean().item() for name, value in values.items()}


def images_with_levels(values: Tensor) -> MetricImages:
    """Images in [-1, 1], (N, C, H, W), as metrics take them."""
    return MetricImages(values.float(), levels_spec(values.shape[1]))


def network_images(values: Tensor, spec: ImageSpec, valid: Tensor | None = None) -> MetricImages:
    """A network's images, (N, C, H, W), as metrics take them: those without levels in their unit.

    Args:
        values: of the network.
        spec: what they are.
        valid: (N, 1, H, W), bool: the pixels that count; None for all.
    """
    if spec.levels or spec.codec == "onehot":
        return MetricImages(values.float(), spec, valid)
    images = ValueCodec(spec).to(values.device).decode(values, values, torch.float32)
    return MetricImages(images.permute(0, 3, 1, 2), spec, valid)


class MetricMean:
    """The mean of metrics over a dataset that is seen in batches of any size."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = defaultdict(int)
        self._sums: dict[str, float] = defaultdict(float)

    def update(self, metrics: Mapping[str, float], count: int = 1) -> None:
        """Add a batch of `count` images whose mean metrics these are."""
        for name, value in metrics.items():
            self._sums[name] += value * count
            self._counts[name] += count

    def compute(self) -> dict[str, float]:
        """The means over all images so far; NaN where none has a figure, empty where there were none."""
        return {
            name: total / self._counts[name] if self._counts[name] else math.nan
            for name, total in self._sums.items()
        }


def _mean(errors: Tensor, valid: Tensor | None) -> Tensor:
    """The mean of each image's values (N, C, H, W) over its pixels, by their weights or validity (N, 1, H, W).

    (N,); NaN where none does.
    """
    if valid is None:
        return errors.flatten(1).mean(1)
    counted = valid.expand_as(errors).flatten(1)
    # Not by products: what is no number in pixels that do not count must not count either.
    return torch.where(counted > 0, errors.flatten(1) * counted, 0.0).sum(1) / counted.sum(1)


def _comparable(output: MetricImages, target: MetricImages) -> tuple[Tensor, Tensor]:
    """Both in [-1, 1], the output with the target's pixels where those are not valid."""
    made, wanted = output.normalized(), target.normalized()
    return (made if target.valid is None else torch.where(target.valid, made, wanted)), wanted


def _similarity(
    output: Tensor, target: Tensor, sigma: tuple[float, float] | None = None, **constants: float
) -> Tensor:
    """The map of the structural similarity, (N, C, H, W)."""
    # Imported when it is used: it brings torchvision and SciPy along, and not every training validates.
    from torchmetrics.functional.image import structural_similarity_index_measure

    found: Any = structural_similarity_index_measure(
        output,
        target,
        sigma=sigma or _ssim_sigmas(output),
        data_range=2.0,
        reduction="none",
        return_full_image=True,
        **constants,
    )
    similarity: Tensor = found[1]
    return similarity


def _ms_ssim(output: Tensor, target: Tensor, valid: Tensor | None) -> Tensor:
    sigma = _ssim_sigmas(output)
    down, across = (int(3.5 * each + 0.5) for each in sigma)
    scales = _scales(min(output.shape[-2:]), min(down, across) * 2 + 1)
    if scales == 1:
        return _mean(_similarity(output, target), valid)
    weights = None if valid is None else valid.float()
    product = torch.ones(len(output), device=output.device)
    for scale, exponent in enumerate(_SCALE_WEIGHTS[:scales]):
        if scale == scales - 1:
            similarity = _mean(_similarity(output, target, sigma), weights)
        else:
            contrast = _similarity(output, target, sigma, k1=_ONLY_CONTRAST)
            inner = (..., slice(down, -down), slice(across, -across))
            similarity = _mean(contrast[inner], None if weights is None else weights[inner])
        # A negative similarity has no fractional power.
        product = product * similarity.relu() ** (exponent / sum(_SCALE_WEIGHTS[:scales]))
        output, target = (nn.functional.avg_pool2d(image, 2) for image in (output, target))
        weights = None if weights is None else nn.functional.avg_pool2d(weights, 2)
    return product


def _scales(side: int, window: int) -> int:
    """As many of the five scales as leave enough for a window and its reflected margin, by torchmetrics' count."""
    fitting = [
        count
        for count in range(1, len(_SCALE_WEIGHTS) + 1)
        if side // 2 ** (count - 1) > window // 2 and side // max(1, count - 1) ** 2 > window - 1
    ]
    return max(fitting, default=1)


def _ssim_sigmas(images: Tensor) -> tuple[float, float]:
    height, width = images.shape[-2:]
    return _ssim_sigma(height), _ssim_sigma(width)


def _ssim_sigma(side: int) -> float:
    """The widest window, up to the usual one, whose reflected margin is narrower than the image."""
    margin = int(3.5 * _SSIM_SIGMA + 0.5)
    return _SSIM_SIGMA if side > margin else max(side - 1, 0.1) / 3.5
