"""StackGAN: its steps as a plain loop, both stages, labels and texts, and drawing from what it trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from PIL import Image, ImageDraw
from torch import Tensor
from translatekit_stackgan.method import divergence
from translatekit_stackgan.networks import StackGANDiscriminator, StackGANGenerator
from translatekit_tools.sample import GAP, sample

import translatekit
from translatekit.config import RunConfig
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import RGB
from translatekit.interfaces import DataOptions
from translatekit.networks import Networks, set_noise
from translatekit.networks.layers import BatchNorm2d
from translatekit.registry import registry

CLASSES, SIDE, LATENT, CONDITION = 3, 16, 5, 4
SMALL: dict[str, Any] = {
    "latent_size": LATENT,
    "generator_options": {"width": 2, "condition_size": CONDITION},
    "discriminator_options": {"width": 4, "condition_size": CONDITION},
}
TINY: dict[str, Any] = {
    **SMALL,
    "load_size": None,
    "crop_size": SIDE,
    "flip": False,
    "batch_size": 4,
    "epochs": 1,
    "accelerator": "cpu",
    "precision": "fp32",
}
COLOURS = {"red": (220, 40, 30), "blue": (30, 60, 220)}
SHAPES = ("circle", "square")


def make(embedding_size: int = 0, **given: Any) -> Any:
    """The method, set up on the CPU, with small networks."""
    config = RunConfig.resolve("stackgan", "data", {**SMALL, "crop_size": SIDE, **given})
    factory = Networks(
        generator_name=str(config.options.generator),
        generator_options=config.options.generator_options,
        discriminator_name=config.options.discriminator,
        discriminator_options=config.options.discriminator_options,
    )
    torch.manual_seed(0)
    data = SimpleNamespace(
        specs={"image": RGB},
        class_names=tuple("abc"),
        embedding_size=embedding_size,
        options=DataOptions(crop_size=SIDE),
    )
    method = registry("method").load("stackgan")(config.method_options, factory, data)
    method.setup(
        Fabric(accelerator="cpu", devices=1),
        lambda parameters: torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999)),
        lambda network: network,
    )
    return method


def batch(seed: int, embedding_size: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = {
        "image": torch.rand(4, 3, SIDE, SIDE, generator=generator) * 2 - 1,
        "label": torch.tensor([0, 1, 1, 2]),
    }
    if embedding_size:
        made["embedding"] = torch.randn(4, embedding_size, generator=generator)
        made["embedding"][3] = made["embedding"][2]  # one text for two images: no mismatch between these
    return made


@pytest.mark.parametrize("size", [0, 6])
def test_six_steps_are_those_of_a_plain_loop(size: int) -> None:
    method = make(size)
    G, D = (copy.deepcopy(method.unwrapped[name]) for name in "GD")
    optimizer_G, optimizer_D = (
        torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (G, D)
    )

    def generate(z: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        layer = G.one.augment.parameters_of
        numbers = layer(given) if size else torch.stack([layer.weight[label] for label in given])
        mean, log_variance = numbers[:, :CONDITION], numbers[:, CONDITION:]
        c = mean + torch.exp(log_variance) ** 0.5 * torch.randn_like(mean)
        kl = 0.5 * (mean**2 + torch.exp(log_variance) - log_variance - 1)
        x = G.one.start(torch.cat([z, c], 1)[:, :, None, None])
        return G.one.head(G.one.body(x)), kl.mean()

    def judge(images: Tensor, given: Tensor) -> Tensor:
        x = D.features(images)
        assert x.shape[2:] == (4, 4)
        t = D.compress(given) if size else torch.stack([D.compress.weight[label] for label in given])
        t = F.leaky_relu(t, 0.2)
        x = torch.cat([x, t.view(len(t), -1, 1, 1).repeat(1, 1, 4, 4)], 1)
        return D.head(D.joint(x)).view(-1)

    for number in range(6):
        images = batch(number, size)
        real, given = images["image"], images["embedding" if size else "label"]
        torch.manual_seed(number)
        losses = method.step(images)
        torch.manual_seed(number)
        fake, kl = generate(torch.randn(4, LATENT), given)
        if size:
            wrong, kept = torch.stack([given[3], given[0], given[1]]), real[:3]
        else:
            wrong, kept = (given + torch.randint(1, CLASSES, (4,))) % CLASSES, real
            assert not (wrong == given).any()
        mismatched = judge(kept, wrong)
        faked, true = judge(fake.detach(), given), judge(real, given)
        D_real = -torch.log(torch.sigmoid(true)).mean()
        D_fake = -torch.log(1 - torch.sigmoid(faked)).mean()
        D_mismatched = -torch.log(1 - torch.sigmoid(mismatched)).mean()
        optimizer_D.zero_grad()
        (D_real + (D_fake + D_mismatched) / 2).backward()
        optimizer_D.step()
        gan = -torch.log(torch.sigmoid(judge(fake, given))).mean()
        optimizer_G.zero_grad()
        (gan + kl).backward()
        optimizer_G.step()
        expected = {"D_real": D_real, "D_fake": D_fake, "D_mismatched": D_mismatched, "G_GAN": gan, "KL": kl}
        for key, value in expected.items():
            assert float(losses[key]) == pytest.approx(value.item(), rel=1e-3, abs=1e-6), (number, key)


def test_the_condition_is_drawn_in_training_and_where_noise_is_asked_for() -> None:
    G = make().unwrapped["G"]
    z, labels = torch.randn(2, LATENT), torch.tensor([0, 1])
    torch.manual_seed(0)
    one = G(z, labels)
    assert not torch.equal(one, G(z, labels))
    G.eval()
    assert torch.equal(G(z, labels), G(z, labels))
    images, (condition, mean, _) = G(z, labels, with_condition=True)
    assert torch.equal(condition, mean)
    assert images.shape == (2, 3, SIDE, SIDE)
    set_noise(G, True)
    _, (condition, mean, _) = G(z, labels, with_condition=True)
    assert not torch.isclose(condition, mean).any()


def test_the_runs_own_samples_draw_it_and_leave_the_trainings_noise_alone() -> None:
    method = make()
    G = method.unwrapped["G"]
    for weights in G.parameters():  # new networks draw all but the same
        weights.data.mul_(20)
    G.eval()
    batch = {"image": torch.zeros(3, 3, SIDE, SIDE), "label": torch.zeros(3, dtype=torch.long)}
    state = torch.get_rng_state()
    one, two = method.samples(batch), method.samples(batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    first, *_ = (name for name in one if name != "real")
    z = torch.randn(3, LATENT, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(one[first], G(z, batch["label"]), atol=1e-3)


def test_the_rate_is_halved_again_and_again() -> None:
    method = make(halve_every=10)
    assert [method.learning_rate_factor("G", 0, epoch) for epoch in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


def test_the_divergence_is_zero_for_a_standard_normal_alone() -> None:
    zeros = torch.zeros(2, 3)
    assert float(divergence(zeros, zeros)) == 0
    assert float(divergence(zeros + 1, zeros)) == pytest.approx(0.5)


@pytest.mark.parametrize("sizes", [(16, 32), (16, 64), (64, 256)])
def test_stage_two_makes_images_of_its_size(sizes: tuple[int, int]) -> None:
    G = StackGANGenerator(
        5, 3, 1, sizes[1], width=2, condition_size=4, blocks=1, stage_one_size=sizes[0], stage_one_width=3
    ).eval()
    z, labels = torch.randn(1, 5), torch.tensor([2])
    with torch.no_grad():
        assert G(z, labels).shape == (1, 1, sizes[1], sizes[1])
        assert G.one(z, labels)[0].shape == (1, 1, sizes[0], sizes[0])


def test_the_discriminator_judges_with_the_condition() -> None:
    torch.manual_seed(0)
    D = StackGANDiscriminator(1, 3, layers=2, width=4).eval()
    x = torch.rand(1, 1, 16, 16)
    assert D(x, torch.tensor([0])).shape == (1, 1, 1, 1)
    assert not torch.equal(D(x, torch.tensor([0])), D(x, torch.tensor([1])))


def draw(shape: str, colour: str, seed: int, side: int = SIDE) -> Image.Image:
    """A coloured shape somewhere on white."""
    rng = np.random.default_rng([seed, SHAPES.index(shape)])
    image = Image.new("RGB", (side, side), (255, 255, 255))
    radius = int(rng.integers(side // 4, side // 3))
    x, y = (int(rng.integers(radius, side - radius)) for _ in range(2))
    box = (x - radius, y - radius, x + radius, y + radius)
    pen = ImageDraw.Draw(image)
    (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=COLOURS[colour])
    return image


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured shapes by class, of 32 pixels a side, and embeddings that say colour and shape."""
    folder = tmp_path_factory.mktemp("shapes")
    names, vectors = [], []
    for colour in COLOURS:
        for shape in SHAPES:
            (folder / "train" / f"{colour} {shape}").mkdir(parents=True)
            for number in range(4):
                name = f"{colour} {shape}/{number}"
                draw(shape, colour, number, 32).save(folder / "train" / f"{name}.png")
                names.append(name)
                vectors.append([float(colour == c) for c in COLOURS] + [float(shape == s) for s in SHAPES])
    np.savez(folder / "texts.npz", names=np.array(names), embeddings=np.array(vectors, np.float32))
    return folder


@pytest.fixture(scope="module")
def stage_one(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stages") / "one"
    return translatekit.train(
        "stackgan", shapes, **{**TINY, "load_size": SIDE, "init_gain": 0.5}, output=str(folder)
    )


@pytest.fixture(scope="module")
def stage_two(shapes: Path, stage_one: Path) -> Path:
    folder = stage_one.parent / "two"
    options = {**TINY, "crop_size": 32, "generator_options": {"width": 2, "blocks": 1}}
    return translatekit.train("stackgan", shapes, **options, stage_one=str(stage_one), output=str(folder))


def test_stage_one_stays_as_it_is_in_stage_two(stage_one: Path, stage_two: Path) -> None:
    one, _ = translatekit.load_network(stage_one)
    two, info = translatekit.load_network(stage_two)
    assert info.size == 32
    assert info.generator_options["stage_one_size"] == SIDE
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name]), name
    z, labels = torch.randn(1, LATENT), torch.tensor([1])
    assert torch.equal(one(z, labels), two.one(z, labels)[0])


def test_images_are_drawn_by_label_from_both_stages(stage_one: Path, stage_two: Path, tmp_path: Path) -> None:
    for run, side in ((stage_one, SIDE), (stage_two, 32)):
        (file,) = sample(run, tmp_path / f"{side}.png", label="red circle", count=4)
        assert Image.open(file).size == (2 * (side + GAP) + GAP,) * 2
        files = sample(run, tmp_path / str(side), count=1)
        assert sorted(file.name for file in files) == [
            f"{colour}_{shape}-00000.png" for colour in ("blue", "red") for shape in SHAPES
        ]


def test_an_image_is_the_same_whatever_is_drawn_beside_it(stage_one: Path, tmp_path: Path) -> None:
    few, more, other = (
        [Image.open(file).tobytes() for file in sample(stage_one, tmp_path / name, label=0, **options)]
        for name, options in {
            "few": {"count": 2},
            "more": {"count": 5},
            "other": {"count": 2, "seed": 1},
        }.items()
    )
    assert more[:2] == few
    assert len({*more, *other}) == 7


@pytest.mark.parametrize("stage", [1, 2])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    shapes: Path, stage_one: Path, stage_two: Path, tmp_path: Path, stage: int
) -> None:
    whole = (stage_one, stage_two)[stage - 1]
    config = whole / "config.toml"
    stopped = translatekit.train(config=config, max_steps=2, output=str(tmp_path / "run"))
    went_on = translatekit.train(resume=stopped, max_steps=4)
    assert (went_on / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def of_texts(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts") / "run"
    options = {**TINY, "load_size": SIDE, "dataset_options": {"embeddings": "texts.npz"}}
    return translatekit.train("stackgan", shapes, **options, output=str(folder))


def test_images_are_drawn_by_the_embeddings_of_texts(of_texts: Path, tmp_path: Path) -> None:
    assert translatekit.read_info(of_texts).generator_options["embedding_size"] == 4
    np.save(tmp_path / "texts.npy", np.eye(4, dtype=np.float32)[:3])
    files = sample(of_texts, tmp_path / "many", embedding=tmp_path / "texts.npy", count=2)
    assert [file.name for file in files][:3] == [
        "text-0000-00000.png",
        "text-0000-00001.png",
        "text-0001-00000.png",
    ]
    (file,) = sample(of_texts, tmp_path / "one.png", embedding=np.array([1, 0, 0, 1]), count=1)
    assert Image.open(file).size == (SIDE + 2 * GAP,) * 2


def test_what_a_model_is_not_conditioned_on_is_refused(
    of_texts: Path, stage_one: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.png"
    with pytest.raises(OptionError, match=r"pass them as --embedding FILE\.npy, and leave out --label red"):
        sample(of_texts, out, label="red")
    with pytest.raises(OptionError, match=r"of 4 numbers, and these have the shape \(1, 3\)"):
        sample(of_texts, out, embedding=np.zeros(3))
    with pytest.raises(OptionError, match="without embeddings of texts: leave out --embedding"):
        sample(stage_one, out, embedding=np.zeros(4))
    with pytest.raises(DataError, match="cannot be read as embeddings"):
        sample(of_texts, out, embedding=stage_one / "config.toml")


def test_a_stage_one_that_does_not_fit_is_refused(
    shapes: Path, stage_one: Path, stage_two: Path, of_texts: Path
) -> None:
    def refused(match: str, **options: Any) -> None:
        small = {"generator_options": {"width": 2}}
        given: Mapping[str, Any] = {**TINY, "crop_size": 32, **small, **options}
        with pytest.raises(OptionError, match=match):
            translatekit.train("stackgan", shapes, **given, output=str(stage_one.parent / "no"))

    refused("is no Stage I, but stackgan", stage_one=str(stage_two))
    refused("embedding_size 4, and this run 0", stage_one=str(of_texts))
    refused("latent_size 5, and this run 6", stage_one=str(stage_one), latent_size=6)
    refused("larger than the 16 pixels of Stage I, got 16", stage_one=str(stage_one), crop_size=16)
    refused("trains a generator of its own", generator="dcgan", generator_options={})
    refused("'patch' takes no labels: pass --discriminator", discriminator="patch", discriminator_options={})


def test_normalization_of_a_fixed_stage_stays_in_evaluation() -> None:
    G = StackGANGenerator(5, 3, 1, 32, width=2, condition_size=4, blocks=1, stage_one_size=16)
    G.fix_stage_one()
    G.train()
    assert not any(module.training for module in G.one.modules() if isinstance(module, BatchNorm2d))
    assert all(module.training for module in G.two.modules() if isinstance(module, BatchNorm2d))
    assert G.one.augment.training
