"""``evaluate`` on a real cluster gives the figures that it gives on one machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from translatekit_tools.cli.evaluate import evaluate
from translatekit_tools.scale.cluster import Cluster
from translatekit_tools.scale.evaluate import measuring_on
from translatekit_tools.scale.options import ScaleOptions

from tests.tools.evaluate.test_evaluate import features as features
from tests.tools.test_run import save
from tests.training.conftest import TINY, draw_pairs
from translatekit import train


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As a worker has it that takes one core: sums over several threads differ in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def figures(*arguments: Any) -> dict[str, Any]:
    result = CliRunner().invoke(evaluate, [*map(str, arguments), "--json"])
    if result.exception is not None:
        raise result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.slow
def test_the_figures_are_those_of_one_machine(
    cluster: Cluster, one_thread: None, features: str, tmp_path: Path
) -> None:
    draw_pairs(tmp_path / "data/val", 9)
    models = [save(tmp_path / f"{seed}.safetensors", seed, size=32) for seed in range(2)]
    options = ["--compare", models[1], "--device", "cpu", "--batch-size", 1, "--features", features]
    options += ["--metrics", "l1,psnr,fid", "--resamples", 20]
    one = figures(models[0], tmp_path / "data", *options)
    many = figures(models[0], tmp_path / "data", *options, "--on", "ray", "--workers", 2)
    assert many == one
    assert set(one["models"][0]["metrics"]) >= {"psnr", "fid"}


@pytest.mark.slow
def test_folds_have_the_figures_of_one_machine(cluster: Cluster, one_thread: None, tmp_path: Path) -> None:
    draw_pairs(tmp_path / "data/train", 5, size=32)
    small = {**TINY, "epochs": 1, "epochs_decay": 0, "load_size": 32, "max_steps": 1}
    runs = [
        train("pix2pix", tmp_path / "data", output=str(tmp_path / f"{k}"), fold=f"{k}/2", **small)
        for k in (1, 2)
    ]
    options = ["--device", "cpu", "--batch-size", 1, "--metrics", "l1", "--resamples", 20]
    many = figures(*runs, *options, "--on", "ray", "--workers", 1)
    assert many == figures(*runs, *options)
    assert [model["name"] for model in many["models"]] == ["all folds", "fold 1/2", "fold 2/2"]


def test_what_options_name_is_found_from_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_pairs(tmp_path / "data/val", 2)
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (tmp_path / "data/val").iterdir():
        Image.new("L", (40, 40), 255).save(masks / f"{path.stem}.png")
    save(tmp_path / "model.safetensors", 0, size=32)
    monkeypatch.chdir(tmp_path)
    options = {"mask": "masks", "metrics": ("l1",), "device": "cpu"}
    measuring: Any = measuring_on(ScaleOptions(on="ray"), ["model.safetensors"], "data", options, print)
    opening = measuring.args[1]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    opening("a worker")
    assert opening.options.mask == str(masks)
