from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from translatekit.datasets.unaligned import Unaligned
from translatekit.errors import DataError
from translatekit.interfaces import DataOptions


def write(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)).save(path)


def make(root: Path, **options: Any) -> Unaligned:
    return Unaligned(root, DataOptions(**{"load_size": 20, "crop_size": 16, **options}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder, count in (("trainA", 3), ("trainB", 7), ("testA", 2), ("testB", 5)):
        for index in range(count):
            write(tmp_path / folder / f"{folder[-1]}{index}.png", index)
    return tmp_path


def test_an_epoch_is_as_long_as_the_larger_set(root: Path) -> None:
    dataset = make(root)
    assert len(dataset) == 7
    assert [dataset[index]["name_A"] for index in range(7)] == ["A0", "A1", "A2", "A0", "A1", "A2", "A0"]


def test_partners_change_from_epoch_to_epoch_and_all_get_their_turn(root: Path) -> None:
    dataset = make(root)
    partners = []
    for epoch in range(30):
        dataset.set_epoch(epoch)
        partners.append(dataset[0]["name_B"])
    assert set(partners) == {f"B{index}" for index in range(7)}


def test_validation_pairs_by_number(root: Path) -> None:
    dataset = make(root, split="val")
    names = [(dataset[index]["name_A"], dataset[index]["name_B"]) for index in range(len(dataset))]
    assert names == [("A0", "B0"), ("A1", "B1"), ("A0", "B2"), ("A1", "B3"), ("A0", "B4")]


def test_each_side_is_cropped_by_itself(root: Path) -> None:
    for index in range(7):  # A and B have the same pictures under the same numbers
        write(root / "trainB" / f"B{index}.png", 0)
    dataset = make(root)
    differ = []
    for epoch in range(20):
        dataset.set_epoch(epoch)
        item = dataset[0]
        differ.append(not np.array_equal(item["A"], item["B"]))
    assert sum(differ) > 10


def test_an_empty_side_is_named(root: Path) -> None:
    for path in (root / "trainB").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="trainB holds no images"):
        make(root)


def test_monet(data_dir: Path) -> None:
    assert len(make(data_dir / "monet2photo")) == 300
    assert len(make(data_dir / "monet2photo", split="val")) == 60


def test_pairs_are_recognized(tmp_path: Path, root: Path) -> None:
    assert make(root).remarks == []
    for folder in ("A", "B"):
        write(tmp_path / "named" / folder / "1.png", 0)
    (remark,) = make(tmp_path / "named").remarks
    assert "files of equal names" in remark
    pair = np.concatenate([np.zeros((24, 24, 3), np.uint8), np.full((24, 24, 3), 255, np.uint8)], axis=1)
    (tmp_path / "joined" / "train").mkdir(parents=True)
    Image.fromarray(pair).save(tmp_path / "joined" / "train" / "1.png")
    with pytest.raises(DataError, match=r"holds pairs side by side: train a method for pairs on them"):
        make(tmp_path / "joined")
    for folder in ("horses", "zebras"):
        write(tmp_path / "sets" / folder / "1.png", 0)
    with pytest.raises(DataError, match="has the folders horses and zebras, not A and B"):
        make(tmp_path / "sets")
