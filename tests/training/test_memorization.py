"""Whether a discriminator knows its images by heart: seen, without disturbing the training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.training.conftest import TINY
from tests.training.test_loop import entries, same
from translatekit import train
from translatekit.config import TrainOptions
from translatekit.interfaces import Deployed
from translatekit.training import validation
from translatekit.training.accumulation import Update, Updates
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.fabric import Fabric
from translatekit.training.memorization import memorization
from translatekit.training.method import Method


class Lookup(nn.Module):
    """Says 1 of the images that it knows, else how real it takes an image to be by its mean."""

    judges = True

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.known, self.weight = known, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        image = x[:, 1:]
        verdicts = [any(torch.equal(one, other) for other in self.known) for one in image]
        return torch.tensor(verdicts).float().view(-1, 1, 1, 1) + image.mean((1, 2, 3), keepdim=True)


class Halves(Method):
    """Makes black images, and shows them and real ones beside their inputs to D."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__({"G": nn.Conv2d(1, 1, 1), "D": Lookup(known)})

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        D, x, y = self.networks["D"], batch["input"], batch["target"]
        D(torch.cat([x, torch.zeros_like(y)], 1))
        D(torch.cat([x, y], 1))
        D(torch.cat([x, y], 1).requires_grad_())  # as a penalty looks
        torch.rand(1)
        yield Update(self.networks["G"](x).mean(), "G")
        return {}

    def deployed(self) -> dict[str, Deployed]:
        return {"G": Deployed(self.unwrapped["G"], "input", "target")}


@pytest.mark.parametrize(("brightness", "share"), [(0.0, 1.0), (1.0, 0.5), (3.0, 0.25)])
def test_the_share_is_what_knowing_an_image_makes_of_the_distance(brightness: float, share: float) -> None:
    def items(seed: int) -> list[dict[str, Tensor]]:
        noise = torch.Generator().manual_seed(seed)
        images = [torch.rand(1, 4, 4, generator=noise) for _ in range(6)]
        return [{"input": image, "target": image - image.mean() + brightness} for image in images]

    data = items(0)
    method = Halves([item["target"] for item in data])
    fabric = Fabric(accelerator="cpu", devices=1)
    method.setup(fabric, lambda parameters: torch.optim.SGD(parameters, 1.0), lambda network: network)
    before, state = torch.get_rng_state(), {name: net.state_dict() for name, net in method.unwrapped.items()}
    training: Any = SimpleNamespace(
        method=method, data=data, held_out=items(1), fabric=fabric, options=TrainOptions(batch_size=2)
    )
    assert memorization(training) == {"D": pytest.approx(share, abs=1e-5)}
    assert torch.equal(torch.get_rng_state(), before)
    assert same(state, {name: net.state_dict() for name, net in method.unwrapped.items()})
    training.held_out = data
    assert memorization(training) == {"D": 0.0}


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_looking_changes_nothing(
    method: str, pairs: Path, unpaired: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**TINY, "epochs": 1, "adversarial": "lsgan,r1=1,r1_every=1", "fold": (1, 3)}
    if method == "cyclegan":
        options |= {"generator": "unet", "spectral_norm": True, "max_steps": 4, "validate_every": 1}
    data = pairs if method == "pix2pix" else unpaired
    looked = train(method, data, output=str(tmp_path / "looked"), **options)
    with monkeypatch.context() as patch:
        patch.setattr(validation, "memorization", lambda training: {})
        blind = train(method, data, output=str(tmp_path / "blind"), **options)
    shares = entries(looked, "memorization")
    assert shares
    assert set(shares[-1]["shares"]) <= {"D", "D_A", "D_B"}
    assert not entries(blind, "memorization")
    assert same(
        load_checkpoint(looked / "checkpoints")["networks"],
        load_checkpoint(blind / "checkpoints")["networks"],
    )
    assert same(load_file(looked / "model.safetensors"), load_file(blind / "model.safetensors"))


SCRIPT = """
import json, sys
import translatekit
from translatekit.training import validation

look = validation.memorization
for data, is_blind, options in json.loads(sys.argv[1]):
    validation.memorization = (lambda training: {}) if is_blind else look
    translatekit.train("pix2pix", data, devices="2", **options)
"""


def test_several_processes_look_together_and_change_nothing(pairs: Path, tmp_path: Path) -> None:
    """With batch normalization that they synchronize, whose forward passes wait for all of them."""
    options = {
        **TINY,
        "epochs": 2,
        "epochs_decay": 0,
        "sync_batchnorm": True,
        "lr_discriminator": 0.01,  # which soon tells real images from generated ones
    }
    runs = [(str(pairs), blind, {**options, "output": str(tmp_path / f"{blind}")}) for blind in (False, True)]
    program = tmp_path / "looking.py"
    program.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, program, json.dumps(runs)],
        capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shares = [entry["shares"] for entry in entries(tmp_path / "False", "memorization")]
    assert shares
    assert all(each.keys() == {"D"} and 0 <= each["D"] <= 1 for each in shares)
    assert not entries(tmp_path / "True", "memorization")
    looked, blind = (load_checkpoint(tmp_path / name / "checkpoints") for name in ("False", "True"))
    assert looked["progress"]["step"] == 8
    assert same(looked["networks"], blind["networks"])


def test_it_is_said_when_it_is_seen(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(validation, "memorization", lambda training: {"D": 0.9})
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **{**TINY, "epochs": 4, "epochs_decay": 0})
    said = [entry for entry in entries(run, "event") if "memorizing discriminator" in entry["text"]]
    assert [entry["step"] for entry in said] == [24]
    assert "Memorization by discriminators" in (run / "index.html").read_text()
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert "--diff-augment color,translation,cutout" in capsys.readouterr().err
