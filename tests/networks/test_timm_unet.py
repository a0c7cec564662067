"""The U-Net on timm's backbones."""

from __future__ import annotations

import pytest
import torch

from translatekit.errors import DataError, OptionError
from translatekit.networks import make_generator


@pytest.mark.parametrize(
    ("encoder", "multiple"),
    [("test_resnet", 32), ("test_efficientnet", 32), ("test_convnext", 32), ("test_vit", 16)],
)
def test_encoders_of_every_family(encoder, multiple):
    options = {"encoder": encoder, "width": 2, "dropout": 0.5}
    network = make_generator("timm_unet", options, in_channels=2, out_channels=5)
    assert network.size_multiple == multiple
    side = 4 * multiple
    assert network(torch.randn(2, 2, side, side)).shape == (2, 5, side, side)


@pytest.mark.parametrize("width", [2, 4])
def test_width_is_the_decoders_at_full_resolution(width):
    options = {"encoder": "test_resnet", "width": width}
    network = make_generator("timm_unet", options, in_channels=3, out_channels=3)
    assert network.head.weight.shape[1] == width


def test_unknown_encoder_names_close_ones():
    with pytest.raises(OptionError, match=r"timm has no model 'resnt34': did you mean resnet34 or "):
        make_generator("timm_unet", {"encoder": "resnt34"}, in_channels=3, out_channels=3)


@pytest.mark.parametrize("encoder", ["resnet18.nonsense", "mixer_s32_224"])
def test_encoder_that_cannot_be_used_says_what_to_do(encoder):
    with pytest.raises(OptionError, match=r"cannot be used here .*: choose another, such as resnet34$"):
        make_generator("timm_unet", {"encoder": encoder}, in_channels=3, out_channels=3)


def test_training_on_one_image_of_the_smallest_size_is_refused():
    network = make_generator("timm_unet", {"encoder": "test_resnet"}, in_channels=3, out_channels=3)
    with pytest.raises(DataError, match="at least 64 pixels, got 32x32"):
        network(torch.zeros(1, 3, 32, 32))
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
