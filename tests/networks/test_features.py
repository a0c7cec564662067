"""The features inside of networks, by the names and the numbers of their layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from translatekit.errors import OptionError
from translatekit.networks.factory import make_generator
from translatekit.networks.features import feature_layers, inner_features, layer_outputs


class Block(nn.Module):
    """Counts how often its second part runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.second = nn.ModuleList([nn.Conv2d(4, 5, 1)])
        self.spare = nn.Linear(2, 2)
        self.runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        self.runs += 1
        out: torch.Tensor = self.second[0](x)
        return out


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_layers_are_the_children_with_containers_taken_apart() -> None:
    assert feature_layers(Block()) == ("first.0", "first.1", "second.0", "spare")
    names = feature_layers(make_generator("resnet", {"blocks": 2, "width": 2}, in_channels=3, out_channels=3))
    assert names[8:12] == ("encoder.2.2", "blocks.0", "blocks.1", "decoder.0.0")


def test_an_attribute_names_others() -> None:
    block = Block()
    block.feature_layers = ("second.0", "first")  # type: ignore[assignment]
    assert feature_layers(block) == ("second.0", "first")
    assert inner_features(block, [0], X)[0].shape == (2, 5, 8, 8)
    assert torch.equal(inner_features(block, ["first"], X)[0], inner_features(block, [1], X)[0])


def test_features_are_what_a_layer_gives_before_what_follows_in_place() -> None:
    block = Block()
    before, after = inner_features(block, [0, 1], X)
    assert torch.equal(before, block.first[0](X))
    assert torch.equal(after, before.relu())
    assert (before < 0).any()


def test_what_follows_the_last_layer_is_not_computed() -> None:
    block = Block()
    inner_features(block, ["first.1", "first.0"], X)
    assert block.runs == 0
    inner_features(block, [-2], X)
    assert block.runs == 1


def test_gradients_pass_and_the_output_comes_too() -> None:
    block = Block()
    with layer_outputs(block, [0, "second.0"]) as features:
        output = block(X)
    assert torch.equal(features["second.0"], output)
    features[0].sum().backward()
    assert block.first[0].weight.grad is not None
    assert block.second[0].weight.grad is None
    assert not block.first[0]._forward_hooks, "the hooks are taken away"


@pytest.mark.parametrize(
    ("layers", "sentence"),
    [
        ([4], "there is no layer 4: there are 4, from 0 to 3"),
        (["first.2"], "there is no layer 'first.2': did you mean 'first.1'"),
        (["spare"], "the layer 'spare' is not run by a forward pass"),
    ],
)
def test_layers_that_give_nothing_are_refused(layers: list[int | str], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        inner_features(Block(), layers, X)


def test_a_layer_that_gives_no_tensor_is_refused() -> None:
    network = make_generator("timm_unet", {"encoder": "resnet10t", "width": 2}, in_channels=3, out_channels=3)
    with pytest.raises(
        OptionError, match=r"the layer 'encoder' gives a list and no features: choose among decoder.0"
    ):
        inner_features(network, ["encoder"], torch.zeros(2, 3, 64, 64))
