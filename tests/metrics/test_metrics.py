"""Metrics of outputs against targets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch

from translatekit.errors import OptionError, PluginError
from translatekit.image_spec import ImageSpec, levels_spec
from translatekit.interfaces import MetricImages
from translatekit.metrics import better, find_metric, make_metric, metric_label, metric_names
from translatekit.metrics.features import make_features
from translatekit.metrics.pairs import (
    L1,
    PSNR,
    SSIM,
    MetricMean,
    image_metrics,
    images_with_levels,
    measure_pairs,
)
from translatekit.metrics.sets import fid, kid


def images(count: int = 4, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def measured(name: str, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    given = images_with_levels(output), images_with_levels(target)
    return measure_pairs({name: make_metric(name)}, *given)[name]


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


@pytest.mark.parametrize("side", [1, 4, 11, 32, 64, 176])
def test_ms_ssim_is_one_for_equal_images_of_any_size_and_falls_with_noise(side: int) -> None:
    target = images(3, side)
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    same, near, far = (measured("ms_ssim", target + amount * noise, target) for amount in (0.0, 0.05, 0.5))
    assert same.tolist() == pytest.approx([1, 1, 1])
    if side >= 11:
        assert (near < 1).all()
        assert (far < near).all()


def test_metrics_are_given_image_by_image() -> None:
    target, output = images(5), images(5).flip(3)
    names = ["l1", "psnr", "ssim", "ms_ssim"]
    for name in names:
        together = measured(name, output, target)
        for index in range(5):
            alone = measured(name, output[index : index + 1], target[index : index + 1])
            assert together[index].item() == pytest.approx(alone.item(), rel=1e-4)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(PluginError, match="there is no metric named 'fidd': did you mean 'fid'"):
        make_metric("fidd")


def test_metrics_come_in_the_order_of_what_they_compare() -> None:
    assert metric_names("pairs", "sets") == ["l1", "psnr", "ssim", "lpips", "ms_ssim", "fid", "kid"]


@pytest.mark.parametrize(
    ("name", "label", "way"),
    [
        ("ms_ssim", "MS-SSIM", "higher"),
        ("val/l1", "val/L1", "lower"),
        ("fcn_real_mean_iou", "fcn_real_mean_iou", "higher"),
        ("warp_error holiday.mp4", "warp_error holiday.mp4", "lower"),
        ("warp_error a/my holiday.mp4", "warp_error a/my holiday.mp4", "lower"),
        ("accuracy_real", "accuracy_real", ""),
    ],
)
def test_what_a_log_calls_a_metric_is_found(name: str, label: str, way: str) -> None:
    assert metric_label(name) == label
    assert better(name) == way
    assert (find_metric(name) is None) == (way == "")


def test_errors_are_in_the_unit_of_the_images_over_their_valid_pixels() -> None:
    spec = ImageSpec(channels=("CT",), meaning="values").with_range(-1024, 3071, unit="HU")
    target = torch.zeros(2, 1, 8, 8)
    output = target.clone()
    output[0, :, :4] = 100.0
    valid = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    valid[:, :, 2:] = True
    made, wanted = MetricImages(output, spec), MetricImages(target, spec)
    assert L1()(made, wanted).tolist() == [50.0, 0.0]
    assert L1()(made, MetricImages(target, spec, valid)).tolist() == pytest.approx([100 * 2 / 6, 0])
    error = 10 * math.log10(4095**2 / 5000)
    assert PSNR()(made, wanted).tolist() == pytest.approx([error, 100])
    # the same images as levels have the same similarity
    drawn = [MetricImages((images + 1024) / 4095 * 2 - 1, levels_spec(1)) for images in (output, target)]
    torch.testing.assert_close(SSIM()(made, wanted), SSIM()(*drawn))


def partly_valid(values: torch.Tensor, valid: torch.Tensor) -> MetricImages:
    return MetricImages(values, levels_spec(values.shape[1]), valid)


@pytest.mark.parametrize(("name", "side"), [("ssim", 32), ("ms_ssim", 192), ("ms_ssim", 48)])
def test_similarity_leaves_out_what_is_not_valid(name: str, side: int) -> None:
    target = images(2, side)
    output = (target + 0.3 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))).clamp(
        -1, 1
    )
    valid = torch.ones(2, 1, side, side, dtype=torch.bool)
    metric = make_metric(name)

    def figures(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return metric(partly_valid(made, valid), partly_valid(wanted, valid))

    torch.testing.assert_close(figures(output, target), measured(name, output, target))
    valid[1, :, : side // 2] = False
    halves = figures(output, target)
    torch.testing.assert_close(halves[0], measured(name, output, target)[0])  # the other of its batch
    # Equal pixels that are not valid would raise the mean; noise or no number at all in them must not change it.
    assert halves[1] < measured(name, torch.where(valid, output, target), target)[1] - 0.02
    output[1, :, : side // 2] = math.nan
    torch.testing.assert_close(figures(output, target), halves)
    valid[:] = False
    assert figures(output, target).isnan().all()


def test_ms_ssim_is_that_of_torchmetrics() -> None:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    target = images(3, 192)
    output = (target + 0.3 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))).clamp(
        -1, 1
    )
    expected = multiscale_structural_similarity_index_measure(
        output, target, data_range=2.0, reduction="none", normalize="relu"
    )
    torch.testing.assert_close(measured("ms_ssim", output, target), expected)


def test_lpips_leaves_out_what_is_not_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    from translatekit.metrics import pairs

    torch.manual_seed(0)
    network = torchvision.models.alexnet()  # of random weights: the arithmetic is the same
    (tmp_path / "alexnet.pth").write_bytes(b"weights")
    monkeypatch.setattr(pairs, "weights_file", lambda *args: tmp_path / "alexnet.pth")
    monkeypatch.setattr(torchvision.models, "alexnet", lambda **options: network)
    metric, target = make_metric("lpips"), images(2, 64)
    output = target.clone()
    output[:, :, :, :24] = -output[:, :, :, :24]
    valid = torch.ones(2, 1, 64, 64, dtype=torch.bool)
    usual = measure_pairs({"lpips": metric}, images_with_levels(output), images_with_levels(target))["lpips"]
    valid[1, :, :, :24] = False
    found = metric(partly_valid(output, valid), partly_valid(target, valid)).detach()
    torch.testing.assert_close(found[0], usual[0].detach())
    assert usual[1] > 0
    assert found[1] == pytest.approx(0, abs=1e-7)


def test_a_mean_leaves_out_images_without_a_figure() -> None:
    mean = MetricMean()
    mean.update({"l1": 2.0, "ssim": 0.5}, 2)
    mean.update({"l1": 0.0}, 0)
    mean.update({"l1": 5.0}, 1)
    assert mean.compute() == {"l1": 3.0, "ssim": 0.5}


def test_fid_is_the_frechet_distance_of_two_gaussians() -> None:
    random = np.random.default_rng(0)
    real, fake = random.normal(0, 1, (200, 6)), random.normal(0.5, 2, (150, 6))
    spread = [np.cov(features, rowvar=False) for features in (real, fake)]
    root = scipy.linalg.sqrtm(spread[0] @ spread[1]).real
    shift = real.mean(0) - fake.mean(0)
    expected = shift @ shift + np.trace(spread[0] + spread[1] - 2 * root)
    assert fid(torch.from_numpy(real), torch.from_numpy(fake)) == pytest.approx(expected, rel=1e-3)


def test_kid_is_unbiased_where_fid_is_not() -> None:
    random = torch.Generator().manual_seed(0)
    values = [
        kid(torch.randn(20, 8, generator=random), torch.randn(20, 8, generator=random)) for _ in range(40)
    ]
    mean, spread = np.mean(values), np.std(values) / math.sqrt(40)
    assert abs(mean) < 4 * spread


def test_kid_leaves_the_random_state_alone() -> None:
    features = torch.rand(30, 4), torch.rand(20, 4)
    before = torch.get_rng_state()
    first = kid(*features)
    assert torch.equal(torch.get_rng_state(), before)
    assert kid(*features) == first


def test_distances_of_one_image_are_refused() -> None:
    with pytest.raises(OptionError, match="at least 2 images"):
        fid(torch.rand(1, 4), torch.rand(5, 4))


def test_features_take_gray_images_as_colour(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), path)
    features = make_features(f"resnet10t,path={path}")
    gray = torch.rand(2, 1, 32, 32) * 2 - 1
    found = features(gray)
    assert found.shape == (2, 512)
    assert torch.equal(found, features(gray.expand(-1, 3, -1, -1)))
