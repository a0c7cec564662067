"""Metrics of outputs against targets."""

from __future__ import annotations

import math

import pytest
import torch

from translatekit.training.metrics import MetricMean, image_metrics


def images(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_equal_images_have_no_error() -> None:
    metrics = image_metrics(images(), images())
    assert metrics["l1"] == 0
    assert metrics["psnr"] == pytest.approx(100)
    assert metrics["ssim"] == pytest.approx(1)


def test_a_constant_offset_gives_the_l1_and_psnr_of_the_formula() -> None:
    target = images() * 0.5
    metrics = image_metrics(target + 0.2, target)
    assert metrics["l1"] == pytest.approx(0.2, rel=1e-5)
    assert metrics["psnr"] == pytest.approx(10 * math.log10(4 / 0.04), rel=1e-5)


def test_psnr_is_the_mean_over_images_not_that_of_the_mean_error() -> None:
    target = torch.zeros(2, 1, 16, 16)
    output = torch.stack([target[0] + 0.1, target[1] + 1.0])
    expected = (10 * math.log10(4 / 0.01) + 10 * math.log10(4)) / 2
    assert image_metrics(output, target)["psnr"] == pytest.approx(expected, rel=1e-5)


def test_noise_lowers_ssim() -> None:
    target = images()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    little, much = (image_metrics(target + amount * noise, target)["ssim"] for amount in (0.1, 0.5))
    assert 0 < much < little < 1


@pytest.mark.parametrize("side", [1, 2, 5, 6, 7])
def test_images_smaller_than_the_window_of_ssim_are_measured(side: int) -> None:
    metrics = image_metrics(images(2, side), images(2, side))
    assert metrics["ssim"] == pytest.approx(1)


def test_the_mean_over_uneven_batches_is_that_over_all_images() -> None:
    target, output = images(5), images(5).flip(3)
    mean = MetricMean()
    for part in (slice(0, 3), slice(3, 5)):
        mean.update(image_metrics(output[part], target[part]), len(output[part]))
    assert mean.compute() == pytest.approx(image_metrics(output, target), rel=1e-5)


def test_the_mean_of_nothing_is_empty() -> None:
    assert MetricMean().compute() == {}
