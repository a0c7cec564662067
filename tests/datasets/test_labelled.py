from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translatekit.datasets.labelled import Labelled
from translatekit.datasets.layouts import MissingSplitError
from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB
from translatekit.interfaces import DataOptions


def write(path: Path, value: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (value, 255 - value, 128)).convert(mode).save(path)


def make(root: Path, own: dict[str, Any] | None = None, **options: Any) -> Labelled:
    return Labelled(
        root, DataOptions(**{"load_size": 32, "crop_size": 32, "flip": False, **options}), **(own or {})
    )


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 10), ("t10k", 5)):
        images, labels = rng.integers(1, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 5
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


@pytest.mark.parametrize("below", ["", "train"])
def test_class_folders_in_the_order_of_their_names(tmp_path: Path, below: str) -> None:
    for name, value in (("dog", 10), ("cat", 20), ("emu", 30)):
        write(tmp_path / below / name / "x.png", value)
    dataset = make(tmp_path)
    assert dataset.class_names == ("cat", "dog", "emu")
    assert [dataset[index]["label"] for index in range(3)] == [0, 1, 2]
    reds = [round((dataset[index]["image"][0, 0, 0].item() + 1) * 127.5) for index in range(3)]
    assert reds == [20, 10, 30]


def test_labels_of_validation_are_those_of_training(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "train" / name / "x.png", 0)
    write(tmp_path / "val" / "c" / "x.png", 0)
    dataset = make(tmp_path, split="val")
    assert dataset.class_names == ("a", "b", "c")
    assert [dataset[index]["label"] for index in range(len(dataset))] == [2]
    write(tmp_path / "val" / "new" / "x.png", 0)
    with pytest.raises(DataError, match=r"classes that .*train lacks \(new\)"):
        make(tmp_path, split="val")


def test_the_disk_cache_follows_classes_that_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"

    def labels() -> dict[str, int]:
        dataset = make(data, cache="disk")
        return {item["name"]: item["label"] for item in (dataset[index] for index in range(len(dataset)))}

    for name in ("cats", "dogs"):
        write(data / "train" / name / f"{name}.png", 50)
    assert labels() == labels() == {"cats": 0, "dogs": 1}
    write(data / "train" / "ants" / "ants.png", 50)
    assert labels() == {"ants": 0, "cats": 1, "dogs": 2}


def test_channels_follow_the_images_unless_told(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.png", 0, "L")
    assert make(tmp_path).specs == {"image": GRAY}
    write(tmp_path / "a" / "y.png", 0)
    assert make(tmp_path).specs == {"image": RGB}
    assert make(tmp_path, {"channels": 1})[0]["image"].shape == (1, 32, 32)


def test_idx_images_are_padded_to_a_little_more_and_resized_to_much_more(mnist: Path) -> None:
    dataset = make(mnist)
    assert (len(dataset), dataset.specs, dataset.class_names) == (10, {"image": GRAY}, tuple("01234"))
    item = dataset[7]
    assert (item["label"], item["name"], item["image"].shape) == (2, "train-00007", (1, 32, 32))
    assert (item["image"][:, :2] == -1).all()
    assert (item["image"][:, 2:30, 2:30] > -1).all()
    assert make(mnist, load_size=64, crop_size=64)[0]["image"][:, 0].max() > -1
    assert make(mnist, {"channels": 3}, load_size=None, crop_size=28)[0]["image"].shape == (3, 28, 28)
    with pytest.raises(DataError, match="28x28 pixels, smaller than the crop of 32"):
        make(mnist, load_size=None)


def test_t10k_is_for_validation(mnist: Path) -> None:
    assert len(make(mnist, split="val")) == len(make(mnist, split="test")) == 5
    for path in mnist.glob("t10k*"):
        path.unlink()
    with pytest.raises(MissingSplitError):
        make(mnist, split="val")


def test_damaged_idx_files_are_named(mnist: Path) -> None:
    images, labels = mnist / "train-images-idx3-ubyte.gz", mnist / "train-labels-idx1-ubyte"
    whole = images.read_bytes()
    for content in (
        whole[:100],
        b"",
        b"not gzip",
        gzip.compress(b"\0\0\x08"),
        gzip.compress(idx(np.zeros((2, 2), np.uint8))),
        gzip.compress(idx(np.zeros((9, 28, 28), np.uint8))[:-5]),
    ):
        images.write_bytes(content)
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged or no idx file \(.+\)"):
            make(mnist)
    images.write_bytes(whole)
    labels.write_bytes(idx(np.zeros(9, np.uint8)))
    with pytest.raises(DataError, match="10 images but 9 labels"):
        make(mnist)
    labels.unlink()
    with pytest.raises(DataError, match="has no train-labels-idx1-ubyte"):
        make(mnist)


def test_mnist(data_dir: Path, tmp_path: Path) -> None:
    train = make(data_dir / "mnist")
    assert (len(train), len(train.class_names)) == (60_000, 10)
    assert [train[index]["label"] for index in range(5)] == [5, 0, 4, 1, 9]
    # A digit is bright strokes on a dark ground.
    assert -0.9 < torch.stack([train[index]["image"] for index in range(50)]).mean() < -0.6
    for path in (data_dir / "mnist").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    broken = tmp_path / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:-1000])
    with pytest.raises(DataError, match="t10k-images"):
        make(tmp_path, split="val")
