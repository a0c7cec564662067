"""A run is measured on the part of its images that it has left out; the runs of all folds on all images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from translatekit_tools.cli.evaluate import evaluate as command
from translatekit_tools.evaluate import evaluate, evaluate_folds
from translatekit_tools.evaluate.result import Evaluation

import translatekit
from tests.training.conftest import TINY, draw_pairs
from translatekit import train
from translatekit.errors import OptionError

IMAGES = 8


def train_fold(data: Path, run: Path, fold: str, **options: Any) -> Path:
    given = {
        **TINY,
        "load_size": 32,
        "flip": False,
        "epochs": 1,
        "epochs_decay": 0,
        "seed": len(fold + run.name),
    }
    return train("pix2pix", data, output=str(run), fold=fold, **{**given, **options})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds") / "data"
    draw_pairs(folder / "train", IMAGES, size=32)
    return folder


@pytest.fixture(scope="module")
def runs(data: Path) -> list[Path]:
    """Those of three folds, each with other weights, in another order than that of the folds."""
    return [train_fold(data, data.parent / f"run-{k}", f"{k}/3", seed=k) for k in (2, 1, 3)]


def test_a_run_with_a_fold_is_measured_on_what_it_has_left_out(data: Path, runs: list[Path]) -> None:
    log = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    own = next(entry["metrics"] for entry in log if entry["kind"] == "validation")
    found = evaluate(runs[0], metrics=["l1"])
    assert found.images == 3
    assert "of which it has left fold 2/3 out" in found.notes[0]
    assert found.models[0].metrics["l1"].value == pytest.approx(own["l1"], abs=1e-4)
    assert evaluate(runs[0], metrics=["l1"], split="train").images == 5
    other = evaluate(runs[0], data, metrics=["l1"], fold="3/3")
    assert other.protocol["inputs"] != found.protocol["inputs"]
    with pytest.raises(OptionError, match="the dataset 'demo' has no folds: leave out --fold 1/2"):
        evaluate(runs[0], dataset="demo", metrics=["l1"], fold="1/2")


def by_hand(data: Path, runs: list[Path]) -> dict[str, float]:
    """The L1 of each image, by the run whose training images are the others."""
    from translatekit.datasets import make_dataset
    from translatekit.interfaces import DataOptions

    found = {}
    for run in runs:
        fold = translatekit.config.RunConfig.from_toml(run / "config.toml").options.fold
        options = DataOptions(split="train", load_size=32, crop_size=32, flip=False, fold=fold)
        trained = make_dataset("aligned", data, options)
        seen = {trained[index]["name"] for index in range(len(trained))}
        predictor = translatekit.open(run, precision="fp32")
        for file in sorted((data / "train").iterdir()):
            if file.stem not in seen:
                assert file.stem not in found
                pixels = np.asarray(Image.open(file))
                output = predictor.translate(np.ascontiguousarray(pixels[:, :32]))
                difference = output.astype(float) - pixels[:, 32:].astype(float)
                found[file.stem] = float(np.abs(difference).mean() / 127.5)
    assert len(found) == IMAGES
    return found


def test_the_runs_of_all_folds_are_measured_as_one(data: Path, runs: list[Path]) -> None:
    found = evaluate_folds(runs, metrics=["l1", "fid"], features="own")
    whole, *folds = found.models
    assert [model.name for model in found.models] == ["all folds", "fold 1/3", "fold 2/3", "fold 3/3"]
    assert found.images == IMAGES
    values = by_hand(data, runs)
    l1 = whole.metrics["l1"]
    assert l1.value == pytest.approx(np.mean(list(values.values())), rel=1e-5)
    assert l1.low is not None
    assert l1.high is not None
    assert l1.low < l1.value < l1.high
    assert whole.metrics["kid"].low is not None
    alone = [evaluate(run, metrics=["l1", "fid"], features="own") for run in sorted(runs)]
    for model, one in zip(folds, alone, strict=True):
        for name, estimate in one.models[0].metrics.items():
            assert model.metrics[name].value == pytest.approx(estimate.value), (model.name, name)
    assert whole.metrics["fid"].value != pytest.approx(np.mean([one.metrics["fid"].value for one in folds]))
    assert "each image by the run that has left it out" in " ".join(found.notes)
    assert not any("trained alike" in note for note in found.notes)


def test_unpaired_folds_are_compared_as_sets_over_all_images(unpaired: Path, tmp_path: Path) -> None:
    options = {**TINY, "generator": "unet", "max_steps": 1}
    folds = [
        train("cyclegan", unpaired, output=str(tmp_path / f"{k}"), fold=f"{k}/2", **options) for k in (1, 2)
    ]
    found = evaluate_folds(folds, metrics=["kid"], features="own", direction="AtoB")
    assert found.images == 6
    assert set(found.models[0].metrics) == {"kid"}
    by_fold = [evaluate(run, metrics=["kid"], features="own", direction="AtoB") for run in folds]
    for model, one in zip(found.models[1:], by_fold, strict=True):
        assert model.metrics["kid"].value == pytest.approx(one.models[0].metrics["kid"].value, abs=1e-6)


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=True)


def test_the_command_takes_the_runs_of_all_folds(data: Path, runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = invoke(*runs, data, "--metrics", "l1", "--report", page, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [model["name"] for model in found["models"]] == ["all folds", "fold 1/3", "fold 2/3", "fold 3/3"]
    assert (found["images"], found["split"]) == (IMAGES, "3 folds")
    assert "3 folds of data" in page.read_text()
    assert (
        page.read_text().count("data:image/png") == 4 * IMAGES
    )  # input, target, output and error, all shown
    (tmp_path / "earlier.json").write_text(result.stdout)

    models = [run / "model.safetensors" for run in runs]
    table = invoke(*models, "--metrics", "l1", "--compare", tmp_path / "earlier.json").stdout
    rows = [line.split("  ")[0] for line in table.splitlines()]
    assert rows[0] == "8 images"
    assert "all folds" in rows
    assert any(row.startswith("all folds in") for row in rows)


def test_models_beside_each_other_are_told_from_folds(data: Path, runs: list[Path]) -> None:
    result = invoke(runs[0], data, runs[1])
    assert isinstance(result.exception, OptionError)
    assert "is one argument too many" in str(result.exception)
    result = invoke(
        runs[0], data, "--compare", runs[1], runs[2], "--metrics", "l1", "--fold", "1/3", "--json"
    )
    assert len(json.loads(result.stdout)["models"]) == 3


def refused(match: str, folds: list[Path], *data: Path, **options: Any) -> None:
    with pytest.raises(OptionError, match=match):
        evaluate_folds(folds, *data, metrics=["l1"], **options)


def test_folds_that_are_not_those_of_one_split_are_refused(
    data: Path, runs: list[Path], tmp_path: Path
) -> None:
    two, one, three = runs
    refused("no run has left out fold 3/3: name the runs of all 3 folds", [one, two])
    refused("there is no .*run-4: name the runs of all folds, and behind them", runs, data.parent / "run-4")
    refused("have both left fold 1/3 out: name one run of each fold", [one, two, one, three])
    other = train_fold(data, tmp_path / "other", "2/4")
    refused("has left fold 1/3 out and .* fold 2/4: name the runs of one split", [one, other, three])
    whole = train("pix2pix", data, output=str(tmp_path / "w"), **TINY, max_steps=1)
    refused("was trained without --fold, and has left no part", [one, two, whole])
    refused("leave out --fold 1/3, or name a single run", runs, fold="1/3")
    refused("leave out --split train", runs, split="train")
    refused("is a model: evaluate its folds with --json", runs, compare=[whole])
    turned = train_fold(data, tmp_path / "turned", "3/3", direction="BtoA")
    refused("the direction BtoA and .*run-2 AtoB", [two, one, turned])

    shutil.copytree(data, tmp_path / "data")
    elsewhere = train_fold(tmp_path / "data", tmp_path / "elsewhere", "3/3")
    refused("or say where all of them lie, as DATA", [two, one, elsewhere])
    assert evaluate_folds([two, one, elsewhere], data, metrics=["l1"]).images == IMAGES

    (tmp_path / "data" / "train" / "7.png").unlink()
    refused("was trained on 5 images, and of the 7 that are there now", runs, tmp_path / "data")


def test_runs_that_were_not_trained_alike_are_said(data: Path, runs: list[Path], tmp_path: Path) -> None:
    two, one, _ = runs
    other = train_fold(data, tmp_path / "other", "3/3", lr=0.1, lambda_l1=7.0)
    found: Evaluation = evaluate_folds([two, one, other], metrics=["l1"])
    assert "the runs were not trained alike: they differ in lr, lambda_l1" in found.notes
