"""Training data in object stores and archives is what it is in a folder."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import tarfile
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.datasets.test_files import FILE_DATASETS, equal, every, make, write
from tests.datasets.test_shards import by_name, shard
from tests.training.conftest import TINY, draw_pairs
from tests.training.test_loop import same
from translatekit import train
from translatekit.config import RunConfig
from translatekit.datasets.layouts import MissingSplitError
from translatekit.errors import DataError, OptionError, StorageError
from translatekit.storage import open_sink

__all__ = ["every"]  # a fixture


def upload(folder: Path, uri: str) -> str:
    sink = open_sink(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sink.commit(path.relative_to(folder).as_posix(), path)
    return uri


def packed(folder: Path, archive: Path, top: str = "") -> Path:
    paths = [path for path in sorted(folder.rglob("*"), reverse=True) if path.is_file()]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in paths:
                file.write(path, top + path.relative_to(folder).as_posix())
    else:
        with tarfile.open(archive, "w") as file:
            for path in paths:
                file.add(path, top + path.relative_to(folder).as_posix())
    return archive


@pytest.mark.parametrize("archive", ["memory", ".zip", ".tar"])
@pytest.mark.parametrize("name", FILE_DATASETS)
def test_images_and_their_order_are_those_of_the_folder(
    every: Path, tmp_path_factory: pytest.TempPathFactory, name: str, archive: str
) -> None:
    if archive == "memory":
        pytest.importorskip("fsspec")
        place: Any = upload(every, f"memory://bucket/{every.parent.name}/{every.name}/{name}")
    else:
        place = packed(every, tmp_path_factory.mktemp("archive") / f"data{archive}", top="data/")
    for split in ("train", "val"):
        plain, stored = (make(name, root, split=split) for root in (every, place))
        assert len(plain) == len(stored) > 0
        assert plain.specs == stored.specs
        assert plain.class_names == stored.class_names
        assert all(equal(plain[index], stored[index]) for index in range(len(plain)))
        assert equal(plain[1], pickle.loads(pickle.dumps(stored))[1])
    with pytest.raises(MissingSplitError):
        make(name, place, split="test")


def test_two_folders_at_addresses_are_two_sides(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    for index in range(3):
        for side in ("labels", "photos"):
            write(tmp_path / side / f"{index}.png", seed=index + 10 * (side == "photos"))
    place = upload(tmp_path, f"memory://bucket/{tmp_path.name}")
    plain = make("aligned", tmp_path / "labels", {"b": str(tmp_path / "photos")})
    stored = make("aligned", f"{place}/labels", {"b": f"{place}/photos"})
    assert all(equal(plain[index], stored[index]) for index in range(3))


def test_unreadable_images_are_skipped_when_they_are_met(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "data" / f"{index}.png", 48, 24, seed=index)
    (tmp_path / "data" / "1.png").write_bytes(b"no image")
    data = make("aligned", packed(tmp_path / "data", tmp_path / "data.zip"))
    assert [data[index]["name"] for index in range(3)] == ["0", "2", "2"]
    ((path, reason),) = data.skipped
    assert str(path).startswith("zip://1.png::")
    assert "it is no image, or damaged at its start" in reason
    with pytest.raises(DataError, match=r"1\.png::.* cannot be read"):
        make("aligned", tmp_path / "data.zip", strict=True)[1]


@pytest.mark.usefixtures("s3")
def test_a_place_still_answers_when_a_reader_of_it_was_forked_and_has_ended() -> None:
    place = open_sink(f"s3://bucket/{uuid.uuid4().hex}")
    place.commit("1", b"one")

    def read() -> None:
        assert place.read("1") == b"one"
        gc.collect()

    for _ in range(3):
        reader = multiprocessing.get_context("fork").Process(target=read)
        reader.start()
        reader.join(30)
        assert reader.exitcode == 0
        since = time.monotonic()
        place.commit("2", b"two")
        assert place.read("2") == b"two"
        assert time.monotonic() - since < 20, "no request had to be given up"


@pytest.mark.usefixtures("s3")
def test_a_run_on_s3_makes_the_weights_of_one_on_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    draw_pairs(tmp_path / "data" / "train", 6)
    place = upload(tmp_path / "data", "s3://bucket/pairs")
    options = {**TINY, "epochs": 1, "epochs_decay": 0, "validate_every": 0, "sample_every": 100}
    here = train("pix2pix", tmp_path / "data", output=str(tmp_path / "here"), **options)
    there = train("pix2pix", place, output=str(tmp_path / "there"), workers=1, max_steps=4, **options)
    assert RunConfig.from_toml(there / "config.toml").data == place
    assert RunConfig.from_toml(there / "config.toml").data_name == "pairs"
    train(resume=there, max_steps=None)
    assert same(load_file(here / "model.safetensors"), load_file(there / "model.safetensors"))


def test_shards_on_s3_are_read_sample_by_sample(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    for index in range(8):
        for side in "AB":
            write(tmp_path / "data" / side / f"{index}.png", 64, 64, seed=index + 10 * (side == "B"))
    local = shard(tmp_path / "data", tmp_path / "shards")
    place = upload(local, "s3://bucket/shards")
    options: dict[str, Any] = {"flip": False, "load_size": 20, "crop_size": 20}
    plain, stored = (make("aligned", root, **options) for root in (local, place))
    s3.requests.clear()
    first, second = by_name(plain), by_name(stored)
    assert all(equal(first[name], second[name]) for name in first)
    assert s3.requests.total() == 8, "a pair is one request"
    s3.share = 0.3  # of the requests fail
    assert all(equal(first[name], item) for name, item in by_name(stored).items())
    s3.share = 0.0
    again = make("aligned", place, cache="disk", **options)
    assert all(equal(first[name], item) for name, item in by_name(again).items())
    s3.requests.clear()
    assert by_name(again).keys() == first.keys()
    assert not s3.requests, "what is kept on disk is not asked for"


@pytest.mark.usefixtures("s3")
def test_what_is_wrong_with_an_address_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"there is nothing below s3://bucket/nowhere: check the address"):
        make("aligned", "s3://bucket/nowhere")
    with pytest.raises(StorageError, match=r"s3://no-such-bucket"):
        make("aligned", "s3://no-such-bucket/data")
    with pytest.raises(OptionError, match=r"was given with a password or a signature.*leave it out"):
        RunConfig.resolve("pix2pix", "s3://key:secret@bucket/data", {})
