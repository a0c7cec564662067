"""Runs that go on inside of another training: as they would by themselves, and without being touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import translatekit
from translatekit.config import RunConfig
from translatekit.errors import TrainingError
from translatekit.training.batches import collate
from translatekit.training.continued import ContinuedRun
from translatekit.training.sampling import EpochBatches
from translatekit.training.setup import build, make_fabric

IMAGES = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose weights are averaged and whose discriminator sees changed images, after its first epoch."""
    torch.set_flush_denormal(True)
    return translatekit.train(
        "pix2pix",
        None,
        generator="resnet",
        generator_options={"width": 4, "blocks": 1},
        discriminator_options={"width": 4, "layers": 1},
        dataset_options={"count": IMAGES},
        ema=0.9,
        diff_augment="color,cutout",
        load_size=32,
        crop_size=32,
        epochs=1,
        epochs_decay=0,
        validate_every=0,
        precision="fp32",
        output=str(tmp_path_factory.mktemp("continued") / "run"),
    )


def test_a_run_goes_on_inside_of_another_training_as_by_itself(run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    translatekit.train(resume=alone, epochs=2)

    config = RunConfig.from_toml(run / "config.toml")
    fabric = make_fabric(config.options)
    data = build(config, fabric).data
    inside = ContinuedRun(run, data)
    inside.setup(fabric, lambda network: network)
    batches = EpochBatches(IMAGES, 1, config.options.seed, 0, 1, 1, None)
    data.set_epoch(1)
    batches.start(1, seen=0)
    for number, (index,) in enumerate(batches):
        losses = inside.step(collate([data[index]]), number)
    assert losses.keys() >= {"G_GAN", "G_L1", "D_real", "D_fake"}

    wanted = load_file(alone / "model.safetensors")  # averaged
    found = inside.generator("AtoB").state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    networks = torch.load(sorted((alone / "checkpoints").glob("*.pt"))[-1], weights_only=True)["networks"]
    for name, state in networks.items():
        own = inside.networks[name].state_dict()
        assert all(torch.equal(state[key], own[key]) for key in state)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_drawn_around_it_is_what_would_be_drawn_without_it(run: Path) -> None:
    config = RunConfig.from_toml(run / "config.toml")
    data = build(config, make_fabric(config.options)).data
    torch.manual_seed(3)
    wanted = torch.rand(3)
    torch.manual_seed(3)
    ContinuedRun(run, data)
    assert torch.equal(torch.rand(3), wanted)


def test_a_run_without_a_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    config = RunConfig.from_toml(run / "config.toml")
    data = build(config, make_fabric(config.options)).data
    (tmp_path / "run").mkdir()
    shutil.copy(run / "config.toml", tmp_path / "run")
    with pytest.raises(TrainingError, match="holds no checkpoint yet"):
        ContinuedRun(tmp_path / "run", data)
