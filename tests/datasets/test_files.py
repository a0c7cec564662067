"""What all datasets of image files have in common."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from translatekit.datasets import make_dataset
from translatekit.datasets.layouts import MissingSplitError
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import GRAY
from translatekit.images import UnreadableImageError
from translatekit.interfaces import DataOptions

SMALL = {"load_size": 20, "crop_size": 16}
FILE_DATASETS = ("aligned", "unaligned", "labelled", "colorization", "single")


def write(path: Path, width: int = 24, height: int = 24, seed: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def make(name: str, root: Path | None, own: dict[str, Any] | None = None, **options: Any) -> Any:
    return make_dataset(name, root, DataOptions(**{**SMALL, **options}), own)


@pytest.fixture
def every(tmp_path: Path) -> Path:
    """A folder that every dataset of files can read: pairs, two sets, classes, single images, in two splits."""
    for split, count in (("train", 6), ("val", 3)):
        for index in range(count):
            for side in "AB":
                seed = index + 100 * (side == "B") + 1000 * (split == "val")
                write(tmp_path / split / side / f"{index}.png", seed=seed)
    return tmp_path


def tensors(item: dict[str, Any]) -> list[torch.Tensor]:
    return [value for value in item.values() if isinstance(value, torch.Tensor)]


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key] for key in a
    )


@pytest.mark.parametrize("name", FILE_DATASETS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_items_are_crops_in_the_range_of_networks(every: Path, name: str, split: str) -> None:
    dataset = make(name, every, split=split)
    for index in range(len(dataset)):
        item = dataset[index]
        for key, channels in ((key, spec.network_channels) for key, spec in dataset.specs.items()):
            assert item[key].shape == (channels, 16, 16)
            assert item[key].dtype == torch.float32
            assert -1.0 <= item[key].min() < item[key].max() <= 1.0
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("name", [*FILE_DATASETS, "demo"])
def test_an_item_depends_on_seed_epoch_and_index_alone(every: Path, name: str) -> None:
    own = {"count": 4} if name == "demo" else {}
    root = None if name == "demo" else every
    one, other = make(name, root, own, seed=5), make(name, root, own, seed=5)
    for dataset, order in ((one, range(len(one))), (other, reversed(range(len(other))))):
        dataset.set_epoch(3)
        torch.manual_seed(len(str(order)))  # global random numbers are of no account
        np.random.seed(len(str(order)))
        dataset.seen = {index: dataset[index] for index in order}
    assert all(equal(one.seen[index], other.seen[index]) for index in one.seen)

    one.set_epoch(4)
    assert not all(equal(one[index], other.seen[index]) for index in one.seen)
    one.set_epoch(3)
    assert all(equal(one[index], other.seen[index]) for index in one.seen)
    other = make(name, root, own, seed=6)
    other.set_epoch(3)
    assert not all(equal(one.seen[index], other[index]) for index in one.seen)


@pytest.mark.parametrize("name", FILE_DATASETS)
def test_validation_is_the_same_in_every_epoch(every: Path, name: str) -> None:
    dataset = make(name, every, split="val")
    first = [dataset[index] for index in range(len(dataset))]
    dataset.set_epoch(9)
    assert all(equal(dataset[index], item) for index, item in enumerate(first))


@pytest.mark.parametrize("name", FILE_DATASETS)
@pytest.mark.parametrize("load_size", [20, None])
def test_the_cache_changes_nothing(every: Path, name: str, load_size: int | None) -> None:
    plain, cached = (make(name, every, load_size=load_size, cache=cache) for cache in ("none", "memory"))
    shutil.rmtree(every)  # the cache needs no files any more; the other does
    assert len(plain) == len(cached)
    with pytest.raises(DataError):
        plain[0]
    assert tensors(cached[0])


@pytest.mark.parametrize("name", FILE_DATASETS)
def test_cached_items_equal_those_read_anew(every: Path, name: str) -> None:
    plain, cached = (make(name, every, cache=cache) for cache in ("none", "memory"))
    assert all(equal(plain[index], cached[index]) for index in range(len(plain)))


@pytest.mark.parametrize("name", ["aligned", "labelled"])
def test_workers_give_what_one_process_gives(every: Path, name: str) -> None:
    dataset = make(name, every, cache="memory")
    one, two = (list(DataLoader(dataset, batch_size=None, num_workers=workers)) for workers in (0, 2))
    assert len(one) == len(two)
    assert all(equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", [*FILE_DATASETS, "demo"])
def test_datasets_can_be_sent_to_spawned_workers(every: Path, name: str) -> None:
    dataset = make(name, None if name == "demo" else every)
    assert equal(pickle.loads(pickle.dumps(dataset))[1], dataset[1])


def test_flips_come_half_the_time_and_not_when_off(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 16, (16, 1))
    (tmp_path / "train").mkdir()
    Image.fromarray(ramp).save(tmp_path / "train" / "ramp.png")
    flips = []
    for flip in (True, False):
        dataset = make("single", tmp_path, load_size=16, crop_size=16, flip=flip)
        flips.append(0)
        for epoch in range(200):
            dataset.set_epoch(epoch)
            image = dataset[0]["input"][0]
            flips[-1] += int(image[0, 0] > image[0, -1])
    assert 70 < flips[0] < 130
    assert flips[1] == 0


def test_crops_reach_every_corner(tmp_path: Path) -> None:
    y, x = np.mgrid[0:6, 0:6]
    Image.fromarray((y * 6 + x).astype(np.uint8)).save(write(tmp_path / "train" / "a.png"))
    dataset = make("single", tmp_path, load_size=6, crop_size=4, flip=False)
    corners = set()
    for epoch in range(200):
        dataset.set_epoch(epoch)
        corners.add(round((dataset[0]["input"][0, 0, 0].item() + 1) * 127.5))
    assert corners == {y * 6 + x for y in range(3) for x in range(3)}


# Unreadable files


@pytest.mark.parametrize("cache", ["none", "memory"])
@pytest.mark.parametrize("name", FILE_DATASETS)
def test_unreadable_files_are_named_and_skipped(every: Path, name: str, cache: str) -> None:
    bad = every / "train" / "B" / "2.png"
    bad.write_bytes(b"no image at all")
    dataset = make(name, every, cache=cache)
    assert [path for path, _ in dataset.skipped] == [bad]
    assert str(bad) in dataset.skipped[0][1]
    assert all(tensors(dataset[index]) for index in range(len(dataset)))
    with pytest.raises(UnreadableImageError, match=r"2\.png"):
        make(name, every, cache=cache, strict=True)


def test_a_file_damaged_past_its_header_is_replaced_by_the_next(every: Path) -> None:
    bad = every / "train" / "A" / "2.png"
    bad.write_bytes(bad.read_bytes()[:200])
    dataset = make("aligned", every)
    assert dataset.skipped == []
    assert dataset[2]["name"] == "3"
    assert dataset[2]["name"] == "3"
    assert [path for path, _ in dataset.skipped] == [bad]
    strict = make("aligned", every, strict=True)
    with pytest.raises(UnreadableImageError, match=r"2\.png"):
        strict[2]
    cached = make("aligned", every, cache="memory")
    assert len(cached) == 5
    assert [path for path, _ in cached.skipped] == [bad]


def test_a_folder_of_hostile_files_trains_on_what_can_be_read(data_dir: Path) -> None:
    plain, cached = (make("single", data_dir / "hostile_images", cache=cache) for cache in ("none", "memory"))
    assert len(cached) == 2
    for dataset in (plain, cached):
        for index in range(len(dataset)):
            assert dataset[index]["input"].shape == (3, 16, 16)
        assert len(dataset.skipped) == len(list((data_dir / "hostile_images").iterdir())) - 2
    assert set(plain.skipped) == set(cached.skipped)


def test_a_folder_of_unreadable_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"none of 1 images can be read.*a\.png"):
        make("single", tmp_path)


# Folders


@pytest.mark.parametrize("name", FILE_DATASETS)
def test_folders_that_will_not_do_are_explained(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"dataset '{name}' needs a folder"):
        make(name, None)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        make(name, tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        make(name, tmp_path / "file")
    with pytest.raises(DataError, match=r"holds no images|has no folders"):
        make(name, tmp_path)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"holds no images|has no folders"):
        make(name, tmp_path)


@pytest.mark.parametrize("name", FILE_DATASETS)
def test_test_stands_in_for_val_and_nothing_for_test(every: Path, name: str) -> None:
    with pytest.raises(MissingSplitError, match="no test images"):
        make(name, every, split="test")
    (every / "val").rename(every / "test")
    assert len(make(name, every, split="val")) == len(make(name, every, split="test"))
    shutil.rmtree(every / "test")
    with pytest.raises(MissingSplitError, match="no val or test images"):
        make(name, every, split="val")


@pytest.mark.parametrize("name", ["single", "colorization"])
def test_images_in_the_folder_itself_are_for_training(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "deeper" / "b.jpg")
    write(tmp_path / ".hidden" / "c.png")
    (tmp_path / "notes.txt").touch()
    assert len(make(name, tmp_path)) == 2
    with pytest.raises(MissingSplitError):
        make(name, tmp_path, split="val")


def test_images_smaller_than_the_crop_are_named_with_the_remedy(every: Path) -> None:
    small = write(every / "train" / "A" / "9.png", 10, 30)
    with pytest.raises(DataError, match=r"1 of 13 images .* 16x16 .*9\.png \(10x30\)\): pass --load-size 16"):
        make("single", every, load_size=None)
    assert len(make("single", every)) == 13
    small.unlink()
    assert make("single", every, load_size=None)[0]["input"].shape == (3, 16, 16)


def test_sizes_that_cannot_be_are_refused(every: Path) -> None:
    with pytest.raises(OptionError, match="load_size 8 is smaller than crop_size 16: pass --load-size 16"):
        make("single", every, load_size=8)
    with pytest.raises(OptionError, match="crop_size must be at least 1, got 0"):
        make("single", every, crop_size=0)


def test_own_options_are_checked_by_name_and_type(every: Path) -> None:
    assert make("single", every, {"channels": "1"}).specs == {"input": GRAY, "target": GRAY}
    with pytest.raises(OptionError, match="no option 'chanels': did you mean 'channels'"):
        make("single", every, {"chanels": "1"})
    with pytest.raises(OptionError, match="must be a whole number from 1 to 65536, or none, got '0'"):
        make("single", every, {"channels": "0"})
    with pytest.raises(OptionError, match="no option 'root'"):
        make("single", every, {"root": "x"})


def test_every_kind_of_real_image_can_be_trained_on(data_dir: Path) -> None:
    dataset = make("single", data_dir / "images")
    assert len(dataset) == 41
    assert all(dataset[index]["input"].shape == (3, 16, 16) for index in range(41))
    assert dataset.skipped == []
