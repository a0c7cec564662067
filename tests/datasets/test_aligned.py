from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translatekit.datasets.aligned import Aligned
from translatekit.datasets.layouts import MissingSplitError
from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB
from translatekit.interfaces import DataOptions


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def noise(width: int = 24, height: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def make(root: Path, own: dict[str, Any] | None = None, **options: Any) -> Aligned:
    return Aligned(root, DataOptions(**{"load_size": 20, "crop_size": 16, **options}), **(own or {}))


def write_pairs(folder_a: Path, folder_b: Path, count: int = 3) -> None:
    """B is the negative of A."""
    for index in range(count):
        pixels = noise(seed=index)
        write(folder_a / f"{index}.png", pixels)
        write(folder_b / f"{index}.bmp", 255 - pixels)


@pytest.mark.parametrize("load_size", [20, None])
def test_both_sides_get_the_same_geometry(tmp_path: Path, load_size: int | None) -> None:
    pixels = noise()
    write(tmp_path / "train" / "pair.png", np.concatenate([pixels, 255 - pixels], axis=1))
    dataset = make(tmp_path, load_size=load_size)
    seen = set()
    for epoch in range(20):
        dataset.set_epoch(epoch)
        item = dataset[0]
        torch.testing.assert_close(item["input"], -item["target"], rtol=0, atol=2 / 127.5)
        seen.add(item["input"].numpy().tobytes())
    assert len(seen) > 10


def test_the_left_half_is_a_and_direction_chooses_the_input(tmp_path: Path) -> None:
    pixels = np.concatenate([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)], axis=1)
    write(tmp_path / "train" / "pair.png", pixels)
    for direction, value in (("AtoB", -1.0), ("BtoA", 1.0)):
        item = make(tmp_path, direction=direction)[0]
        assert item["input"].unique().tolist() == [value]
        assert item["target"].unique().tolist() == [-value]


@pytest.mark.parametrize(
    ("a", "b"), [("train/A", "train/B"), ("A/train", "B/train"), ("trainA", "trainB"), ("A", "B")]
)
def test_two_folders_are_matched_by_name(tmp_path: Path, a: str, b: str) -> None:
    write_pairs(tmp_path / a, tmp_path / b)
    dataset = make(tmp_path)
    assert [dataset[index]["name"] for index in range(len(dataset))] == ["0", "1", "2"]
    for index in range(3):
        item = dataset[index]
        torch.testing.assert_close(item["input"], -item["target"], rtol=0, atol=2 / 127.5)
    with pytest.raises(MissingSplitError):
        make(tmp_path, split="val")


def test_files_without_partner_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path / "A", tmp_path / "B", 8)
    (tmp_path / "A" / "3.png").unlink()
    with pytest.raises(DataError, match=r"1 of 15 files lacks a partner .*B/3\.bmp\)"):
        make(tmp_path)
    for index in (0, 1, 2, 4, 5, 6):
        (tmp_path / "B" / f"{index}.bmp").unlink()
    with pytest.raises(DataError, match=r"7 of 9 files lack .*A/0\.png, .* and 2 more\)"):
        make(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "A", tmp_path / "B")
    write(tmp_path / "A" / "1.bmp", noise())
    with pytest.raises(DataError, match=r"1\.bmp and .*1\.png have one name"):
        make(tmp_path)


def test_sides_of_different_size_need_a_load_size(tmp_path: Path) -> None:
    write_pairs(tmp_path / "A", tmp_path / "B")
    write(tmp_path / "B" / "1.bmp", noise(30, 20))
    assert make(tmp_path)[1]["input"].shape == make(tmp_path)[1]["target"].shape
    for cache in ("none", "memory"):
        with pytest.raises(DataError, match=r"1\.png and .*1\.bmp are not of one size \(24x24 and 30x20\)"):
            make(tmp_path, load_size=None, cache=cache)


def test_single_images_are_not_cut_into_halves_unasked(tmp_path: Path) -> None:
    write(tmp_path / "a.png", noise())
    with pytest.raises(DataError, match=r"do not look like pairs .*a\.png is 24x24"):
        make(tmp_path)
    assert len(make(tmp_path, {"layout": "side_by_side"})) == 1


def test_wide_photographs_are_told_from_pairs_by_their_middle(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 96).astype(np.uint8)[None, :, None].repeat(72, 0).repeat(3, 2)
    for number in range(3):
        write(tmp_path / "single" / f"{number}.png", smooth)
        write(tmp_path / "pairs" / f"{number}.png", np.roll(smooth, 48, 1))
    with pytest.raises(DataError, match=r"do not look like pairs .*is 96x72.*prepare pairs.*cyclegan"):
        make(tmp_path / "single")
    assert len(make(tmp_path / "pairs")) == 3


def test_two_folders_of_other_names_lead_to_prepare_pairs(tmp_path: Path) -> None:
    for folder in ("labels", "photos"):
        write(tmp_path / "data" / folder / "1.png", noise(48))
    with pytest.raises(
        DataError, match=r"has the folders labels and photos.*prepare pairs .*labels .*photos"
    ):
        make(tmp_path / "data")
    for folder in ("A", "B"):
        write(tmp_path / "named" / folder / f"{folder}-1.png", noise())
    with pytest.raises(DataError, match=r"share no file name.*'A-1'.*'B-1'.*prepare pairs.*cyclegan"):
        make(tmp_path / "named")


def test_train_and_test_are_no_sides(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        write(tmp_path / folder / "1.png", noise(48))
    assert len(make(tmp_path)) == len(make(tmp_path, split="val")) == 1


def test_folders_can_be_insisted_on(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.png", noise(48))
    with pytest.raises(DataError, match="has no folders train/A and train/B"):
        make(tmp_path, {"layout": "folders"})


def test_each_side_can_be_gray(tmp_path: Path) -> None:
    write(tmp_path / "a.png", noise(48))
    dataset = make(tmp_path, {"in_channels": 1})
    assert dataset.specs == {"input": GRAY, "target": RGB}
    assert (dataset[0]["input"].shape[0], dataset[0]["target"].shape[0]) == (1, 3)
    assert make(tmp_path, {"in_channels": 1, "out_channels": 1}).specs["target"] == GRAY


def test_validation_is_resized_not_cropped(tmp_path: Path) -> None:
    write(tmp_path / "val" / "a.png", np.concatenate([noise(16, 16), noise(16, 16, 1)], axis=1))
    item = make(tmp_path, split="val")[0]
    expected = noise(16, 16).transpose(2, 0, 1)
    np.testing.assert_allclose((item["input"].numpy() + 1) * 127.5, expected, atol=1e-4)


def test_facades(data_dir: Path) -> None:
    train, val = (make(data_dir / "facades", split=split, direction="BtoA") for split in ("train", "val"))
    assert (len(train), len(val)) == (400, 100)
    # Label maps are of few, strong colours: the right half, which BtoA makes the input.
    assert val[0]["input"].std() > val[0]["target"].std()
    assert len(make(data_dir / "facades_native", split="val")) == 15
