"""How far outputs are from their targets: L1, PSNR and SSIM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

DATA_RANGE = 2.0
PSNR_OF_EQUAL_IMAGES = 100.0
_SSIM_SIGMA = 1.5


def image_metrics(output: Tensor, target: Tensor) -> dict[str, float]:
    """The metrics of a batch of outputs, each the mean over its images.

    Args:
        output: (N, C, H, W) in [-1, 1].
        target: of the same shape and range.

    Returns:
        ``l1``, the mean absolute error on [-1, 1]; ``psnr`` in dB for a data range of 2, at most 100 (equal
        images have no noise); ``ssim`` (Wang et al., 2004) with a Gaussian window of standard deviation 1.5,
        a narrower one for images of fewer than 6 pixels a side.
    """
    output, target = output.float(), target.float()
    difference = (output - target).flatten(1)
    least = DATA_RANGE**2 / 10 ** (PSNR_OF_EQUAL_IMAGES / 10)
    psnr = 10 * (DATA_RANGE**2 / difference.square().mean(1).clamp(min=least)).log10()
    sigma = [_ssim_sigma(side) for side in output.shape[-2:]]
    ssim = structural_similarity_index_measure(output, target, sigma=sigma, data_range=DATA_RANGE)
    return {"l1": difference.abs().mean().item(), "psnr": psnr.mean().item(), "ssim": float(ssim)}


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


def _ssim_sigma(side: int) -> float:
    """The widest window, up to the usual one, whose reflected margin is narrower than the image."""
    margin = int(3.5 * _SSIM_SIGMA + 0.5)
    return _SSIM_SIGMA if side > margin else max(side - 1, 0.1) / 3.5
