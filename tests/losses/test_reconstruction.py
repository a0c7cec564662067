"""Pixel losses and the perceptual loss."""

from __future__ import annotations

import pytest
import timm
import torch

from translatekit.errors import OptionError
from translatekit.losses import make_loss


def test_l1_and_l2_are_means():
    output, target = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    assert make_loss("l1", "reconstruction")(output, target).item() == pytest.approx(1.25)
    assert make_loss("l2", "reconstruction")(output, target).item() == pytest.approx(2.125)


@pytest.fixture(scope="module")
def perceptual():
    torch.manual_seed(0)
    return make_loss("perceptual", "reconstruction", model="test_resnet", pretrained="false")


@pytest.mark.parametrize("channels", [1, 3])
def test_perceptual_loss_is_zero_for_equal_images_and_grows_with_their_distance(perceptual, channels):
    torch.manual_seed(1)
    target, noise = torch.rand(2, channels, 64, 64) * 2 - 1, torch.randn(2, channels, 64, 64)
    assert perceptual(target, target) == 0
    assert 0 < perceptual(target + 0.01 * noise, target) < perceptual(target + 0.3 * noise, target)


def test_a_gray_image_counts_as_three_equal_channels(perceptual):
    torch.manual_seed(1)
    output, target = torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64)
    repeated = perceptual(output.expand(-1, 3, -1, -1), target.expand(-1, 3, -1, -1))
    torch.testing.assert_close(perceptual(output, target), repeated)


def test_perceptual_loss_trains_the_output_and_nothing_else(perceptual):
    output = torch.rand(1, 3, 64, 64, requires_grad=True)
    target = torch.rand(1, 3, 64, 64, requires_grad=True)
    perceptual(output, target).backward()
    assert output.grad.abs().sum() > 0
    assert target.grad is None
    assert not any(parameter.requires_grad for parameter in perceptual.parameters())


def test_perceptual_loss_stays_in_evaluation_mode(perceptual):
    before = {name: tensor.clone() for name, tensor in perceptual.state_dict().items()}
    perceptual.train()(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert all(torch.equal(tensor, before[name]) for name, tensor in perceptual.state_dict().items())


def test_perceptual_loss_refuses_two_channels(perceptual):
    with pytest.raises(OptionError, match="needs images of 1 or 3 channels, got 2: choose l1 or l2"):
        perceptual(torch.zeros(1, 2, 64, 64), torch.zeros(1, 2, 64, 64))


def test_perceptual_loss_reads_weights_from_a_file(tmp_path):
    torch.manual_seed(2)
    model = timm.create_model("test_resnet")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loss = make_loss(
        "perceptual", "reconstruction", model="test_resnet", weights=str(tmp_path / "weights.pth")
    )
    assert torch.equal(
        loss.state_dict()["backbone.model.layer1.0.conv1.weight"], model.layer1[0].conv1.weight
    )
