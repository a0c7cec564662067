"""SPADE does what its paper says: the same block and steps as plain loops, styles from a seed, any backend."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor, nn
from translatekit_spade.method import divergence
from translatekit_spade.networks import SPADEBlock, SPADEGenerator, StyleEncoder

import translatekit
from tests.training.killed import resumed_after_a_kill
from tests.training.test_loop import same
from translatekit.config import RunConfig
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import RGB, labels_spec
from translatekit.interfaces import DataOptions
from translatekit.networks import Networks, set_norm_inference
from translatekit.networks.layers import SpectralConv2d
from translatekit.registry import registry
from translatekit.training.checkpoint import load_checkpoint

CLASSES, SIDE, STYLE = 5, 32, 6
SMALL = {"width": 2, "upsamplings": 3, "hidden": 6}


def make(**given: Any) -> Any:
    """The method, set up on the CPU, with small networks."""
    options = {"generator_options": SMALL, "discriminator_options": {"width": 4, "layers": 1}, **given}
    config = RunConfig.resolve("spade", "data", options)
    factory = Networks(
        generator_name=str(config.options.generator),
        generator_options=config.options.generator_options,
        discriminator_name=config.options.discriminator,
        discriminator_options=config.options.discriminator_options,
        init=config.options.init,
        init_gain=1.0,  # at 0.02 nothing of the style reaches the image in a few steps
    )
    torch.manual_seed(0)
    specs = {"input": labels_spec(range(CLASSES)), "target": RGB}
    data = SimpleNamespace(specs=specs, options=DataOptions(crop_size=SIDE))
    method = registry("method").load("spade")(config.method_options, factory, data)
    method.setup(
        Fabric(accelerator="cpu", devices=1),
        lambda parameters: torch.optim.Adam(parameters, lr=config.options.lr, betas=(0.0, 0.999)),
        lambda network: network,
    )
    return method


def batch(seed: int, count: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(CLASSES, (count, SIDE // 4, SIDE // 4), generator=generator)
    maps = F.one_hot(numbers.repeat_interleave(4, 1).repeat_interleave(4, 2), CLASSES)
    photos = torch.rand(count, 3, SIDE, SIDE, generator=generator) * 2 - 1
    return {"input": maps.permute(0, 3, 1, 2).float(), "target": photos}


def spectral(conv: SpectralConv2d, x: Tensor, iterate: bool) -> Tensor:
    """A convolution by its weight over its largest singular value, algorithm 1 of Miyato et al."""
    matrix = conv.weight.reshape(len(conv.weight), -1)
    with torch.no_grad():
        v = matrix.T @ conv.u
        v = v / v.norm()
        if iterate:
            u = matrix @ v
            conv.u = u / u.norm()
    weight = conv.weight / (conv.u @ matrix @ v)
    return F.conv2d(x, weight, conv.bias, conv.stride, conv.padding)


def spade(layer: Any, x: Tensor, maps: Tensor) -> Tensor:
    """Equation 1: statistics of a channel over all images and pixels; scale and shift of each pixel of its own."""
    out = torch.empty_like(x)
    inner = F.relu(layer.shared(F.interpolate(maps, size=x.shape[2:], mode="nearest")))
    gamma, beta = 1 + layer.gamma(inner), layer.beta(inner)
    for channel in range(x.shape[1]):
        values = x[:, channel]
        mean, variance = values.mean(), values.var(unbiased=False)
        out[:, channel] = (values - mean) / torch.sqrt(variance + 1e-5) * gamma[:, channel] + beta[:, channel]
    return out


def block(layer: Any, x: Tensor, maps: Tensor, iterate: bool = True) -> Tensor:
    """Figure 4."""
    skip = spectral(layer.conv_skip, spade(layer.norm_skip, x, maps), iterate) if layer.learned else x
    h = spectral(layer.conv1, F.leaky_relu(spade(layer.norm1, x, maps), 0.2), iterate)
    h = spectral(layer.conv2, F.leaky_relu(spade(layer.norm2, h, maps), 0.2), iterate)
    return skip + h


def test_a_block_is_that_of_a_plain_loop() -> None:
    torch.manual_seed(0)
    for fan_in, fan_out in ((4, 4), (6, 3)):
        layer = SPADEBlock(fan_in, fan_out, CLASSES, 8, "batch")
        other = copy.deepcopy(layer)
        x, maps = torch.randn(2, fan_in, 8, 8), batch(1)["input"][:, :, ::4, ::4]
        torch.testing.assert_close(layer(x, maps), block(other, x, maps))
        torch.testing.assert_close(layer.conv1.u, other.conv1.u)


class Plain:
    """The training of section 3, written out for its own generator and discriminators."""

    def __init__(self, G: Any, D: Any, E: Any, lr: float) -> None:
        self.G, self.D, self.E = G, D, E
        rates = ((G, lr), (D, lr), *([(E, lr)] if E is not None else []))
        self.optimizers = [
            torch.optim.Adam(net.parameters(), lr=rate, betas=(0.0, 0.999)) for net, rate in rates
        ]

    def generate(self, maps: Tensor, z: Tensor | None) -> Tensor:
        if z is None:
            x = self.G.start(F.interpolate(maps, scale_factor=1 / 8, mode="nearest"))
        else:
            x = self.G.start(z).view(len(z), -1, 4, 4)
        for number, layer in enumerate(self.G.blocks):
            if number:
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = block(layer, x, maps)
        return torch.tanh(self.G.head(F.leaky_relu(x, 0.2)))

    def encode(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        x = photos
        for layer in self.E.features:
            x = spectral(layer, x, True) if isinstance(layer, SpectralConv2d) else layer(x)
        return self.E.mean(x.flatten(1)), self.E.log_variance(x.flatten(1))

    def judge(self, pair: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        logits, features = [], []
        for discriminator in self.D.scales:
            x, found = pair, []
            for layer in discriminator.model:
                x = layer(x)
                if isinstance(layer, nn.LeakyReLU):
                    found.append(x.clone())
            logits.append(x)
            features.append(found)
            pair = F.avg_pool2d(pair, 3, 2, 1, count_include_pad=False)
        return logits, features

    def step(self, maps: Tensor, photos: Tensor) -> dict[str, float]:
        z = None
        if self.E is not None:
            mean, log_variance = self.encode(photos)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        fake = self.generate(maps, z)
        fakes, _ = self.judge(torch.cat([maps, fake.detach()], 1))
        reals, _ = self.judge(torch.cat([maps, photos], 1))
        D_fake = sum(torch.relu(1 + x).mean() for x in fakes)
        D_real = sum(torch.relu(1 - x).mean() for x in reals)
        self.optimizers[1].zero_grad()
        (D_real + D_fake).backward()  # type: ignore[union-attr]
        self.optimizers[1].step()

        fakes, made = self.judge(torch.cat([maps, fake], 1))
        with torch.no_grad():
            _, wanted = self.judge(torch.cat([maps, photos], 1))
        gan: Any = sum(-x.mean() for x in fakes)
        matching: Any = 0
        for of_made, of_wanted in zip(made, wanted, strict=True):
            for a, b in zip(of_made, of_wanted, strict=True):
                matching = matching + 10 / len(made) * (a - b).abs().mean()
        total = gan + matching
        losses = {"G_GAN": gan.item(), "G_features": matching.item()}
        losses |= {"D_real": D_real.item(), "D_fake": D_fake.item()}  # type: ignore[union-attr]
        if self.E is not None:
            kl: Any = 0.0
            for m, v in zip(mean, log_variance, strict=True):
                kl = kl + 0.5 * (m**2 + torch.exp(v) - v - 1).sum() / len(mean)
            total, losses["KL"] = total + 0.05 * kl, 0.05 * kl.item()
        for optimizer in (self.optimizers[0], *self.optimizers[2:]):
            optimizer.zero_grad()
        total.backward()
        for optimizer in (self.optimizers[0], *self.optimizers[2:]):
            optimizer.step()
        return losses


@pytest.mark.parametrize("with_style", [False, True])
def test_six_steps_are_those_of_a_plain_loop(with_style: bool) -> None:
    method = make(style_encoder=with_style, style_size=STYLE)
    own = {name: copy.deepcopy(network) for name, network in method.unwrapped.items()}
    plain = Plain(own["G"], own["D"], own.get("E"), 1e-4)
    for number in range(6):
        images = batch(number)
        torch.manual_seed(number)
        losses = method.step(images)
        torch.manual_seed(number)
        expected = plain.step(images["input"], images["target"])
        for key, value in expected.items():
            assert float(losses[key]) == pytest.approx(value, rel=2e-4), (number, key)
    # not weight by weight: biases in front of a normalization have no gradient, and Adam makes steps of its rounding
    z = torch.zeros(2, STYLE)
    with torch.no_grad():
        maps = batch(9)["input"]
        made = method.unwrapped["G"](maps, *([z] if with_style else []))
        torch.testing.assert_close(made, plain.generate(maps, z if with_style else None), rtol=0, atol=5e-4)


def test_rates_and_networks_are_those_of_the_paper() -> None:
    defaults = dict(registry("method").get("spade").defaults)
    assert (defaults["lr"], defaults["lr_discriminator"], defaults["spectral_norm"]) == (1e-4, 4e-4, True)
    with torch.device("meta"):
        G = SPADEGenerator(35, 3, style_size=256)
        E = StyleEncoder(3, 256, 256)
    assert len(G.blocks) == 7
    assert [layer.conv2.out_channels for layer in G.blocks] == [1024, 1024, 1024, 512, 256, 128, 64]
    assert E.mean.in_features == 512 * 4 * 4


def test_statistics_at_inference_are_chosen_as_everywhere() -> None:
    G = make().unwrapped["G"].eval()
    maps = batch(0, count=3)["input"]
    with torch.no_grad():
        for mode in ("per_image", "running"):
            set_norm_inference(G, mode)
            torch.testing.assert_close(G(maps)[:1], G(maps[:1]), atol=1e-5, rtol=0)
        running = G(maps)
        set_norm_inference(G, "per_image")
        assert not torch.allclose(running, G(maps), atol=1e-2)


def test_the_divergence_is_zero_for_a_standard_normal_alone() -> None:
    zeros = torch.zeros(2, 3)
    assert float(divergence(zeros, zeros)) == 0
    assert float(divergence(zeros + 1, zeros)) == pytest.approx(1.5)
    assert float(divergence(zeros, zeros + 1)) > 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(OptionError, match="'resnet' takes no style: leave out --style-encoder"):
        make(style_encoder=True, generator="resnet", generator_options={"width": 2, "blocks": 1})
    with pytest.raises(DataError, match="at least 16 pixels, got 8x8"):
        SPADEGenerator(2, 3, width=2, upsamplings=3, hidden=2)(torch.zeros(1, 2, 8, 8))


RUN: dict[str, Any] = {
    "labels": "A=data",
    "dataset_options": {"count": 4},
    "generator_options": {**SMALL, "style": 3},
    "discriminator_options": {"width": 4, "layers": 1},
    "style_encoder": True,
    "style_size": STYLE,
    "init_gain": 1.0,
    "load_size": 36,
    "crop_size": SIDE,
    "epochs": 1,
    "epochs_decay": 0,
    "ema": 0.5,
    "precision": "fp32",
    "accelerator": "cpu",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the drawn facades as maps of class numbers, with styles."""
    return translatekit.train("spade", **RUN, output=str(tmp_path_factory.mktemp("spade") / "run"))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(run: Path, tmp_path: Path) -> None:
    stopped = translatekit.train("spade", **RUN, max_steps=2, output=str(tmp_path / "run"))
    went_on = translatekit.train(resume=stopped, max_steps=4)
    assert (went_on / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_run_with_a_style_encoder_that_is_killed_and_resumed_equals_one_that_was_not(
    run: Path, tmp_path: Path
) -> None:
    again = resumed_after_a_kill("spade", None, tmp_path / "run", **RUN)
    whole, resumed = (load_checkpoint(folder / "checkpoints") for folder in (run, again))
    assert whole["networks"].keys() == {"G", "D", "E"}
    for part in ("networks", "optimizers", "ema"):
        assert same(whole[part], resumed[part])


def test_a_model_of_class_numbers_knows_their_names(run: Path) -> None:
    info = translatekit.read_info(run)
    assert info.in_channels == 14
    assert info.input.classes[:3] == ("sky", "cloud", "roof")
    assert info.input.palette[0] == (0, 110, 255)
    assert (run / "index.html").is_file()


def test_a_style_is_drawn_from_a_seed(run: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) // 80).save(maps / "1.png")

    def translated(name: str, **options: Any) -> bytes:
        translatekit.translate(maps, run, tmp_path / name, **options)
        return (tmp_path / name / "1.png").read_bytes()

    own = translated("own")
    assert translated("again") == own
    one, same, other = translated("a", noise=7), translated("b", noise=7), translated("c", noise=8)
    assert one == same
    assert len({own, one, other}) == 3


def test_the_style_of_the_option_is_in_a_compiled_file(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    report = translatekit.compile(run, tmp_path / "model.onnx")
    maps = np.random.default_rng(0).integers(0, 14, (1, SIDE, SIDE, 1), np.uint8)
    expected, found = translatekit.load(run, "cpu")(maps), translatekit.load(report.path)(maps)
    assert np.abs(expected.astype(int) - found).max() <= 1
    network, info = translatekit.load_network(run)
    with torch.no_grad():
        x = F.one_hot(torch.from_numpy(maps[..., 0]).long(), 14).permute(0, 3, 1, 2).float()
        fixed = torch.from_numpy(np.random.default_rng(3).standard_normal((1, STYLE), np.float32))
        assert torch.equal(network(x), network(x, fixed))
        assert not torch.allclose(network(x), network(x, torch.zeros(1, STYLE)), atol=1e-3)
    assert info.generator_options["style"] == 3
