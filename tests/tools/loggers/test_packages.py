"""Runs logged by the real packages, to files on this machine, and read back from there."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import TINY
from translatekit import train

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("wandb")
pytest.importorskip("trackio")

LOGGERS = ("mlflow", "wandb", "trackio")
STEPS = [2, 4, 6]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that went on to six, logged by all three."""
    folder = tmp_path_factory.mktemp("run") / "run"
    options = {**TINY, "epochs": 1, "epochs_decay": 0, "dataset": "demo", "validate_every": 0}
    train(
        "pix2pix",
        output=str(folder),
        max_steps=4,
        log_to=LOGGERS,
        log_options={"upload": "model"},
        **options,
    )
    time.sleep(1.1)  # wandb names the files of a session by the second
    return train(resume=folder, max_steps=6)


def logged(run: Path, family: str, name: str) -> list[float]:
    """What the run's own log has."""
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [entry[family][name] for entry in entries if entry["kind"] == "train"]


def keys(run: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((run / "loggers.json").read_text())
    return found


def test_mlflow_has_the_run(run: Path) -> None:
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("translatekit")
    (found,) = [
        each
        for each in client.search_runs([experiment.experiment_id])
        if each.info.run_id == keys(run)["mlflow"]
    ]
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert (found.data.params["method"], found.data.params["generator_options.depth"]) == ("pix2pix", "5")
    history = client.get_metric_history(found.info.run_id, "loss/G_L1")
    assert [(each.step, each.value) for each in history] == list(
        zip(STEPS, logged(run, "losses", "G_L1"), strict=True)
    )
    files = {each.path for each in client.list_artifacts(found.info.run_id)}
    assert {"config.toml", "model.safetensors", "images"} <= files
    assert (
        len([each for each in client.list_artifacts(found.info.run_id, "images") if "samples" in each.path])
        >= 2
    )


def test_wandb_has_the_run_in_files_for_sync(run: Path) -> None:
    folders = sorted((run / "loggers" / "wandb" / "wandb").glob(f"offline-run-*-{keys(run)['wandb']}"))
    assert len(folders) == 2  # a session each, which wandb sync puts together by their id
    steps, values = [], []
    for folder in folders:
        records = list(records_of(next(folder.glob("*.wandb"))))
        config = {item.key: item.value_json for record in records for item in record.run.config.update}
        assert json.loads(config["generator_options.depth"]) == 5
        for record in records:
            row = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            if "loss/G_L1" in row:
                steps.append(row["step"])
                values.append(row["loss/G_L1"])
        assert list((folder / "files" / "media" / "images").glob("samples_*.png"))
    assert steps == STEPS
    assert values == pytest.approx(logged(run, "losses", "G_L1"))


def records_of(path: Path) -> Iterator[Any]:
    """What a .wandb file holds: records in blocks of 32 kB, behind a header each, as LevelDB's log has them."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def test_trackio_has_the_run(run: Path) -> None:
    from trackio.sqlite_storage import SQLiteStorage

    name = keys(run)["trackio"]
    assert name.startswith("run-")
    rows = [row for row in SQLiteStorage.get_logs("translatekit", name) if "loss/G_L1" in row]
    assert [row["step"] for row in rows] == STEPS
    assert [row["loss/G_L1"] for row in rows] == pytest.approx(logged(run, "losses", "G_L1"))
    assert SQLiteStorage.get_run_config("translatekit", name)["method"] == "pix2pix"
    images = [row for row in SQLiteStorage.get_logs("translatekit", name) if "samples" in row]
    assert [row["step"] for row in images] == [4, 6]
