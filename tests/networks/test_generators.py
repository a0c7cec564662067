"""Generators: shapes, ranges, sizes, and that they can be trained and exported."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from translatekit.errors import DataError, OptionError
from translatekit.networks import make_generator, set_norm_inference
from translatekit.networks.layers import BatchNorm2d

TINY = {
    "unet": ({"depth": 5, "width": 2}, 32),
    "encoder_decoder": ({"depth": 5, "width": 2}, 32),
    "resnet": ({"blocks": 2, "width": 2}, 4),
    "timm_unet": ({"encoder": "test_resnet", "width": 2}, 32),
}


def tiny(name: str, in_channels: int = 3, out_channels: int = 3, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return make_generator(
        name, {**TINY[name][0], **options}, in_channels=in_channels, out_channels=out_channels
    )


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_output_has_the_input_size_and_lies_within_one(name, norm):
    network = tiny(name, 4, 2, norm=norm, dropout=0.5)
    assert network.size_multiple == TINY[name][1]
    x = torch.randn(2, 4, 64, 96)
    for mode in (True, False):
        y = network.train(mode)(x)
        assert y.shape == (2, 2, 64, 96)
        assert y.abs().max() <= 1
        assert y.isfinite().all()


@pytest.mark.parametrize(
    ("name", "channels"), [(name, pair) for name in TINY for pair in [(1, 1), (1, 3), (3, 1), (5, 7)]]
)
def test_any_channels(name, channels):
    network = tiny(name, *channels).eval()
    assert network(torch.zeros(1, channels[0], 64, 64)).shape == (1, channels[1], 64, 64)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_every_parameter_learns_and_the_input_is_not_changed(name, norm):
    network = tiny(name, norm=norm)
    x = torch.randn(2, 3, 64, 64)
    before = x.clone()
    (network(x) - torch.randn_like(x)).square().mean().backward()
    assert torch.equal(x, before)
    unused = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert not unused
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", TINY)
def test_size_that_does_not_fit_is_refused_in_one_sentence(name):
    multiple = TINY[name][1]
    with pytest.raises(DataError) as error:
        tiny(name)(torch.zeros(1, 3, 66, 98))
    assert str(error.value) == (
        f"{name} needs sides that are multiples of {multiple}, got 98x66: pass --fit pad or "
        f"--size {round(98 / multiple) * multiple}"
    )


def test_resnet_refuses_images_smaller_than_its_borders():
    with pytest.raises(DataError, match=r"at least 8 pixels, got 4x4"):
        tiny("resnet")(torch.zeros(1, 3, 4, 4))
    assert tiny("resnet")(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("name", ["resnet", "coarse_to_fine"])
def test_new_networks_that_repeat_pixels_are_even_where_their_input_is(name):
    small = {"width": 4, "blocks": 1} | ({"downsamplings": 3} if name == "coarse_to_fine" else {})
    spread = {}
    for upsampling in ("transposed", "nearest"):
        torch.manual_seed(0)
        network = make_generator(
            name, {**small, "upsampling": upsampling, "norm": "none"}, in_channels=3, out_channels=3
        ).eval()
        with torch.no_grad():
            middle = network(torch.full((1, 3, 160, 160), 0.5))[..., 64:96, 64:96]  # far from all borders
        spread[upsampling] = float(middle.std((2, 3)).max() / middle.abs().max())
    assert spread["nearest"] < 1e-5 < 1e-2 < spread["transposed"]


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_unet_depth_decides_its_size_multiple(depth):
    network = tiny("unet", depth=depth)
    side = 2**depth
    assert network.size_multiple == side
    assert network(torch.zeros(1, 3, side, side)).shape == (1, 3, side, side)


def test_unet_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        network = make_generator("unet", {}, in_channels=3, out_channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 54_413_955


def test_resnet_of_nine_blocks_has_the_papers_number_of_parameters():
    with torch.device("meta"):
        network = make_generator("resnet", {}, in_channels=3, out_channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_378_179


@pytest.mark.parametrize(("depth", "count"), [(5, 0), (6, 1), (7, 2), (8, 3)])
def test_unet_drops_out_between_levels_of_full_width(depth, count):
    network = tiny("unet", depth=depth, dropout=0.25)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.25] * count
    assert not any(isinstance(m, nn.Dropout) for m in tiny("unet", depth=depth, dropout=0).modules())


@pytest.mark.parametrize(("name", "passes"), [("unet", True), ("encoder_decoder", False)])
def test_only_skips_let_detail_past_the_bottleneck(name, passes):
    network = tiny(name, norm="none", dropout=0)
    bottleneck = network.encoder[-1].conv
    nn.init.zeros_(bottleneck.weight)
    nn.init.zeros_(bottleneck.bias)
    a, b = network(torch.randn(1, 3, 32, 32)), network(torch.randn(1, 3, 32, 32))
    assert torch.equal(a, b) is not passes


@pytest.mark.parametrize("name", ["unet", "encoder_decoder", "resnet"])
def test_per_image_result_does_not_depend_on_the_batch(name):
    network = tiny(name, norm="batch").eval()
    set_norm_inference(network, "per_image")
    assert all(m.inference == "per_image" for m in network.modules() if isinstance(m, BatchNorm2d))
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TINY)
def test_export_with_a_dynamic_batch(name):
    network = tiny(name).eval()
    set_norm_inference(network, "per_image")
    batch = ({0: torch.export.Dim("n")},)
    program = torch.export.export(network, (torch.randn(2, 3, 64, 64),), dynamic_shapes=batch)
    x = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(program.module()(x), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("unet", {"depth": 1}, "option 'depth' must be a whole number from 2 to 16, got 1"),
        ("unet", {"dropout": 1}, "option 'dropout' must be a number of at least 0 and below 1, got 1"),
        ("resnet", {"blocks": 0}, "option 'blocks' must be a whole number from 1 to 1024, got 0"),
        ("resnet", {"width": -3}, "option 'width' must be a whole number from 1 to 4096, got -3"),
    ],
)
def test_options_out_of_range_are_refused(name, options, reason):
    with pytest.raises(OptionError) as error:
        make_generator(name, options, in_channels=3, out_channels=3)
    assert str(error.value) == f"generator {name!r}: {reason}"
