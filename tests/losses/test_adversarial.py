"""Adversarial losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from translatekit.errors import OptionError
from translatekit.losses import make_loss
from translatekit.losses.adversarial import boundary_of
from translatekit.losses.scales import OverScales
from translatekit.training.method import accuracy

NAMES = ["vanilla", "minimax", "lsgan", "hinge", "wgangp"]
LN2 = math.log(2)
LN3 = math.log(3)

# Logits of which D, their sigmoid, is 3/4 and 1/2 on real images, 1/4 and 1/2 on fake ones.
REAL = torch.tensor([[LN3], [0.0]])
FAKE = torch.tensor([[-LN3], [0.0]])


@pytest.mark.parametrize(
    ("name", "on_real", "on_fake", "generator"),
    [
        ("vanilla", (math.log(4 / 3) + LN2) / 2, (math.log(4 / 3) + LN2) / 2, (math.log(4) + LN2) / 2),
        ("minimax", (math.log(4 / 3) + LN2) / 2, (math.log(4 / 3) + LN2) / 2, -(math.log(4 / 3) + LN2) / 2),
        ("lsgan", ((LN3 - 1) ** 2 + 1) / 2, LN3**2 / 2, ((LN3 + 1) ** 2 + 1) / 2),
        ("hinge", 0.5, 0.5, LN3 / 2),
        ("wgangp", -LN3 / 2, -LN3 / 2, LN3 / 2),
    ],
)
def test_values(name, on_real, on_fake, generator):
    loss = make_loss(name, "adversarial")
    assert [float(value) for value in loss.discriminator(REAL, FAKE)] == pytest.approx([on_real, on_fake])
    assert float(loss.generator(FAKE)) == pytest.approx(generator)


@pytest.mark.parametrize("name", NAMES)
def test_the_discriminator_raises_real_and_lowers_fake_and_the_generator_raises_fake(name):
    loss = make_loss(name, "adversarial")
    real, fake = (torch.tensor([0.1], requires_grad=True) for _ in range(2))
    sum(loss.discriminator(real, fake)).backward()
    assert real.grad < 0 < fake.grad
    fake = torch.tensor([0.1], requires_grad=True)
    loss.generator(fake).backward()
    assert fake.grad < 0


@pytest.mark.parametrize("options", ["", ",r1=1"])
@pytest.mark.parametrize("name", NAMES)
def test_a_verdict_changes_where_real_and_fake_cost_the_same(name, options):
    loss = OverScales(make_loss(name + options, "adversarial"))
    undecided = torch.tensor([boundary_of(loss)])
    on_real, on_fake = loss.discriminator(undecided, undecided)
    assert float(on_real) == float(on_fake)
    right = accuracy([undecided + 0.1, undecided - 0.1], [undecided - 0.1, undecided - 0.2], loss)
    assert {key: float(value) for key, value in right.items()} == {"accuracy_real": 0.5, "accuracy_fake": 1}


def test_minimax_saturates_where_vanilla_does_not():
    slopes = {}
    for name in ("vanilla", "minimax"):
        fake = torch.tensor([-10.0], requires_grad=True)  # D is sure that it is fake
        make_loss(name, "adversarial").generator(fake).backward()
        slopes[name] = fake.grad.item()
    assert slopes["vanilla"] == pytest.approx(-1, abs=1e-4)
    assert slopes["minimax"] == pytest.approx(-1 / (1 + math.exp(10)), rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_give_finite_losses(name):
    loss = make_loss(name, "adversarial")
    values = [
        *loss.discriminator(torch.tensor([-1e4]), torch.tensor([1e4])),
        loss.generator(torch.tensor([-1e4])),
    ]
    assert all(value.isfinite() for value in values)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_logits_are_averaged_in_single_precision(name):
    loss = make_loss(name, "adversarial")
    logits = torch.linspace(-1, 1, 1000).bfloat16()
    assert loss.generator(logits).dtype == torch.float32
    assert loss.generator(logits).item() == pytest.approx(loss.generator(logits.float()).item())


@pytest.mark.parametrize("name", ["vanilla", "minimax", "lsgan", "hinge"])
def test_only_wgangp_has_a_penalty(name):
    loss = make_loss(name, "adversarial")
    assert loss.penalty(torch.sum, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)) is None


def test_gradient_penalty_of_a_linear_discriminator():
    # D(x) = 3 * (sum of x's 4 pixels): its gradient's norm is 6 wherever it is taken.
    loss = make_loss("wgangp", "adversarial", lambda_gp="2.5")
    real, fake = torch.randn(5, 1, 2, 2), torch.randn(5, 1, 2, 2)
    penalty = loss.penalty(lambda x: 3 * x.sum(dim=(1, 2, 3)), real, fake)
    assert penalty.item() == pytest.approx(2.5 * (6 - 1) ** 2, rel=1e-5)


def test_gradient_penalty_trains_the_discriminator_alone():
    torch.manual_seed(0)
    discriminator = torch.nn.Conv2d(1, 1, 2)
    fake = torch.randn(2, 1, 2, 2, requires_grad=True)
    make_loss("wgangp", "adversarial").penalty(discriminator, torch.randn(2, 1, 2, 2), fake).backward()
    assert discriminator.weight.grad.abs().sum() > 0
    assert fake.grad is None


def test_gradient_penalty_of_a_flat_discriminator_has_finite_gradients():
    weight = torch.zeros((), requires_grad=True)
    image = torch.ones(1, 1, 2, 2)
    penalty = make_loss("wgangp", "adversarial").penalty(lambda x: weight * x.sum(), image, image)
    penalty.backward()
    assert penalty.item() == pytest.approx(10, rel=1e-3)
    assert weight.grad.isfinite()


def test_gradient_penalty_is_taken_between_real_and_fake():
    seen = []
    real, fake = torch.ones(64, 1, 1, 1), torch.zeros(64, 1, 1, 1)
    make_loss("wgangp", "adversarial").penalty(lambda x: seen.append(x) or x.sum(), real, fake)
    assert 0 <= seen[0].min() < 0.2
    assert 0.8 < seen[0].max() <= 1


def test_no_weight_no_penalty():
    loss = make_loss("wgangp", "adversarial", lambda_gp=0)
    assert loss.penalty(torch.sum, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)) is None


def test_loss_of_the_other_role_is_refused():
    with pytest.raises(OptionError, match=r"loss 'l1' is not adversarial: choose one of .*vanilla"):
        make_loss("l1", "adversarial")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lambda": 3}, "loss 'wgangp' has no option 'lambda'"),
        ({"lambda_gp": "much"}, "option 'lambda_gp' must be a number of at least 0, got 'much'"),
        ({"lambda_gp": -1}, "loss 'wgangp': option 'lambda_gp' must be a number of at least 0, got -1"),
    ],
)
def test_options_are_refused_by_name(options, reason):
    with pytest.raises(OptionError, match=reason):
        make_loss("wgangp", "adversarial", **options)
