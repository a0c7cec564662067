"""Discriminators of several scales, the matching of their features, and the coarse-to-fine generator."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image
from torch import nn
from translatekit_pix2pix.networks import CoarseToFine

import translatekit
from translatekit.config import RunConfig
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import levels_spec
from translatekit.losses import make_loss
from translatekit.losses.scales import OverScales, feature_matching
from translatekit.networks import Networks
from translatekit.networks.discriminators import PatchGAN
from translatekit.networks.factory import make_generator
from translatekit.networks.scales import MultiScale, activations
from translatekit.registry import registry

SMALL = {"width": 4, "downsamplings": 2, "blocks": 1, "enhancer_blocks": 1}


def make(name: str, **given: Any) -> Any:
    options = {"discriminator_options": {"width": 4, "layers": 2, "norm": "instance"}, **given}
    config = RunConfig.resolve(name, "data", options)
    factory = Networks(
        generator_name=str(config.options.generator),
        generator_options=config.options.generator_options,
        discriminator_name=config.options.discriminator,
        discriminator_options=config.options.discriminator_options,
    )
    torch.manual_seed(0)
    data = SimpleNamespace(specs={"input": levels_spec(3), "target": levels_spec(3)})
    method = registry("method").load(name)(config.method_options, factory, data)
    method.setup(
        Fabric(accelerator="cpu", devices=1),
        lambda parameters: torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999)),
        lambda network: network,
    )
    return method


def test_each_scale_sees_half_the_size_with_weights_of_its_own() -> None:
    D = MultiScale([PatchGAN(3, layers=1, width=2) for _ in range(3)])
    x = torch.randn(2, 3, 64, 48)
    logits = D(x)
    assert [image.shape[2:] for image in D.pyramid(x)] == [(64, 48), (32, 24), (16, 12)]
    assert torch.equal(logits[0], D.scales[0](x))
    assert len({parameter.data_ptr() for parameter in D.parameters()}) == len(list(D.parameters()))
    # borders are averages of what is there, not of zeros beside it
    assert torch.allclose(D.pyramid(torch.ones(1, 3, 8, 8))[1], torch.ones(1, 3, 4, 4))


def test_a_step_has_the_losses_of_the_paper() -> None:
    method = make("pix2pixhd", generator_options=SMALL, scales=2, lr=0.0002)
    x, y = (
        torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in (1, 2)
    )
    G, D = method.unwrapped["G"], method.unwrapped["D"]

    def judged(pair: torch.Tensor) -> tuple[list[list[torch.Tensor]], list[torch.Tensor]]:
        """What every activation of every scale gives, and the logits, layer by layer."""
        features, logits = [], []
        for discriminator in D.scales:
            h, own = pair, []
            for layer in discriminator.model:
                h = layer(h)
                if isinstance(layer, nn.LeakyReLU):
                    own.append(h.clone())
            features.append(own)
            logits.append(h)
            pair = F.avg_pool2d(pair, 3, 2, 1, count_include_pad=False)
        return features, logits

    with torch.no_grad():
        fake = G(x)
        _, real_logits = judged(torch.cat([x, y], 1))
        _, fake_logits = judged(torch.cat([x, fake], 1))
    losses = method.step({"input": x, "target": y})
    assert float(losses["D_real"]) == pytest.approx(
        sum(float(((p - 1) ** 2).mean()) for p in real_logits), rel=1e-5
    )
    assert float(losses["D_fake"]) == pytest.approx(sum(float((p**2).mean()) for p in fake_logits), rel=1e-5)
    with torch.no_grad():  # the generator is judged by the discriminators of after their step
        real_features, _ = judged(torch.cat([x, y], 1))
        fake_features, fake_logits = judged(torch.cat([x, fake], 1))
    gan = sum(float(((p - 1) ** 2).mean()) for p in fake_logits)
    matching = sum(
        float((a - b).abs().mean())
        for real, made in zip(real_features, fake_features, strict=True)
        for a, b in zip(real, made, strict=True)
    )
    assert float(losses["G_GAN"]) == pytest.approx(gan, rel=1e-5)
    assert float(losses["G_features"]) == pytest.approx(10 * matching / 2, rel=1e-5)
    assert "G_L1" not in losses


def test_pix2pix_takes_both_and_is_without_them_what_it_was() -> None:
    unet = {"generator": "unet", "generator_options": {"depth": 5, "width": 2}}
    both = make("pix2pix", **unet, scales=2, lambda_features=5)
    plain = make("pix2pix", **unet)
    batch = {key: torch.rand(1, 3, 32, 32) * 2 - 1 for key in ("input", "target")}
    assert {"G_features", "G_L1", "G_GAN"} <= both.step(batch).keys()
    assert isinstance(plain.unwrapped["D"], PatchGAN)
    assert "G_features" not in plain.step(batch)


def test_a_penalty_is_that_of_every_scale() -> None:
    torch.manual_seed(0)
    loss = make_loss("wgangp", "adversarial")
    D = MultiScale([PatchGAN(3, layers=1, width=2, norm="none") for _ in range(2)])
    real, fake = torch.randn(2, 2, 3, 32, 32)
    torch.manual_seed(1)
    whole = OverScales(loss).penalty(D, real, fake)
    torch.manual_seed(1)
    parts = [
        loss.penalty(one, a, b) for one, a, b in zip(D.scales, D.pyramid(real), D.pyramid(fake), strict=True)
    ]
    assert whole is not None
    torch.testing.assert_close(whole, sum(parts))
    assert OverScales(make_loss("lsgan", "adversarial")).penalty(D, real, fake) is None


def test_features_of_real_images_pass_no_gradient() -> None:
    real, fake = torch.randn(2, 1, 2, 4, 4).requires_grad_()
    feature_matching([real * 1], [fake * 1]).backward()
    assert torch.equal(feature_matching([real], [real]), torch.tensor(0.0))


def test_layers_without_activations_are_matched_but_for_the_logits() -> None:
    D = MultiScale([nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 1, 3)) for _ in range(2)])
    assert activations(D) == ["scales.0.0", "scales.0.1", "scales.1.0", "scales.1.1"]
    assert activations(PatchGAN(3, layers=1, width=2)) == ["model.1", "model.4"]


def test_an_enhancer_doubles_the_size_around_the_same_global_generator() -> None:
    coarse, fine = (
        make_generator("coarse_to_fine", {**SMALL, "enhancers": n}, in_channels=3, out_channels=3)
        for n in (0, 1)
    )
    assert (coarse.size_multiple, fine.size_multiple) == (4, 8)
    assert fine(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)
    shared = {name: value.shape for name, value in coarse.state_dict().items() if name.startswith("coarse.")}
    assert shared
    assert shared.items() <= {name: value.shape for name, value in fine.state_dict().items()}.items()
    with pytest.raises(DataError, match="multiple"):
        fine(torch.rand(1, 3, 36, 36))
    with pytest.raises(OptionError, match="the width must be a multiple of 4 for 2 enhancers, got 6"):
        make_generator("coarse_to_fine", {"width": 6, "enhancers": 2}, in_channels=3, out_channels=3)


def test_the_global_generator_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        G = CoarseToFine(36, 3)  # Cityscapes: 35 classes, and the edges of instances
    assert sum(parameter.numel() for parameter in G.parameters()) == 182_546_755


def test_a_fine_run_starts_from_a_coarse_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    options: dict[str, Any] = {
        "generator_options": SMALL,
        "discriminator_options": {"width": 2, "layers": 1},
        "scales": 2,
        "load_size": None,
        "crop_size": 32,
        "epochs": 1,
        "epochs_decay": 0,
        "validate_every": 0,
        "precision": "fp32",
    }
    coarse = translatekit.train("pix2pixhd", tmp_path / "data", output=tmp_path / "coarse", **options)
    options["generator_options"] = {"enhancers": 1}
    fine = translatekit.train(
        "pix2pixhd", tmp_path / "data", output=tmp_path / "fine", start_from=coarse, **options
    )
    assert "but for" in capsys.readouterr().err
    info = translatekit.read_info(fine)
    assert info.generator_options["enhancers"] == 1
    assert info.generator_options["downsamplings"] == 2
    assert translatekit.open(fine).translate(np.zeros((20, 30, 3), np.uint8)).shape == (20, 30, 3)
