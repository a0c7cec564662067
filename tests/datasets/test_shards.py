"""Training data in shards: what is written, in which order it is read, and that it is what the folder holds."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import webdataset
from click.testing import CliRunner
from PIL import Image
from translatekit_tools.prepare.options import ShardsOptions
from translatekit_tools.prepare.output import Output
from translatekit_tools.prepare.shards import make_shards

from tests.datasets.test_files import equal, make, write
from translatekit import train
from translatekit.cli import program
from translatekit.datasets import shards as shards_module
from translatekit.datasets.layouts import MissingSplitError
from translatekit.datasets.shards import INDEX, SampleSet, Shard, ShardIndex, ShardSamples, key_of, name_of
from translatekit.errors import DataError
from translatekit.sizes import Bytes
from translatekit.storage import open_source
from translatekit.training.sampling import EpochBatches

SMALLEST = Bytes(10**6)


def shard(data: Path, out: Path, b: Path | None = None, **options: Any) -> Path:
    make_shards(data, b, out, ShardsOptions(**{"size": SMALLEST, **options}))
    return out


def by_name(dataset: Any, name: str = "name") -> dict[str, Any]:
    return {item[name]: item for item in (dataset[index] for index in range(len(dataset)))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in two folders, large enough for several shards, of which some have names with dots."""
    root = tmp_path_factory.mktemp("folder")
    for split, count in (("train", 24), ("val", 3)):
        for index in range(count):
            for side in "AB":
                name = f"town.{index % 3}/x.{index}%.png"
                write(root / split / side / name, 240, 180, seed=index + 100 * (side == "B"))
    return root


@pytest.fixture(scope="module")
def sharded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shard(folder, tmp_path_factory.mktemp("sharded") / "shards")


OPTIONS: dict[str, Any] = {"flip": False, "load_size": 20, "crop_size": 20}


@pytest.mark.parametrize("split", ["train", "val"])
def test_pairs_are_those_of_the_folder(folder: Path, sharded: Path, split: str) -> None:
    plain, dealt = (by_name(make("aligned", root, split=split, **OPTIONS)) for root in (folder, sharded))
    assert plain.keys() == dealt.keys()
    assert all(equal(plain[name], dealt[name]) for name in plain)
    data = make("aligned", sharded, split=split, **OPTIONS)
    assert equal(data[1], pickle.loads(pickle.dumps(data))[1])
    with pytest.raises(MissingSplitError):
        make("aligned", sharded, split="test")


def test_shards_are_tar_files_of_the_originals_that_webdataset_reads(folder: Path, sharded: Path) -> None:
    index = json.loads((sharded / INDEX).read_bytes())
    names = [shard["name"] for shard in index["sets"]["train"]["shards"]]
    assert len(names) > 2
    assert index["sets"]["train"]["samples"] == 24
    assert index["sets"]["train"]["smallest"] == [180, 240]
    assert index["specs"]["a"]["channels"] == ["red", "green", "blue"]
    contents = {}
    for name in names:
        with tarfile.open(sharded / name) as tar:
            for member in tar:
                key, _, extension = member.name.rpartition("/")[2].partition(".")
                folder_name = name_of(member.name.rpartition("/")[0])
                file = tar.extractfile(member)
                assert file is not None
                contents[f"{extension[0].upper()}/{folder_name}/{name_of(key)}.png"] = file.read()
        assert (sharded / name).stat().st_size <= 1.1 * SMALLEST
    originals = {
        path.relative_to(folder / "train").as_posix(): path.read_bytes()
        for path in (folder / "train").rglob("*.png")
    }
    assert contents == originals
    samples = list(webdataset.WebDataset([str(sharded / name) for name in names], shardshuffle=False))
    assert len(samples) == 24
    assert all({"a.png", "b.png"} <= sample.keys() for sample in samples)


def test_names_become_keys_and_come_back() -> None:
    for name in ("a", "a.b/c.d", "50%/x%2E.y", ".."):
        assert "." not in key_of(name)
        assert name_of(key_of(name)) == name


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("unaligned", "unpaired"), ("labelled", "labelled"), ("single", "images"), ("colorization", "images")],
)
def test_every_kind_of_data_is_what_the_folder_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, cache: str
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    for split, count in (("train", 5), ("test", 2)):
        for index in range(count):
            for side in "AB":
                write(
                    tmp_path / "data" / split / side / f"{side}{index}.png", seed=index + 10 * (side == "B")
                )
    root = tmp_path / "data" / "train" if kind == "images" else tmp_path / "data"
    out = shard(root, tmp_path / "out", kind=kind)
    for split in ("train",) if kind == "images" else ("train", "val"):
        plain = make(name, root, split=split, **OPTIONS)
        dealt = make(name, out, split=split, cache=cache, **OPTIONS)
        assert len(plain) == len(dealt)
        assert plain.class_names == dealt.class_names
        for _ in range(2):  # the second time from the cache
            if name != "unaligned":
                ours, theirs = by_name(dealt), by_name(plain)
                assert ours.keys() == theirs.keys()
                assert all(equal(ours[found], theirs[found]) for found in ours)
                continue
            for side in "AB":  # of B, some are drawn
                ours, theirs = by_name(dealt, f"name_{side}"), by_name(plain, f"name_{side}")
                both = ours.keys() & theirs.keys()
                assert len(both) == len(theirs) if side == "A" else both
                assert all(torch.equal(ours[found][side], theirs[found][side]) for found in both)


def test_numbers_of_any_kind_stay_what_they_are(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(4):
        for side in "AB":
            path = tmp_path / "data" / side / f"{index}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if side == "A":
                np.save(path.with_suffix(".npy"), random.normal(0, 900, (24, 24, 5)).astype(np.float32))
            else:
                Image.fromarray(random.integers(0, 5, (24, 24), np.uint8)).save(path.with_suffix(".png"))
    out = shard(tmp_path / "data", tmp_path / "out")
    given = {**OPTIONS, "load_size": None, "crop_size": 24, "range": "A=data", "labels": "B=data"}
    plain, dealt = (make("aligned", root, **given) for root in (tmp_path / "data", out))
    assert plain.specs == dealt.specs
    assert plain.specs["input"].count == 5
    first, second = by_name(plain), by_name(dealt)
    assert all(equal(first[name], second[name]) for name in first)


def test_side_by_side_pairs_are_recognized_and_single_images_refused(tmp_path: Path) -> None:
    write(tmp_path / "pairs" / "1.png", 48, 24)
    write(tmp_path / "photos" / "1.png", 24, 24)
    assert len(make("aligned", shard(tmp_path / "pairs", tmp_path / "a"))) == 1
    photos = shard(tmp_path / "photos", tmp_path / "b")
    with pytest.raises(DataError, match=r"do not look like pairs side by side"):
        make("aligned", photos)
    with pytest.raises(
        DataError, match="holds images of which each is a file, and the dataset 'unaligned' wants two sets"
    ):
        make("unaligned", photos)


def test_images_too_small_for_the_crop_are_refused_at_the_start(sharded: Path) -> None:
    with pytest.raises(DataError, match=r"down to 240x180\): pass --load-size 200 to enlarge them"):
        make("aligned", sharded, load_size=None, crop_size=200)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    for index in range(3):
        write(tmp_path / "data" / f"{index}.png", 48, 24, seed=index)
    (tmp_path / "data" / "bad.png").write_bytes(b"no image")
    write(tmp_path / "data" / "2.jpg", 48, 24)
    summary = make_shards(tmp_path / "data", None, tmp_path / "out", ShardsOptions())
    assert {path.name for path, _ in summary.failed} == {"2.jpg", "2.png", "bad.png"}
    assert len(make("single", tmp_path / "out")) == 2


def test_a_rerun_writes_only_what_is_missing_and_nothing_of_others(folder: Path, tmp_path: Path) -> None:
    out = shard(folder, tmp_path / "out")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    lost = out / "train-000001.tar"
    lost.unlink()
    summary = make_shards(folder, None, out, ShardsOptions(size=SMALLEST))
    assert summary.written == [lost]
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    changed = {path for path in before if before[path] != after[path] and not path.name.startswith(".")}
    assert changed == {lost}
    assert before[lost][0] == after[lost][0], "the same files give the same shard"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / INDEX).write_text("mine")
    with pytest.raises(DataError, match="exists already: pass --force"):
        shard(folder, tmp_path / "other")
    assert (tmp_path / "other" / INDEX).read_text() == "mine"


def test_a_killed_rerun_leaves_no_index_of_the_shards_that_were_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shard(folder, tmp_path / "out")
    first = (out / INDEX).read_bytes()
    write, written = Output.commit, []

    def killed(output: Output, *given: Any) -> list[Path]:
        if written:
            raise KeyboardInterrupt
        written.append(given[0])
        return write(output, *given)

    monkeypatch.setattr(Output, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        shard(folder, out, seed=5)
    monkeypatch.undo()
    assert written == ["train-000000.tar"]
    assert not (out / INDEX).exists()
    shard(folder, out)
    assert (out / INDEX).read_bytes() == first


def test_the_command_writes_shards_of_a_size(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = CliRunner().invoke(
        program, ["prepare", "shards", str(folder), "-o", str(out), "--size", "1MB", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sets"]["val"] == {"samples": 3, "shards": 1}
    assert json.loads(done.stdout)["sets"]["train"]["shards"] > 2
    refused = CliRunner().invoke(program, ["prepare", "shards", str(folder), "-o", str(out), "--size", "9TB"])
    assert refused.exit_code != 0


def test_sizes_in_bytes_are_read_as_they_are_written() -> None:
    assert [Bytes.parse(text) for text in ("256MB", "1 GiB", "2000000", 10**6)] == [
        256 * 10**6,
        2**30,
        2 * 10**6,
        10**6,
    ]
    assert str(Bytes.parse("256mb")) == "256MB"
    for text in ("", "1", "3GB", "1 TB", "-5MB", "1.5GB"):
        with pytest.raises(ValueError, match="bytes from 1MB to 2GB"):
            Bytes.parse(text)


def test_damage_is_said_in_a_sentence(sharded: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(sharded, broken)
    path = broken / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:1000] + b"\xff" * (path.stat().st_size - 1000))
    with pytest.raises(
        DataError, match=r"train-000000.tar is not the shard that shards.json was written for"
    ):
        make("aligned", broken)
    np.save(broken / "train.starts.npy", np.zeros(3, np.int64))
    with pytest.raises(DataError, match=r"speaks of 3 samples, and shards\.json of 24"):
        make("aligned", broken)
    (broken / INDEX).write_text("{}")
    with pytest.raises(DataError, match=r"shards.json cannot be understood"):
        make("aligned", broken)


def flat(parts: list[list[int]]) -> list[int]:
    return list(itertools.chain(*parts))


def many(count: int, shards: int, monkeypatch: pytest.MonkeyPatch, path: Path) -> ShardSamples:
    """Samples of so many shards that are not there, of slightly different lengths."""
    counts = np.full(shards, count // shards) + (np.arange(shards) % 7)
    names = tuple(Shard(f"{number}.tar", int(length), 10**9, "") for number, length in enumerate(counts))
    path.mkdir(exist_ok=True)
    np.save(path / "train.starts.npy", np.zeros(counts.sum(), np.int64))
    index = ShardIndex("images", (), {"train": SampleSet(names, (9, 9))}, {})
    return ShardSamples(open_source(path), "train", index)


@pytest.mark.parametrize("window", [16, 100, 10**6])
def test_an_epoch_shows_each_sample_once_whatever_the_processes(
    window: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shards_module, "WINDOW", window)
    samples = many(500, 9, monkeypatch, tmp_path)
    whole = np.concatenate(list(samples.order(3, 1, 0)))
    assert sorted(whole) == list(range(len(samples)))
    assert whole.tolist() != np.concatenate(list(samples.order(3, 2, 0))).tolist()
    for first in (0, 1, window - 1, window, 317):
        assert (
            np.concatenate([np.empty(0, int), *samples.order(3, 1, first)]).tolist() == whole[first:].tolist()
        )

    def epoch(world_size: int, seen: int) -> list[list[int]]:
        parts = []
        for rank in range(world_size):
            batches = EpochBatches(len(samples), 2, 3, rank, world_size, order=samples.order)
            batches.start(1, seen)
            parts.append([index for batch in batches for index in batch])
        return parts

    shown = flat(epoch(2, 0))
    assert sorted(shown) == sorted(whole[: len(shown)])
    begun = [part[:40] for part in epoch(4, 0)]  # 20 steps of four processes with two images each
    rest = flat(epoch(3, 160))
    assert len({*flat(begun), *rest}) == 160 + len(rest)
    assert len(samples) - 160 - len(rest) < 6


def test_memory_is_the_same_for_a_hundred_times_as_many_samples(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shards_module, "WINDOW", 2**10)
    peaks = []
    for count in (20_000, 2_000_000):
        samples = many(count, 20, monkeypatch, tmp_path)
        batches = EpochBatches(len(samples), 2, 0, order=samples.order)
        tracemalloc.start()
        for number, batch in enumerate(batches):
            assert samples[batch[0]]
            if number == 3000:
                break
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 50_000


def test_a_run_on_shards_that_was_stopped_goes_on_exactly(sharded: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from tests.training.conftest import TINY
    from tests.training.test_loop import same

    options = {**TINY, "epochs": 1, "epochs_decay": 0, "validate_every": 0, "sample_every": 100}
    whole = train("pix2pix", sharded, output=str(tmp_path / "whole"), **options)
    run = train("pix2pix", sharded, output=str(tmp_path / "run"), max_steps=10, workers=2, **options)
    train(resume=run, max_steps=None)
    assert same(load_file(whole / "model.safetensors"), load_file(run / "model.safetensors"))
