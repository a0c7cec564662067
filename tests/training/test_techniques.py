"""What makes a training quicker or steadier, whichever the method: it goes on exactly, and does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.training.conftest import TINY
from tests.training.test_loop import entries, same
from translatekit import train
from translatekit.config import RunConfig
from translatekit.errors import OptionError
from translatekit.losses import make_loss
from translatekit.registry import registry
from translatekit.training.averaging import ramped_average
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.discriminators import DiffAugment
from translatekit.training.schedule import cosine_decay

ALL: dict[str, Any] = {
    "schedule": "cosine",
    "warmup": 5,
    "lr_discriminator": 1e-3,
    "spectral_norm": True,
    "diff_augment": ("color", "translation", "cutout"),
    "ema": 0.99,
    "adversarial": "hinge,r1=1,r1_every=2",
    "checkpoint_minutes": 0,
    "validate_every": 0,
}
DCGAN = {"generator_options": {"width": 4}, "discriminator_options": {"width": 4}, "batch_size": 2}
RESNET = {"generator": "unet", "discriminator_options": {"layers": 1, "width": 4}}


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "cgan"])
def test_a_run_with_all_of_it_goes_on_exactly(
    method: str, pairs: Path, unpaired: Path, labelled: Path, tmp_path: Path
) -> None:
    data = {"pix2pix": pairs, "cyclegan": unpaired, "cgan": labelled}[method]
    own = {"cyclegan": RESNET, "cgan": DCGAN}.get(method, {})
    options = {**TINY, **ALL, **own, "epochs": 0, "epochs_decay": 2, "warmup": 2}
    whole = train(method, data, output=str(tmp_path / "whole"), **options, max_steps=4)
    run = train(method, data, output=str(tmp_path / "run"), **options, max_steps=2)
    train(resume=run, max_steps=4)
    first, second = (load_checkpoint(one / "checkpoints") for one in (whole, run))
    assert first["progress"]["step"] == 4
    assert same(first, second)
    for file in whole.glob("model*.safetensors"):
        assert same(load_file(file), load_file(run / file.name))


def test_rates_of_two_time_scales_rise_and_fall(pairs: Path, tmp_path: Path) -> None:
    options = {**TINY, **ALL, "log_every": 1, "epochs": 1, "epochs_decay": 1}
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **options)
    rates = [entry["lr"] for entry in entries(run, "train")]
    assert rates[:5] == pytest.approx([2e-4 * step / 5 for step in range(1, 6)])
    assert rates[5:8] == pytest.approx([2e-4] * 3)
    assert rates[8:] == pytest.approx([2e-4 * cosine_decay(1 + step / 8, 1, 1) for step in range(8)])
    groups = {
        name: state["param_groups"][0]
        for name, state in load_checkpoint(run / "checkpoints")["optimizers"].items()
    }
    assert {name: group["initial_lr"] for name, group in groups.items()} == {"G": 2e-4, "D": 1e-3}
    assert groups["D"]["lr"] == pytest.approx(5 * groups["G"]["lr"])


def test_a_cosine_falls_from_one_to_zero() -> None:
    assert [cosine_decay(epoch, 2, 4) for epoch in (0, 2, 4, 6, 9)] == pytest.approx([1, 1, 0.5, 0, 0])
    assert cosine_decay(3.0, 3, 0) == 1


def test_the_average_is_short_at_first() -> None:
    average = ramped_average(0.9)
    mean, now = [torch.zeros(1)], [torch.ones(1)]
    average(mean, now, torch.tensor(1))
    assert mean[0].item() == pytest.approx(1 - 2 / 11)
    mean = [torch.zeros(1)]
    average(mean, now, torch.tensor(10_000))
    assert mean[0].item() == pytest.approx(0.1)


def test_spectral_norm_makes_the_largest_singular_value_one(pairs: Path, tmp_path: Path) -> None:
    options = {**TINY, "spectral_norm": True, "epochs": 4, "epochs_decay": 0, "validate_every": 0}
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **options)
    state = load_checkpoint(run / "checkpoints")["networks"]["D"]
    weights = {name: value for name, value in state.items() if name.endswith("weight.original")}
    assert len(weights) == 3  # of which the first and the last are no wider than they are
    for name, weight in weights.items():
        vectors = (state[name.replace("original", f"0._{which}")] for which in "uv")
        u, v = vectors
        sigma = u @ weight.flatten(1) @ v
        assert torch.linalg.matrix_norm(weight.flatten(1), 2) == pytest.approx(sigma.item(), rel=0.2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"spectral_norm": True, "accumulate": 2}, "leave one of the two out"),
        ({"adversarial": "hinge,r1"}, "'hinge,r1' is not understood: write .* hinge,r1=1"),
        ({"adversarial": "hinge,r2=1"}, "loss 'hinge' has no option 'r2'"),
        ({"adversarial": "hinge,r1=-1"}, "option 'r1' must be a number of at least 0, got '-1'"),
        ({"recipe": "quick"}, "pix2pix has no recipe 'quick': pass --recipe paper or fast"),
        ({"diff_augment": "colour"}, "did you mean 'color'"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], sentence: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=sentence):
        train("pix2pix", pairs, output=str(tmp_path / "run"), **{**TINY, **options})
    assert not (tmp_path / "run").exists()


# --- DiffAugment ------------------------------------------------------------------------------------------------


def test_real_and_generated_images_and_conditions_are_changed_alike_and_anew_in_each_step() -> None:
    augment = DiffAugment(("color", "translation", "cutout"), 0, {3})
    condition, real, fake = (torch.rand(2, channels, 32, 32) for channels in (2, 3, 3))
    one, other = (augment(torch.cat([condition, image], 1)) for image in (real, fake))
    assert torch.equal(one[:, :2], other[:, :2])
    kept = set(one[:, :2].unique().tolist()) - {0.0}
    assert kept <= set(condition.unique().tolist()), "the condition's values are what they were"
    assert torch.equal(one == 0, other == 0), "what is cut out of one is cut out of the other"
    assert 0.2 < (one == 0).float().mean() < 0.6
    assert not torch.equal(one[0], augment(torch.cat([condition, real], 1).flip(0))[0])
    augment.step = 1
    assert not torch.equal(one, augment(torch.cat([condition, real], 1)))
    augment.step = 0
    assert torch.equal(one, augment(torch.cat([condition, real], 1)))


def test_translation_moves_by_an_eighth_at_most() -> None:
    augment = DiffAugment(("translation",), 3, {1})
    image = torch.zeros(16, 1, 32, 32)
    image[:, :, 16, 16] = 1
    places = augment(image).nonzero()[:, 2:] - 16
    assert len(places) == 16
    assert places.abs().max() == 4
    assert {tuple(place) for place in places.tolist()} > {(0, 0)} or len(places.unique(dim=0)) > 8


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_gradients_pass_to_what_made_the_images(channels: int) -> None:
    augment = DiffAugment(("color", "translation", "cutout"), 0, {channels})
    x = torch.rand(2, channels, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(augment, (x,), fast_mode=True)
    assert augment(x.float()).dtype == torch.float32


def test_discriminators_see_changed_images_in_training_alone() -> None:
    seen: list[torch.Tensor] = []
    network = nn.Identity()
    network.judges = True
    augment = DiffAugment(("cutout",), 0, {1})
    augment.attach(type("Method", (), {"unwrapped": {"D": network}})())
    network.register_forward_hook(lambda module, inputs, output: seen.append(output))
    x = torch.ones(1, 1, 8, 8)
    network(x)
    network.eval()(x)
    assert seen[0].sum() < 64
    assert torch.equal(seen[1], x)


# --- R1 ---------------------------------------------------------------------------------------------------------


def test_r1_is_the_squared_gradient_at_real_images() -> None:
    loss = make_loss("vanilla,r1=4,r1_every=1", "adversarial")
    weight = torch.tensor(3.0, requires_grad=True)
    real = torch.rand(5, 1, 2, 2)
    penalty = loss.penalty(lambda x: weight * x.sum((1, 2, 3), keepdim=True), real, real)
    assert penalty.item() == pytest.approx(4 / 2 * 9 * 4)  # four pixels, each of slope 3
    penalty.backward()
    assert weight.grad.item() == pytest.approx(4 / 2 * 6 * 4)


def test_r1_is_due_once_in_so_many_times_with_that_weight() -> None:
    loss = make_loss("wgangp,lambda_gp=0,r1=1,r1_every=4", "adversarial")
    torch.manual_seed(0)
    real = torch.rand(1, 1, 2, 2)
    found = [loss.penalty(lambda x: x.sum((1, 2, 3), keepdim=True), real, real) for _ in range(200)]
    due = [penalty for penalty in found if penalty is not None]
    assert 30 < len(due) < 70
    assert due[0].item() == pytest.approx(4 * 4 / 2)


# --- recipes ----------------------------------------------------------------------------------------------------


def test_a_recipe_stands_between_what_is_given_and_the_defaults(tmp_path: Path) -> None:
    fast = registry("method").get("pix2pix").recipe("fast")
    assert fast
    plain, paper = (RunConfig.resolve("pix2pix", "data", {"recipe": name}) for name in (None, "paper"))
    assert plain.options.lr == paper.options.lr == 2e-4
    config = RunConfig.resolve("pix2pix", "data", {"recipe": "fast", "epochs": 3, "lambda_l1": 7})
    values = {**vars(config.options), **vars(config.method_options)}
    assert {name: values[name] for name in fast.keys() - {"epochs", "lambda_l1"}} == {
        name: fast[name] for name in fast.keys() - {"epochs", "lambda_l1"}
    }
    assert (values["epochs"], values["lambda_l1"], values["recipe"]) == (3, 7, "fast")

    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    again = RunConfig.from_toml(path, {"recipe": "fast", "lr": 1e-5})
    assert again.options.lr == 1e-5
    assert again.method_options == config.method_options
    with pytest.raises(OptionError, match="holds all options, and a recipe would change none of them"):
        RunConfig.from_toml(path, {"recipe": "paper"})
