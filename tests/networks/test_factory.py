"""Making networks by name, and loading them from model files."""

from __future__ import annotations

import json

import pytest
import torch

from translatekit.errors import ModelFileError, OptionError, PluginError
from translatekit.interfaces import NetworkFactory
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks import Networks, load_network, make_discriminator, make_generator

CHANNELS = {"in_channels": 3, "out_channels": 3}


def test_options_may_be_text_and_the_arguments_kept_are_complete():
    network = make_generator("unet", {"depth": "5", "width": "2", "norm": "instance"}, **CHANNELS)
    assert network.arguments == {**CHANNELS, "depth": 5, "width": 2, "norm": "instance", "dropout": 0.5}


def test_kept_arguments_survive_json_and_make_the_same_network_again():
    network = make_generator("resnet", {"blocks": 1, "width": 2}, **CHANNELS)
    again = make_generator("resnet", json.loads(json.dumps(network.arguments)))
    again.load_state_dict(network.state_dict())
    assert again.arguments == network.arguments


@pytest.mark.parametrize("name", ["depht", "in_channels", "out_channels", "self"])
def test_option_that_is_not_the_users_is_refused_by_name(name):
    with pytest.raises(OptionError, match=f"generator 'unet' has no option '{name}'"):
        make_generator("unet", {name: 3}, **CHANNELS)


def test_value_that_does_not_fit_is_refused_by_name():
    with pytest.raises(OptionError, match=r"discriminator 'patch': option 'norm' must be one of .*'layer'"):
        make_discriminator("patch", {"norm": "layer"}, in_channels=3)


def test_missing_argument_is_named():
    with pytest.raises(OptionError, match=r"generator 'unet' cannot be made .*out_channels"):
        make_generator("unet", {"in_channels": 3})


def test_unknown_network_is_refused():
    with pytest.raises(PluginError, match=r"no generator named 'unett': did you mean 'unet'\?"):
        make_generator("unett", {}, **CHANNELS)


def networks(**options: object) -> Networks:
    return Networks(
        generator_name="resnet",
        generator_options={"blocks": "1", "width": "16"},
        discriminator_name="patch",
        discriminator_options={"width": "16"},
        **options,
    )


def test_networks_are_made_with_the_users_options_and_initialized():
    factory = networks(init_gain=0.1)
    assert isinstance(factory, NetworkFactory)
    torch.manual_seed(0)
    generator = factory.generator(in_channels=2, out_channels=1)
    discriminator = factory.discriminator(in_channels=3)
    assert generator.arguments["blocks"] == 1
    assert generator.blocks[0].conv1.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert discriminator.model[2].weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_one_seed_gives_one_network():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(networks().generator(**CHANNELS).head[0].weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def save(path, name, options, norm_inference="per_image", **fields):
    torch.manual_seed(0)
    network = make_generator(name, options, **CHANNELS)
    info = ModelInfo(
        method="test",
        generator=name,
        generator_options=network.arguments,
        size_multiple=network.size_multiple,
        norm_inference=norm_inference,
    )
    save_model(path, network.state_dict(), info)
    return network


@pytest.mark.parametrize("norm_inference", ["running", "per_image"])
def test_a_model_file_gives_the_network_back(tmp_path, norm_inference):
    network = save(tmp_path / "model.safetensors", "unet", {"depth": 5, "width": 2}, norm_inference)
    loaded, info = load_network(tmp_path / "model.safetensors")
    assert info.norm_inference == norm_inference
    assert not loaded.training
    x = torch.randn(1, 3, 32, 32)
    matches = torch.allclose(loaded(x), network.eval()(x))
    assert matches is (norm_inference == "running")


def test_loading_a_model_that_began_pretrained_downloads_nothing(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    network = make_generator("timm_unet", {"encoder": "test_resnet", "width": 2}, **CHANNELS).eval()
    network.encoder.scale.fill_(3.0)
    options = {**network.arguments, "pretrained": True}
    save_model(
        path,
        network.state_dict(),
        ModelInfo(method="test", generator="timm_unet", generator_options=options, size_multiple=32),
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded, _ = load_network(path)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(loaded(x), network(x))


def test_weights_that_do_not_fit_the_header_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    network = make_generator("unet", {"depth": 5, "width": 2}, **CHANNELS)
    header = {**network.arguments, "width": 3}
    info = ModelInfo(method="test", generator="unet", generator_options=header, size_multiple=32)
    save_model(path, network.state_dict(), info)
    words = r"do not fit the generator 'unet' of its header \(another shape has .* and \d+ more\): install"
    with pytest.raises(ModelFileError, match=words):
        load_network(path)
