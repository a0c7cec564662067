"""Images of more than 8 bits keep them until the network, and label maps of class numbers are recognized."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from translatekit.datasets import make_dataset
from translatekit.datasets.remarks import find_remarks
from translatekit.datasets.transforms import to_tensor
from translatekit.images import encode_image, image_of
from translatekit.interfaces import DataOptions

FILE_DATASETS = ("aligned", "unaligned", "labelled", "colorization", "single")
SIDE = 64
TWELVE_BITS = np.arange(4096, dtype=np.uint16).reshape(SIDE, SIDE)  # in 16: the darkest sixteenth


def write_everywhere(root: Path, data: bytes) -> Path:
    """A folder that every dataset of files can read, of two equal images on each side."""
    for side in "AB":
        (root / "train" / side).mkdir(parents=True)
        for name in ("0.png", "1.png"):
            (root / "train" / side / name).write_bytes(data)
    return root


def png16(values: np.ndarray) -> bytes:
    return encode_image(image_of((values[:, :, None] / 65535).astype(np.float32)), ".png")


def images(item: dict[str, Any]) -> list[np.ndarray]:
    return [value.numpy() for value in item.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("cache", ["none", "memory"])
@pytest.mark.parametrize("name", FILE_DATASETS)
def test_every_level_of_12_bits_in_16_reaches_the_network(tmp_path: Path, name: str, cache: str) -> None:
    options = DataOptions(load_size=None, crop_size=SIDE, flip=False, cache=cache)
    dataset = make_dataset(name, write_everywhere(tmp_path, png16(TWELVE_BITS)), options)
    for image in images(dataset[0]):
        if name == "colorization":
            assert np.unique(image).size > 3900  # luma of float32, whose neighbours may round alike
            continue
        wanted = np.broadcast_to(TWELVE_BITS / 65535 * 2 - 1, image.shape)
        np.testing.assert_allclose(image, wanted, rtol=0, atol=1e-6)
        assert np.unique(image).size == 4096


@pytest.mark.parametrize("name", FILE_DATASETS)
def test_resizing_mirroring_and_validation_keep_the_depth(tmp_path: Path, name: str) -> None:
    root = write_everywhere(tmp_path, png16(TWELVE_BITS))
    for split in ("train", "val"):
        if split == "val":
            (root / "train").rename(root / "val")
            if name == "labelled":
                write_everywhere(root, png16(TWELVE_BITS))
        dataset = make_dataset(name, root, DataOptions(split=split, load_size=50, crop_size=40))
        for image in images(dataset[0]):
            assert np.unique(image).size > 1000
            if name != "colorization":
                assert -1 <= image.min() < image.max() < -0.85


def test_pairs_side_by_side_keep_16_bits(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "0.png").write_bytes(png16(np.concatenate([TWELVE_BITS, 65535 - TWELVE_BITS], axis=1)))
    options = DataOptions(load_size=None, crop_size=SIDE, flip=False)
    a, b = images(make_dataset("aligned", tmp_path, options)[0])
    np.testing.assert_allclose(a[0], TWELVE_BITS / 65535 * 2 - 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(b[0], -a[0], rtol=0, atol=1e-6)


def test_8_and_16_bits_of_one_image_are_trained_on_alike() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    shallow, deep = to_tensor(levels), to_tensor(levels.astype(np.float32) / 255)
    # What 8 bits become is fixed to the last digit: runs are repeatable.
    expected = levels.transpose(2, 0, 1).astype(np.float32)
    expected /= 127.5
    expected -= 1.0
    assert torch.equal(shallow, torch.from_numpy(expected))
    torch.testing.assert_close(shallow, deep, rtol=0, atol=2e-7)


# Remarks


def label_map(classes: int, seed: int, ignore: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (6, 6))
    if ignore:
        blocks[0, 0] = 255
    return np.kron(blocks, np.ones((16, 16), int)).astype(np.uint8)


def save(folder: Path, arrays: list[np.ndarray]) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    return paths


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("classes", [2, 19, 34, 150])
def test_maps_of_class_numbers_are_recognized(tmp_path: Path, classes: int, ignore: bool) -> None:
    files = save(tmp_path, [label_map(classes, seed, ignore) for seed in range(8)])
    (sentence,) = find_remarks(files)
    assert str(tmp_path) in sentence
    assert f"(0 to {classes - 1})" in sentence
    assert "translatekit prepare labels" in sentence


def test_other_images_are_not_taken_for_class_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark = np.add.outer(np.arange(96), np.arange(96)) // 8 + rng.integers(0, 6, (96, 96))
    mask = (label_map(2, 0) * 255).astype(np.uint8)
    grays = np.array([0, 60, 120, 180, 240], np.uint8)[label_map(5, 0)]
    for kind in (dark.astype(np.uint8), mask, grays, np.zeros((9, 9), np.uint8), label_map(1, 0)):
        assert find_remarks(save(tmp_path, [kind, kind])) == []
    assert find_remarks(save(tmp_path, [np.repeat(label_map(19, 0)[:, :, None], 3, axis=2)])) == []


def test_slices_of_one_value_say_nothing_of_classes(tmp_path: Path) -> None:
    empty = [np.full((9, 9), value, np.uint8) for value in (3, 3, 2, 1)]
    assert find_remarks(save(tmp_path, empty)) == []
    assert len(find_remarks(save(tmp_path, [*empty, label_map(4, 0)]))) == 1


def test_class_numbers_are_said_when_a_dataset_is_opened_for_training(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(label_map(19, 0)).save(buffer, "PNG")
    write_everywhere(tmp_path, buffer.getvalue())
    remarks = make_dataset("unaligned", tmp_path, DataOptions(load_size=64, crop_size=64)).remarks
    assert sum("class numbers" in remark for remark in remarks) == 2  # one of each side


def test_real_photographs_give_no_remark(data_dir: Path) -> None:
    assert find_remarks(sorted((data_dir / "facades" / "train").iterdir())) == []
    assert find_remarks([data_dir / "images" / name for name in ("hopper_gray.jpg", "basn0g16.png")]) == []


def test_only_the_first_page_being_used_is_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as tiff:
        for _ in range(3):
            tiff.write(np.full((20, 20), 200, np.uint8), contiguous=False)
    tifffile.imwrite(tmp_path / "single.tif", np.full((20, 20), 200, np.uint8))
    (sentence,) = find_remarks([tmp_path / "scan.tif", tmp_path / "single.tif"])
    assert "several pages (scan.tif)" in sentence
