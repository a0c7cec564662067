"""timm's models as feature extractors, with trained weights and without."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import timm
import torch

from translatekit.backbones import Backbone
from translatekit.errors import TranslatekitError
from translatekit.networks import init_weights


def test_pretrained_weights_out_of_reach_say_what_to_do(tmp_path):
    code = (
        "from translatekit.networks import make_generator\n"
        "from translatekit.losses import make_loss\n"
        "from translatekit.errors import TranslatekitError\n"
        "try: make_generator('timm_unet', {'encoder': 'test_resnet', 'pretrained': 'true'},\n"
        "                    in_channels=3, out_channels=3)\n"
        "except TranslatekitError as error: print(error)\n"
        "try: make_loss('perceptual', 'reconstruction', model='test_resnet')\n"
        "except TranslatekitError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("the pretrained weights of 'test_resnet' could not be loaded (")
        assert line.endswith("connect to the internet once so that they are cached, or set pretrained=false")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    return path


def test_backbone_brings_images_to_the_range_its_weights_were_trained_at(weights):
    backbone = Backbone("test_resnet", weights=weights).eval()
    config = backbone.model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    unit = torch.rand(1, 3, 64, 64)
    expected = backbone.model((unit - mean) / std)
    for got, want in zip(backbone(unit * 2 - 1), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_trained_backbone_takes_any_channels(weights, channels):
    backbone = Backbone("test_resnet", channels, weights=weights)
    assert backbone(torch.zeros(2, channels, 64, 64))[-1].shape[-1] == 2


def test_initialization_leaves_a_trained_backbone_alone(weights):
    trained, untrained = Backbone("test_resnet", weights=weights), Backbone("test_resnet")
    key = "model.layer1.0.conv1.weight"
    before = trained.state_dict()[key].clone(), untrained.state_dict()[key].clone()
    init_weights(trained)
    init_weights(untrained)
    assert torch.equal(before[0], trained.state_dict()[key])
    assert not torch.equal(before[1], untrained.state_dict()[key])


def test_weights_that_do_not_fit_are_refused(weights, tmp_path):
    with pytest.raises(TranslatekitError, match="do not fit the timm model 'test_vit'"):
        Backbone("test_vit", weights=weights)
    with pytest.raises(
        TranslatekitError, match=r"there is no file of weights .*nothing\.pth: check the path"
    ):
        Backbone("test_resnet", weights=tmp_path / "nothing.pth")
