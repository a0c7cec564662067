"""Discriminators: shapes, and receptive fields measured by gradients."""

from __future__ import annotations

import pytest
import torch

from translatekit.errors import DataError, OptionError
from translatekit.networks import make_discriminator


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("pixel", {}, 1),
        ("patch", {"layers": 1}, 16),
        ("patch", {"layers": 2}, 34),
        ("patch", {}, 70),
        ("image", {}, 286),
    ],
)
def test_receptive_field_measured_by_gradients(name, options, field):
    torch.manual_seed(0)
    network = make_discriminator(name, {**options, "width": 2, "norm": "none"}, in_channels=1).double()
    x = torch.randn(1, 1, 448, 448, dtype=torch.float64, requires_grad=True)
    logits = network(x)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    touched = x.grad[0, 0].abs() > 0
    for axis in (0, 1):
        places = touched.any(dim=axis).nonzero()
        assert places.max() - places.min() + 1 == field


@pytest.mark.parametrize("name", ["pixel", "patch", "image"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_one_logit_a_patch(name, norm, channels):
    network = make_discriminator(name, {"width": 2, "norm": norm}, in_channels=channels)
    x = torch.randn(2, channels, 128, 160)
    logits = network(x)
    height, width = {"pixel": (128, 160), "patch": (14, 18), "image": (2, 3)}[name]
    assert logits.shape == (2, 1, height, width)
    logits.mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_patch_discriminator_has_the_papers_widths():
    network = make_discriminator("patch", {}, in_channels=6)
    widths = [p.shape[0] for name, p in network.named_parameters() if p.dim() == 4]
    assert widths == [64, 128, 256, 512, 1]


@pytest.mark.parametrize("layers", [1, 3])
def test_images_too_small_for_the_layers_are_refused(layers):
    network = make_discriminator("patch", {"layers": layers, "width": 2}, in_channels=3)
    smallest = 3 * 2**layers
    assert network(torch.zeros(1, 3, smallest, smallest)).shape == (1, 1, 1, 1)
    with pytest.raises(
        DataError, match=f"patch discriminator needs sides of at least {smallest} pixels, got 64x5"
    ):
        network(torch.zeros(1, 3, 5, 64))


def test_a_patch_discriminator_without_layers_is_refused():
    with pytest.raises(
        OptionError, match=r"discriminator 'patch': option 'layers' must be .* from 1 to 16, got '0'"
    ):
        make_discriminator("patch", {"layers": "0"}, in_channels=3)
