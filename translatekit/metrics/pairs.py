"""How far outputs are from their targets: L1, PSNR, SSIM, MS-SSIM, LPIPS, image by image."""

from __future__ import annotations

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

PSNR_OF_EQUAL_IMAGES = 100.0

_SSIM_SIGMA = 1.5
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # table 1 of Wang, Simoncelli and Bovik, 2003
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

    The window is narrower for images of fewer than 6 pixels a side. Pixels that are not valid are taken as equal.
    """

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        return _ssim(*_comparable(output, target))


class MultiScaleSSIM:
    """SSIM over five scales (Wang, Simoncelli and Bovik, 2003).

    There are fewer for images of fewer than 176 pixels a side; their weights then add up to 1 again. Pixels that are
    not valid are taken as equal.
    """

    def __call__(self, output: MetricImages, target: MetricImages) -> Tensor:
        """(N,) of outputs against targets."""
        return _ms_ssim(*_comparable(output, target))


class LPIPS:
    """The distance between features of AlexNet (Zhang et al., 2018); images below 64 pixels a side are enlarged.

    Pixels that are not valid are taken as equal.

    Raises:
        MissingWeightsError: the weights of AlexNet are not there.
        TranslatekitError: torchvision is not installed.
    """

    def __init__(self) -> None:
        weights_file("lpips", "the AlexNet that LPIPS compares images by")
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
        if (small := min(pair[0].shape[-2:])) < _LPIPS_MIN_SIDE:
            factor = -(-_LPIPS_MIN_SIDE // small)
            pair = [nn.functional.interpolate(image, scale_factor=factor) for image in pair]
        self._network.reset()
        self._network.update(*pair)
        distance: Tensor = self._network.compute()
        return distance.reshape(-1)


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


def network_images(values: Tensor, spec: ImageSpec) -> MetricImages:
    """A network's images, (N, C, H, W), as metrics take them: those without levels in their unit."""
    if spec.levels or spec.codec == "onehot":
        return MetricImages(values.float(), spec)
    images = ValueCodec(spec).to(values.device).decode(values, values, torch.float32)
    return MetricImages(images.permute(0, 3, 1, 2), spec)


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


def _mean(errors: Tensor, valid: Tensor | None) -> Tensor:
    """The mean of each image's (N, C, H, W) values over its valid pixels (N, 1, H, W), (N,)."""
    if valid is None:
        return errors.flatten(1).mean(1)
    counted = valid.expand_as(errors).flatten(1)
    return (errors.flatten(1) * counted).sum(1) / counted.sum(1)


def _comparable(output: MetricImages, target: MetricImages) -> tuple[Tensor, Tensor]:
    """Both in [-1, 1], the output with the target's pixels where those are not valid."""
    made, wanted = output.normalized(), target.normalized()
    return (made if target.valid is None else torch.where(target.valid, made, wanted)), wanted


def _ssim(output: Tensor, target: Tensor) -> Tensor:
    # Imported when it is used: it brings torchvision and SciPy along, and not every training validates.
    from torchmetrics.functional.image import structural_similarity_index_measure

    sigma = [_ssim_sigma(side) for side in output.shape[-2:]]
    values: Any = structural_similarity_index_measure(
        output, target, sigma=sigma, data_range=2.0, reduction="none"
    )
    return values.reshape(-1)


def _ms_ssim(output: Tensor, target: Tensor) -> Tensor:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    sigma = [_ssim_sigma(side) for side in output.shape[-2:]]
    scales = _scales(min(output.shape[-2:]), int(3.5 * min(sigma) + 0.5) * 2 + 1)
    if scales == 1:
        return _ssim(output, target)
    weights = _SCALE_WEIGHTS[:scales]
    values: Tensor = multiscale_structural_similarity_index_measure(
        output,
        target,
        sigma=sigma,
        data_range=2.0,
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
