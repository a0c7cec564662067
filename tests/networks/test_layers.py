"""Normalization at inference, noise, spectral normalization, initialization."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from translatekit.networks.layers import (
    BatchNorm2d,
    Noise,
    ResizeConv2d,
    SpectralConv2d,
    draws_noise,
    fold_spectral_norm,
    init_weights,
    make_norm,
    set_noise,
    set_norm_inference,
)


def batch_norm(mode: str = "per_image") -> BatchNorm2d:
    """In evaluation, with parameters and statistics that are not the initial ones."""
    torch.manual_seed(0)
    norm = BatchNorm2d(3)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_()
    set_norm_inference(norm, mode)
    return norm.eval()


def test_resizing_convolutions_repeat_each_pixel_before_they_convolve():
    conv = ResizeConv2d(1, 1, bias=False)
    nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0, 1, 1] = 1  # nothing but the pixel itself
    x = torch.rand(1, 1, 3, 5)
    assert torch.equal(conv(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    nn.init.constant_(conv.weight, 1 / 9)
    torch.testing.assert_close(conv(torch.full((1, 1, 3, 5), 0.5)), torch.full((1, 1, 6, 10), 0.5))


def test_per_image_equals_training_at_batch_size_1():
    x = torch.randn(1, 3, 5, 7) * 3 + 2
    norm = batch_norm()
    evaluated = norm(x)
    torch.testing.assert_close(evaluated, norm.train()(x))


def test_per_image_result_does_not_depend_on_the_batch():
    x = torch.randn(4, 3, 5, 7)
    norm = batch_norm()
    torch.testing.assert_close(norm(x)[2:3], norm(x[2:3]), rtol=0, atol=0)


def test_running_statistics_are_used_unless_asked_otherwise():
    x = torch.randn(2, 3, 5, 7)
    norm = batch_norm("running")
    reference = nn.BatchNorm2d(3).eval()
    reference.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(x), reference(x))
    assert not torch.allclose(norm(x), batch_norm()(x), atol=0.1)


def test_per_image_at_one_pixel_gives_the_shift():
    norm = batch_norm()
    torch.testing.assert_close(
        norm(torch.randn(2, 3, 1, 1)), norm.bias.detach().view(1, 3, 1, 1).expand(2, 3, 1, 1)
    )


def test_per_image_survives_a_large_offset_in_half_precision():
    x = torch.randn(1, 3, 64, 64) + 100
    norm = batch_norm()
    out = norm(x.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), norm(x.bfloat16().float()), rtol=0.02, atol=0.02)


def test_per_image_leaves_running_statistics_alone():
    norm = batch_norm()
    before = norm.running_mean.clone()
    norm(torch.randn(2, 3, 4, 4))
    assert torch.equal(before, norm.running_mean)


@pytest.mark.parametrize("mode", ["running", "per_image"])
def test_batch_norm_can_be_exported_with_a_dynamic_batch(mode):
    norm = batch_norm(mode)
    program = torch.export.export(
        norm, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(program.module()(x), norm(x))


def test_instance_norm_has_no_state():
    assert not make_norm("instance", 4).state_dict()


def test_set_noise_keeps_noise_in_evaluation():
    network = nn.Sequential(nn.Dropout(0.5), BatchNorm2d(3)).eval()
    x = torch.ones(1, 3, 16, 16)
    set_noise(network, True)
    assert not torch.equal(network(x), network(x))
    assert not network[1].training
    set_noise(network, False)
    assert torch.equal(network(x), network(x))


def test_noise_is_its_mean_in_evaluation_unless_asked_for_or_fixed():
    x = torch.ones(3, 1, 2, 2)
    noise = Noise(4)
    assert noise(x).std() > 0
    assert not noise.eval()(x).any()
    assert noise(x).shape == (3, 4)
    set_noise(noise, True)
    assert not torch.equal(noise(x), noise(x))
    fixed = Noise(4, seed=5).eval()
    assert torch.equal(fixed(x), Noise(4, seed=5).eval()(x))
    assert torch.equal(fixed(x)[0], fixed(x)[2])
    assert not torch.equal(fixed(x), Noise(4, seed=6).eval()(x))
    assert not fixed.state_dict()
    assert draws_noise(noise)
    assert draws_noise(nn.Dropout(0.1))
    assert not draws_noise(nn.Dropout(0.0))


def spectral_convolution() -> SpectralConv2d:
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 5, 3, padding=1)
    init_weights(conv, "normal", 0.5)
    for _ in range(300):
        conv(torch.zeros(1, 3, 4, 4))
    return conv


def test_a_spectral_convolution_has_the_largest_singular_value_one():
    conv = spectral_convolution()
    values = torch.linalg.svdvals(conv.divided().flatten(1))
    assert values[0].item() == pytest.approx(1, abs=1e-4)
    assert torch.linalg.svdvals(conv.weight.flatten(1))[0] > 2
    x = torch.randn(1, 3, 6, 6)
    torch.testing.assert_close(conv(x), nn.functional.conv2d(x, conv.divided(), conv.bias, padding=1))


def test_its_estimate_is_improved_where_it_is_trained_alone():
    conv = spectral_convolution()
    init_weights(conv, "normal", 0.5)  # other weights, whose singular vector is not known yet
    before, x = conv.u.clone(), torch.zeros(1, 3, 4, 4)
    conv.eval()(x)
    conv.train().requires_grad_(False)(x)
    assert torch.equal(conv.u, before)
    conv.requires_grad_(True)(x)
    assert not torch.equal(conv.u, before)


def test_its_gradient_is_that_of_the_definition():
    conv = spectral_convolution()
    x = torch.randn(1, 3, 4, 4)
    conv(x).square().sum().backward()
    weight = conv.weight.detach().requires_grad_()
    divided = weight / torch.linalg.svdvals(weight.flatten(1))[0]
    nn.functional.conv2d(x, divided, conv.bias, padding=1).square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, weight.grad, rtol=1e-3, atol=1e-4)


def test_a_folded_one_gives_the_same_and_can_be_saved_and_folded_again():
    conv = spectral_convolution().eval()
    x = torch.randn(2, 3, 4, 4)
    expected = conv(x)
    fold_spectral_norm(conv)
    assert torch.equal(conv(x), expected)
    again = SpectralConv2d(3, 5, 3, padding=1).eval()
    again.load_state_dict(conv.state_dict())
    torch.testing.assert_close(again(x), expected)
    program = torch.export.export(conv, (x,))
    assert {node.target for node in program.graph.nodes if node.op == "call_function"} == {
        torch.ops.aten.conv2d.default
    }


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(16, 64, 4), BatchNorm2d(64), nn.ConvTranspose2d(64, 32, 4), nn.Linear(32, 300)
    )


def test_normal_initialization_has_the_asked_spread():
    network = layers()
    init_weights(network, "normal", 0.02)
    for index in (0, 2, 3):
        assert network[index].weight.mean().abs() < 0.001
        assert network[index].weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not network[index].bias.any()
    assert network[1].weight.mean().item() == pytest.approx(1, abs=0.01)
    assert network[1].weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert not network[1].bias.any()


def test_xavier_and_kaiming_follow_the_fans():
    network = layers()
    fan_in, fan_out = 16 * 16, 64 * 16
    init_weights(network, "xavier", 0.5)
    assert network[0].weight.std().item() == pytest.approx(0.5 * (2 / (fan_in + fan_out)) ** 0.5, rel=0.05)
    init_weights(network, "kaiming", 0.5)
    assert network[0].weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_orthogonal_initialization_is_orthogonal():
    network = layers()
    init_weights(network, "orthogonal", 2.0)
    rows = network[0].weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 4 * torch.eye(64), rtol=0, atol=1e-4)


def test_initialization_leaves_pretrained_modules_alone():
    network = nn.Sequential(layers(), nn.Conv2d(3, 3, 3))
    network[0].pretrained = True
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    init_weights(network, "normal", 0.02)
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"1.weight", "1.bias"}
