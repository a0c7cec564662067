"""Steps on several batches, whose gradients are accumulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from translatekit_pix2pix.method import Pix2Pix

from tests.training.hosts import train_alike
from tests.training.test_hosts import furthest, twenty_steps, weights
from translatekit import train
from translatekit.errors import DataError, OptionError
from translatekit.networks.resnet import ResNet
from translatekit.training.accumulation import Recomputed


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan", "cgan"])
def test_four_batches_of_one_are_one_batch_of_four(
    pairs: Path, unpaired: Path, labelled: Path, tmp_path: Path, method: str
) -> None:
    arguments, options = twenty_steps(pairs, unpaired, labelled)[method]
    shapes: dict[str, Any] = {"one": {"batch_size": 4}, "four": {"batch_size": 1, "accumulate": 4}}
    train_alike(
        [
            (arguments, {**options, "max_steps": 6, **shape, "output": str(tmp_path / name)})
            for name, shape in shapes.items()
        ]
    )
    assert furthest(tmp_path / "one", tmp_path / "four") < 1e-6


def test_discriminators_see_four_batches_of_one_changed_as_one_batch_of_four(
    pairs: Path, unpaired: Path, labelled: Path, tmp_path: Path
) -> None:
    arguments, options = twenty_steps(pairs, unpaired, labelled)["cyclegan"]
    options = {**options, "max_steps": 3, "diff_augment": ("color", "translation", "cutout")}
    shapes: dict[str, Any] = {"one": {"batch_size": 4}, "four": {"batch_size": 1, "accumulate": 4}}
    train_alike(
        [(arguments, {**options, **shape, "output": str(tmp_path / name)}) for name, shape in shapes.items()]
    )
    assert furthest(tmp_path / "one", tmp_path / "four") < 1e-6


def test_batch_normalization_counts_each_batch_once(pairs: Path, tmp_path: Path) -> None:
    arguments, options = twenty_steps(pairs, pairs, pairs)["batchnorm"]
    run = tmp_path / "run"
    train(*arguments, **{**options, "max_steps": 3, "batch_size": 2, "accumulate": 2, "output": str(run)})
    counted = {name: int(value) for name, value in weights(run).items() if "num_batches" in name}
    assert counted
    assert {value for name, value in counted.items() if name.startswith("G")} == {3 * 2}
    assert {value for name, value in counted.items() if name.startswith("D")} == {3 * 2 * 3}


def test_no_activations_are_kept() -> None:
    network = ResNet(3, 3, blocks=2, width=8)
    kept: list[int] = []

    def count(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    image = torch.zeros(1, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        plain = network(image)
    several = sum(kept)
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        recomputed = Recomputed(network)(image)
    assert torch.equal(plain, recomputed)
    assert sum(kept) < several / 10


def test_what_cannot_be_accumulated_is_refused(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, options = twenty_steps(pairs, pairs, pairs)["pix2pix"]
    options = {**options, "accumulate": 3, "output": str(tmp_path / "run")}
    with pytest.raises(
        DataError, match=r"3 accumulated batches of 3 on 1 .* 8 images: pass --batch-size 2 or"
    ):
        train(*arguments, **options, batch_size=3)
    monkeypatch.setattr(Pix2Pix, "step", lambda self, batch: {})
    with pytest.raises(OptionError, match="pix2pix cannot accumulate gradients: leave out --accumulate"):
        train(*arguments, **options)


def test_batch_normalization_that_is_not_there_cannot_be_synchronized(pairs: Path, tmp_path: Path) -> None:
    arguments, options = twenty_steps(pairs, pairs, pairs)["pix2pix"]
    with pytest.raises(OptionError, match="--sync-batchnorm is for batch normalization"):
        train(*arguments, **options, sync_batchnorm=True, output=str(tmp_path / "run"))
