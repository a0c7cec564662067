"""The conditional GAN: its networks, its steps, and drawing from what it trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from translatekit_cgan.networks import DCGANDiscriminator, DCGANGenerator
from translatekit_tools.sample import GAP, sample

import translatekit
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.model_file import read_info, save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator

CLASSES = ("bright", "dark")
TINY: dict[str, Any] = {
    "load_size": 16,
    "crop_size": 16,
    "batch_size": 8,
    "epochs": 1,
    "latent_size": 8,
    "generator_options": {"width": 8},
    "discriminator_options": {"width": 8, "layers": 2},
    "accelerator": "cpu",
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gray noise, bright in one class and dark in the other: 32 images of 16 pixels a side each."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for name, low in zip(CLASSES, (190, 0), strict=True):
        (folder / "train" / name).mkdir(parents=True)
        for index in range(32):
            pixels = rng.integers(low, low + 60, (16, 16), np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def trained(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run long enough to tell the classes apart."""
    output = tmp_path_factory.mktemp("runs") / "run"
    settings = TINY | {"epochs": 12, "lr": 2e-3, "sample_every": 1000, "checkpoint_every": 1000}
    return translatekit.train("cgan", labelled, **settings, output=str(output))


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that translates images."""
    network = make_generator("resnet", {"width": 4, "blocks": 1}, in_channels=3, out_channels=3)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    arguments: Any = network.arguments
    save_model(
        path, network.state_dict(), ModelInfo(method="x", generator="resnet", generator_options=arguments)
    )
    return path


def losses(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == "train"]


# --- networks


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("classes", [0, 3])
def test_the_generator_makes_images_of_its_size(size: int, classes: int) -> None:
    generator = DCGANGenerator(5, classes, 1, size, width=4)
    labels = torch.tensor([0, 2]) if classes else None
    assert generator(torch.randn(2, 5), labels).shape == (2, 1, size, size)


def test_the_label_changes_image_and_judgement() -> None:
    torch.manual_seed(0)
    generator = DCGANGenerator(5, 3, 1, 16, width=4).eval()
    discriminator = DCGANDiscriminator(1, 3, layers=2, width=4).eval()
    z, x = torch.randn(1, 5), torch.rand(1, 1, 16, 16)
    one, other = torch.tensor([0]), torch.tensor([1])
    assert not torch.equal(generator(z, one), generator(z, other))
    assert not torch.equal(discriminator(x, one), discriminator(x, other))


def test_every_logit_of_the_default_discriminator_sees_the_whole_image() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 1, 32, 32, requires_grad=True)
    centre = DCGANDiscriminator(1, width=8, norm="none").eval()(x)[0, 0, 1, 1]
    (gradient,) = torch.autograd.grad(centre, x)
    assert bool((gradient != 0).all())


@pytest.mark.parametrize("size", [8, 24, 0])
def test_sizes_that_are_no_power_of_two_from_16_on_are_refused(size: int) -> None:
    with pytest.raises(OptionError, match=f"power of two and at least 16, got {size}: pass --crop-size"):
        make_generator("dcgan", latent_size=5, num_classes=0, out_channels=1, size=size)


# --- training


def test_the_trained_classes_look_like_themselves(trained: Path, tmp_path: Path) -> None:
    means = {}
    for name in CLASSES:
        files = sample(trained, tmp_path / name, label=name, count=32)
        means[name] = np.mean([np.asarray(Image.open(file)).mean() for file in files])
    assert means["bright"] > means["dark"] + 80


def test_the_run_logs_losses_and_accuracies_and_its_model_says_its_classes(trained: Path) -> None:
    entry = losses(trained)[-1]
    assert set(entry["losses"]) == {"G_GAN", "D_real", "D_fake"}
    assert set(entry["accuracy"]) == {"real", "fake"}
    info = read_info(trained / "model.safetensors")
    assert (info.source, info.classes, info.size) == ("latent", CLASSES, 16)
    assert info.generator_options["num_classes"] == 2
    assert (trained / "index.html").is_file()


@pytest.mark.parametrize("adversarial", ["vanilla", "minimax", "wgangp"])
def test_the_plain_gan_trains_with_either_loss(labelled: Path, tmp_path: Path, adversarial: str) -> None:
    settings = TINY | {"conditional": False, "adversarial": adversarial, "output": str(tmp_path / "run")}
    run = translatekit.train("cgan", labelled, **settings, max_steps=2, log_every=1)
    assert read_info(run / "model.safetensors").generator_options["num_classes"] == 0
    generator_losses = [entry["losses"]["G_GAN"] for entry in losses(run)]
    assert len(generator_losses) == 2
    assert all(loss < 0 for loss in generator_losses) or adversarial != "minimax"
    assert all(loss > 0 for loss in generator_losses) or adversarial != "vanilla"
    (file,) = sample(run, tmp_path / "grid.png", count=4)
    assert Image.open(file).size == (2 * 16 + 3 * GAP,) * 2


def test_the_plain_gan_may_use_a_discriminator_without_labels(labelled: Path, tmp_path: Path) -> None:
    settings = TINY | {"discriminator": "pixel", "discriminator_options": {}, "conditional": False}
    run = translatekit.train("cgan", labelled, **settings, max_steps=1, output=str(tmp_path / "run"))
    assert (run / "model.safetensors").is_file()


def test_networks_that_do_not_fit_are_refused_with_those_that_do(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match="generator 'unet' takes images: pass --generator with one of dcgan"
    ):
        translatekit.train("cgan", labelled, **TINY | {"generator": "unet"}, output=str(tmp_path / "a"))
    with pytest.raises(
        OptionError, match=r"'patch' takes no labels: pass --discriminator with one of .*dcgan"
    ):
        translatekit.train("cgan", labelled, **TINY | {"discriminator": "patch"}, output=str(tmp_path / "b"))


def test_a_missing_folder_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a folder of images"):
        translatekit.train("cgan", **TINY, output=str(tmp_path / "run"))


def test_it_trains_on_mnist(data_dir: Path, tmp_path: Path) -> None:
    settings = {
        "generator_options": {"width": 8},
        "discriminator_options": {"width": 8},
        "accelerator": "cpu",
        "precision": "fp32",
    }
    run = translatekit.train(
        "cgan", data_dir / "mnist", **settings, max_steps=3, output=str(tmp_path / "run")
    )
    info = read_info(run / "model.safetensors")
    assert (info.size, info.out_channels, info.classes) == (32, 1, tuple("0123456789"))
    (file,) = sample(run, tmp_path / "grid.png")
    assert Image.open(file).size == (8 * (32 + GAP) + GAP, 10 * (32 + GAP) + GAP)


# --- drawing


def test_a_grid_has_a_row_for_each_class(trained: Path, tmp_path: Path) -> None:
    (file,) = sample(trained, tmp_path / "grid.png", count=5)
    image = Image.open(file)
    assert image.size == (5 * (16 + GAP) + GAP, 2 * (16 + GAP) + GAP)
    assert image.mode == "L"
    pixels = np.asarray(image)
    for row, label in enumerate(CLASSES):
        (alone,) = sample(trained, tmp_path / f"{label}.png", label=label, count=5)
        first = np.asarray(Image.open(alone))[GAP : GAP + 16, GAP : GAP + 16]
        top = GAP + row * (16 + GAP)
        np.testing.assert_array_equal(pixels[top : top + 16, GAP : GAP + 16], first)


def test_one_class_is_laid_out_as_a_square(trained: Path, tmp_path: Path) -> None:
    (file,) = sample(trained, tmp_path / "grid.png", label="dark")
    assert Image.open(file).size == (4 * (16 + GAP) + GAP,) * 2


def test_label_and_seed_decide_the_images(trained: Path, tmp_path: Path) -> None:
    def draw(name: str, **options: Any) -> bytes:
        return sample(trained, tmp_path / f"{name}.png", **options)[0].read_bytes()

    first = draw("first", label="dark", seed=3)
    assert draw("again", label="dark", seed=3) == first
    assert draw("by_number", label=1, seed=3) == first
    assert draw("other_seed", label="dark", seed=4) != first
    assert draw("other_label", label="bright", seed=3) != first


def test_a_folder_gets_a_file_for_each_image(trained: Path, tmp_path: Path) -> None:
    files = sample(trained, tmp_path / "out", count=3)
    assert [file.name for file in files] == [f"{name}-{i:05d}.png" for name in CLASSES for i in range(3)]
    assert {Image.open(file).size for file in files} == {(16, 16)}


def test_class_names_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    arguments = {"latent_size": 4, "num_classes": 2, "out_channels": 3, "size": 16, "width": 4}
    network = make_generator("dcgan", arguments)
    info = ModelInfo(
        method="cgan",
        generator="dcgan",
        generator_options=arguments,
        source="latent",
        classes=("../../up", "/etc"),
    )
    save_model(tmp_path / "model.safetensors", network.state_dict(), info)
    files = sample(tmp_path / "model.safetensors", tmp_path / "out", count=1)
    assert sorted(file.parent for file in files) == [tmp_path / "out"] * 2
    assert all(file.resolve().is_file() and file.resolve().parent == tmp_path / "out" for file in files)


@pytest.mark.parametrize("out", ["grid.png", "folder"])
def test_nothing_is_overwritten_unless_forced(trained: Path, tmp_path: Path, out: str) -> None:
    written = sample(trained, tmp_path / out, label="dark", count=1)
    before = written[0].read_bytes()
    with pytest.raises(OptionError, match="exists already: pass --force"):
        sample(trained, tmp_path / out, label="dark", count=1, seed=9)
    assert written[0].read_bytes() == before
    sample(trained, tmp_path / out, label="dark", count=1, seed=9, force=True)
    assert written[0].read_bytes() != before


def test_unknown_classes_are_refused_with_the_known(trained: Path, tmp_path: Path) -> None:
    for label in ("drak", "2", "-1"):
        with pytest.raises(OptionError, match=f"knows no class '{label}': .*it has bright, dark"):
            sample(trained, tmp_path / "grid.png", label=label)
    assert not (tmp_path / "grid.png").exists()


def test_models_that_translate_images_are_pointed_to_run(image_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"translates images .* use translatekit run"):
        sample(image_model, tmp_path / "grid.png")


def test_formats_that_cannot_be_written_and_counts_below_one_are_refused(
    trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=r"cannot be written as '\.xyz'"):
        sample(trained, tmp_path / "grid.xyz")
    with pytest.raises(OptionError, match="at least 1, got 0"):
        sample(trained, tmp_path / "grid.png", count=0)


def test_the_command_prints_the_file_and_says_errors_in_one_line(trained: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "translatekit",
        "sample",
        str(trained),
        "--label",
        "dark",
        "-n",
        "4",
        "-o",
        "g.png",
    ]
    first, second = (subprocess.run(command, cwd=tmp_path, capture_output=True, text=True) for _ in range(2))
    assert (first.returncode, first.stdout) == (0, "g.png\n")
    assert (tmp_path / "g.png").is_file()
    assert second.returncode == 1
    assert second.stderr.startswith("Error: g.png exists already")
    assert second.stderr.count("\n") == 1
