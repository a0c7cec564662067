"""A run is measured on the part of its images that it has left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from translatekit_tools.evaluate import evaluate

from tests.training.conftest import TINY, draw_pairs
from translatekit import train
from translatekit.errors import OptionError


def test_a_run_with_a_fold_is_measured_on_what_it_has_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    draw_pairs(data / "train", 5)
    options = {**TINY, "epochs": 1, "epochs_decay": 0, "fold": "2/5"}
    run = train("pix2pix", data, output=str(tmp_path / "run"), **options)
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    own = next(entry["metrics"] for entry in log if entry["kind"] == "validation")
    found = evaluate(run, metrics=["l1"])
    assert found.images == 1
    assert "of which it has left fold 2/5 out" in found.notes[0]
    assert found.models[0].metrics["l1"].value == pytest.approx(own["l1"], abs=1e-4)
    assert evaluate(run, metrics=["l1"], split="train").images == 4
    other = evaluate(run, data, metrics=["l1"], fold="3/5")
    assert other.protocol["inputs"] != found.protocol["inputs"]
    with pytest.raises(OptionError, match="the dataset 'demo' has no folds: leave out --fold 1/2"):
        evaluate(run, dataset="demo", metrics=["l1"], fold="1/2")
