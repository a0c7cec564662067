"""Runs whose folder is in an object store."""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from translatekit_pix2pix.method import Pix2Pix

from tests.stores import Proxy
from tests.training.conftest import TINY
from translatekit import train
from translatekit.errors import StorageError, TrainingError
from translatekit.storage import Item, held, open_sink
from translatekit.storage.objects import ObjectPlace
from translatekit.training import remote
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.remote import working_folder

SHORT = {**TINY, "epochs": 2, "epochs_decay": 0, "log_every": 5, "checkpoint_every": 3}


@pytest.fixture
def address(request: pytest.FixtureRequest) -> str:
    """Where a run may go that was not there before, in a store that is in the memory."""
    pytest.importorskip("fsspec")
    return f"memory://runs/{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def whole(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 16 steps in a folder."""
    return train("pix2pix", pairs, output=str(tmp_path_factory.mktemp("whole") / "run"), **SHORT)


def names(address: str) -> list[str]:
    return sorted(item.name for item in open_sink(address).list() if "tfevents" not in item.name)


def assert_equal(run: Path, whole: Path) -> None:
    one, other = (load_file(folder / "model.safetensors") for folder in (run, whole))
    assert all(one[key].equal(other[key]) for key in one)
    logged = [
        [
            (entry["step"], entry.get("losses"))
            for entry in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
            if entry["kind"] == "train"
        ]
        for folder in (run, whole)
    ]
    assert logged[0] == logged[1]


def downloaded(address: str, folder: Path) -> Path:
    for item in open_sink(address).list():
        path = folder / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(open_sink(address).read(item.name))
    return folder


def test_a_run_lies_in_the_store_whole_and_goes_on_from_there(
    pairs: Path,
    whole: Path,
    tmp_path: Path,
    s3: Proxy,
) -> None:
    address = f"s3://bucket/{uuid.uuid4().hex}"
    s3.share = 0.05
    train("pix2pix", pairs, output=address, **SHORT, max_steps=10)
    checkpoints = [name for name in names(address) if name.startswith("checkpoints/")]
    assert {"checkpoints/step-00000010.json", "checkpoints/step-00000010.pt"} <= set(checkpoints)
    assert len(checkpoints) == 4, "the newest two of those that came to be uploaded"
    samples = ["samples/step-00000008.png", "samples/step-00000010.png"]
    files = ["config.toml", "index.html", "metrics.jsonl", "model.safetensors", "run.json"]
    assert names(address) == ["best.safetensors", *checkpoints, *files, *samples]
    with pytest.raises(TrainingError, match=r"there is something at s3://bucket/\w+ already"):
        train("pix2pix", pairs, output=address, **SHORT)
    shutil.rmtree(working_folder(address))  # as on another machine
    train(resume=address, max_steps=None)
    assert s3.failed.total() > 0
    assert_equal(downloaded(address, tmp_path / "copy"), whole)
    assert load_checkpoint(tmp_path / "copy" / "checkpoints")["progress"]["step"] == 16
    assert_equal(train(resume=tmp_path / "copy"), whole)


@pytest.mark.parametrize("store", ["az", "gs"])
def test_images_and_run_lie_in_the_other_stores(
    store: str, pairs: Path, whole: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With a share of the requests failing, on one machine and then on another."""
    proxy: Proxy = request.getfixturevalue(store)
    address = f"{store}://bucket/{uuid.uuid4().hex}"
    data = open_sink(f"{address}/data")
    for path in pairs.rglob("*.png"):
        data.commit(path.relative_to(pairs).as_posix(), path)
    proxy.share = 0.05
    train("pix2pix", data.uri, output=f"{address}/run", **SHORT, max_steps=10)
    shutil.rmtree(working_folder(f"{address}/run"))
    train(resume=f"{address}/run", max_steps=None)
    assert proxy.failed.total() > 0
    assert_equal(downloaded(f"{address}/run", tmp_path / "copy"), whole)


def test_a_checkpoint_whose_last_object_is_missing_does_not_count(
    pairs: Path, whole: Path, address: str, tmp_path: Path
) -> None:
    train("pix2pix", pairs, output=address, **SHORT, max_steps=10, keep_checkpoints=3)
    sink = open_sink(address)
    sink.delete("checkpoints/step-00000010.json")
    sink.commit("checkpoints/step-00000010.pt", b"half")
    shutil.rmtree(working_folder(address))
    said = train(resume=address, max_steps=None)
    assert_equal(said, whole)
    sink.commit("checkpoints/step-00000016.pt", b"damaged")
    shutil.rmtree(working_folder(address))
    with pytest.raises(StorageError, match=r"step-00000016.pt is damaged: delete it and the .json beside it"):
        train(resume=address)


def test_a_store_that_takes_nothing_ends_the_training_and_nothing_is_lost(
    pairs: Path,
    whole: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commit = ObjectPlace.commit
    monkeypatch.setattr(remote, "_PAUSE", 0.01)

    def full(self: ObjectPlace, name: str, data: Any) -> Item:
        if "00000008" in name or "00000009" in name:
            raise StorageError(f"{name} was not written (the bucket is full)")
        return commit(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPlace, "commit", full)
        with pytest.raises(
            TrainingError, match=rf"could not be kept at {address} .*the bucket is full.* --resume"
        ):
            train("pix2pix", pairs, output=address, **SHORT)
    assert "the bucket is full); trying again" in capsys.readouterr().err
    assert max(name for name in names(address) if name.endswith(".pt")) < "checkpoints/step-00000008"
    newest = load_checkpoint(working_folder(address) / "checkpoints")["progress"]["step"]
    assert newest >= 8
    sink = open_sink(address)
    kept = {item.name: sink.read(item.name) for item in list(sink.list())}
    for name in kept:
        sink.delete(name)
    with pytest.raises(TrainingError, match=rf"an earlier run could not be kept at {address} and lies in"):
        train("pix2pix", pairs, output=address, **SHORT)
    for name, content in kept.items():
        sink.commit(name, content)
    assert_equal(train(resume=address), whole)
    assert not (working_folder(address) / "unsent").exists()
    assert "checkpoints/step-00000016.json" in names(address)


def test_a_store_that_has_taken_nothing_at_all_leaves_the_local_copy_to_go_on_from(
    pairs: Path, whole: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ObjectPlace, name: str, data: Any) -> Item:
        raise StorageError(f"{name} may not be written")

    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    monkeypatch.setattr(ObjectPlace, "commit", refuse)
    folder = working_folder(address)
    with pytest.raises(TrainingError, match=rf"could not be kept at {address} .* --resume {folder}$"):
        train("pix2pix", pairs, output=address, **SHORT)
    assert_equal(train(resume=folder), whole)


def test_what_a_run_ended_with_and_the_store_did_not_take_is_written_by_a_resume(
    pairs: Path, whole: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = ObjectPlace.commit

    def full(self: ObjectPlace, name: str, data: Any) -> Item:
        if "00000016" in name:
            raise StorageError(f"{name} was not written (the bucket is full)")
        return commit(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectPlace, "commit", full)
        with pytest.raises(TrainingError, match=r"could not be kept at .* go on from it, .* --resume"):
            train("pix2pix", pairs, output=address, **SHORT)
    train(resume=address)
    assert "checkpoints/step-00000016.json" in names(address)
    assert not (working_folder(address) / "unsent").exists()
    assert_equal(downloaded(address, tmp_path / "copy"), whole)


def test_a_run_that_ends_over_a_loss_says_so_in_the_store(
    pairs: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = Pix2Pix.step, iter(range(100))

    def fail(self: Pix2Pix, *batches: Any) -> Any:
        losses = step(self, *batches)
        return losses if next(steps) < 6 else {name: loss * float("nan") for name, loss in losses.items()}

    monkeypatch.setattr(Pix2Pix, "step", fail)
    with pytest.raises(TrainingError, match="is nan at step 7"):
        train("pix2pix", pairs, output=address, **SHORT)
    sink, folder = open_sink(address), working_folder(address)
    assert b'"kind": "failure"' in sink.read("metrics.jsonl")
    assert sink.read("index.html") == (folder / "index.html").read_bytes()


def test_a_run_whose_local_copy_is_another_ones_is_held_while_it_is_brought_here(
    pairs: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("pix2pix", pairs, output=address, **SHORT, max_steps=2)
    folder, seen = working_folder(address), []
    (folder / "run.json").write_text("another")
    step = Pix2Pix.step

    def look(self: Pix2Pix, *batches: Any) -> Any:
        with held(folder) as free:
            seen.append(free)
        return step(self, *batches)

    monkeypatch.setattr(Pix2Pix, "step", look)
    train(resume=address, max_steps=3)
    assert seen == [False]


def test_a_full_disk_here_names_the_run_in_the_store(
    pairs: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Pix2Pix, *batches: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Pix2Pix, "step", full)
    with pytest.raises(TrainingError, match=rf"the disk that holds .* is full: .* --resume {address}$"):
        train("pix2pix", pairs, output=address, **SHORT)


def test_a_new_run_at_an_old_address_takes_nothing_of_the_old_one(pairs: Path, address: str) -> None:
    train("pix2pix", pairs, output=address, **SHORT, max_steps=5)
    sink = open_sink(address)
    for item in list(sink.list()):
        sink.delete(item.name)
    train("pix2pix", pairs, output=address, autoresume=True, **SHORT, max_steps=3)
    folder = working_folder(address)
    assert load_checkpoint(folder / "checkpoints")["progress"]["step"] == 3
    assert train("pix2pix", pairs, output=address, autoresume=True, **SHORT, max_steps=4) == folder
    assert load_checkpoint(folder / "checkpoints")["progress"]["step"] == 4


def test_a_refused_run_leaves_nothing_in_the_store(pairs: Path, address: str) -> None:
    with pytest.raises(Exception, match="multiples of 32"):
        train("pix2pix", pairs, output=address, **{**SHORT, "crop_size": 33})
    assert names(address) == []
    assert not (working_folder(address) / "config.toml").exists()
