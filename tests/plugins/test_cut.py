"""CUT does what its paper says: the same steps as a plain loop, one way only, its heads in the checkpoint."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import translatekit
from translatekit.errors import OptionError
from translatekit.image_spec import levels_spec
from translatekit.losses.contrastive import patch_nce
from translatekit.networks.features import feature_layers
from translatekit.networks.resnet import ResNet
from translatekit.testing import make_method

LR, BETAS, PATCHES, TEMPERATURE = 2e-4, (0.5, 0.999), 5, 0.07


def make(name: str, channels: tuple[int, int] = (3, 3), **given: Any) -> Any:
    """The method with small networks."""
    specs = {"A": levels_spec(channels[0]), "B": levels_spec(channels[1])}
    options = {
        "generator_options": {"width": 4, "blocks": 5},
        "discriminator_options": {"width": 4},
        "init_gain": 1.0,
    }
    return make_method(name, images(0), specs=specs, **{**options, "patches": PATCHES, **given})


def images(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {side: torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for side in "AB"}


class PlainCUT:
    """Algorithm and losses of section 3, one image and one place at a time."""

    def __init__(self, G: ResNet, D: nn.Module, heads: nn.ModuleList, fast: bool) -> None:
        self.G, self.D, self.heads, self.fast = G, D, heads, fast
        self.lambda_x, self.lambda_y = (10.0, 0.0) if fast else (1.0, 1.0)
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS, fused=True) for net in (G, D, heads)
        ]

    def encode(self, image: Tensor) -> list[Tensor]:
        """The image, what both strided convolutions give, and what the first and the third of 5 blocks give."""
        maps = [image]
        x = self.G.encoder[0](image)
        for stage in (self.G.encoder[1], self.G.encoder[2]):
            maps.append(stage[0](x))
            x = stage(x)
        x = self.G.blocks[0](x)
        maps.append(x)
        return maps

    def nce(self, output: Tensor, source: Tensor, places: list[list[int]], mirrored: bool) -> Tensor:
        layers = []
        with torch.no_grad():
            keys = self.encode(source)
        for head, query_map, key_map, chosen in zip(
            self.heads, self.encode(output), keys, places, strict=True
        ):
            if mirrored:
                query_map = query_map.flip(-1)
            terms = []
            for n in range(len(output)):
                q = [F.normalize(head(query_map[n].flatten(1)[:, s]), dim=0) for s in chosen]
                k = [F.normalize(head(key_map[n].flatten(1)[:, s]), dim=0).detach() for s in chosen]
                for s, query in enumerate(q):
                    positive = torch.exp(query @ k[s] / TEMPERATURE)
                    negatives = [torch.exp(query @ k[t] / TEMPERATURE) for t in range(len(chosen)) if t != s]
                    terms.append(-torch.log(positive / (positive + torch.stack(negatives).sum())))
            layers.append(torch.stack(terms).mean())
        return torch.stack(layers).mean()

    def step(self, x: Tensor, y: Tensor) -> dict[str, float]:
        mirrored = self.fast and bool(torch.rand(()) < 0.5)
        fake = self.G(x.flip(-1) if mirrored else x)
        loss_D = ((self.D(fake.detach()) ** 2).mean() + ((self.D(y) - 1) ** 2).mean()) / 2
        self.optimizers[1].zero_grad()
        loss_D.backward()
        self.optimizers[1].step()

        gan = ((self.D(fake) - 1) ** 2).mean()
        sizes = [tensor.shape[2] * tensor.shape[3] for tensor in self.encode(x)]
        places = [torch.randperm(size)[:PATCHES].tolist() for size in sizes]
        nce = self.lambda_x * self.nce(fake, x, places, mirrored)
        total, losses = gan + nce, {"G_GAN": gan.item(), "NCE": nce.item()}
        if not self.fast:
            nce_y = self.lambda_y * self.nce(self.G(y), y, places, False)
            total, losses["NCE_Y"] = total + nce_y, nce_y.item()
        self.optimizers[0].zero_grad()
        self.optimizers[2].zero_grad()
        total.backward()
        self.optimizers[0].step()
        self.optimizers[2].step()
        return losses


@pytest.mark.parametrize("name", ["cut", "fastcut"])
def test_six_steps_are_those_of_a_plain_loop(name: str) -> None:
    layers = "input,encoder.1.0,encoder.2.0,blocks.0"
    method = make(name, layers=layers)
    G, D, H = (copy.deepcopy(method.unwrapped[part]) for part in "GDH")
    plain = PlainCUT(G, D, H.heads, fast=name == "fastcut")
    for number in range(6):
        batch = images(number)
        torch.manual_seed(number)
        losses = method.step(batch)
        torch.manual_seed(number)
        expected = plain.step(batch["A"], batch["B"])
        for key, value in expected.items():
            assert float(losses[key]) == pytest.approx(value, rel=1e-4), (number, key)
    # not weight by weight: biases in front of a normalization have no gradient, and Adam makes steps of its rounding
    with torch.no_grad():
        x = images(9)["A"]
        torch.testing.assert_close(method.unwrapped["G"](x), G(x), rtol=0, atol=2e-4)
        torch.testing.assert_close(method.unwrapped["D"](x), D(x), rtol=0, atol=2e-4)
        vector = torch.randn(1, 4, 3)
        torch.testing.assert_close(
            method.unwrapped["H"].heads[0](vector), H.heads[0](vector), rtol=0, atol=2e-4
        )


def test_the_layers_of_the_paper_are_those_of_its_generator() -> None:
    method = make("cut", generator_options={"width": 2, "blocks": 9})
    assert method.contrast.with_input
    assert method.contrast.layers == ["encoder.1.0", "encoder.2.0", "blocks.0", "blocks.4"]
    assert set(method.contrast.layers) <= set(feature_layers(method.unwrapped["G"]))


@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_any_generator_has_layers_to_compare(generator: str) -> None:
    size = {"depth": 5, "width": 2} if generator == "unet" else {"blocks": 2, "width": 2}
    method = make("cut", generator=generator, generator_options=size)
    before = [parameter.clone() for parameter in method.unwrapped["H"].parameters()]
    method.step(images(1))
    after = list(method.unwrapped["H"].parameters())
    assert len(method.contrast.layers) == 4
    assert not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_hard_negatives_weigh_more_and_their_mean_weight_is_one() -> None:
    torch.manual_seed(0)
    query, key = (F.normalize(torch.randn(2, 6, 4), dim=-1) for _ in range(2))
    beta = 3.0
    terms = []
    for q, k in zip(query, key, strict=True):
        s = q @ k.T
        for i in range(6):
            others = torch.tensor([s[i, j] for j in range(6) if j != i])
            weights = torch.exp(beta * others) / torch.exp(beta * others).mean()
            negatives = (weights * torch.exp(others / TEMPERATURE)).sum()
            positive = torch.exp(s[i, i] / TEMPERATURE)
            terms.append(-torch.log(positive / (positive + negatives)))
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(patch_nce(query, key, TEMPERATURE, beta), expected)
    assert patch_nce(query, key, TEMPERATURE, beta) > patch_nce(query, key, TEMPERATURE)


def test_sides_of_unlike_channels_are_refused() -> None:
    with pytest.raises(OptionError, match=r"A has 1 channels, B has 3: give both sides the same"):
        make("cut", channels=(1, 3))


def test_a_choice_without_a_layer_is_refused() -> None:
    with pytest.raises(OptionError, match=r"--layers input names no layer of the generator"):
        make("cut", layers="input")
    with pytest.raises(OptionError, match=r"there is no layer 'blocks\.9'"):
        make("cut", layers="blocks.9")


def test_trained_the_other_way_it_translates_b_to_a(tmp_path: Path) -> None:
    for side, level in (("A", 60), ("B", 190)):
        folder = tmp_path / "data" / f"train{side}"
        folder.mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(-40, 40, (32, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / f"{side}{number}.png")
    options: dict[str, Any] = {
        "direction": "BtoA",
        "generator_options": {"width": 2, "blocks": 2},
        "discriminator_options": {"width": 4, "layers": 1},
        "load_size": None,
        "crop_size": 32,
        "patches": 8,
        "epochs": 1,
        "epochs_decay": 0,
        "validate_every": 0,
    }
    run = translatekit.train("cut", tmp_path / "data", output=tmp_path / "run", **options)
    info = translatekit.read_info(run)
    assert (info.method, info.direction) == ("cut", "BtoA")
    assert (info.data["input"], info.data["target"]) == ("B", "A")
    image = np.full((20, 24, 3), 190, np.uint8)
    assert translatekit.open(run).translate(image).shape == image.shape
