"""Embeddings of texts, in each of their forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from translatekit.datasets import make_dataset
from translatekit.datasets.embeddings import open_embeddings
from translatekit.errors import DataError
from translatekit.interfaces import DataOptions

CLASSES = ("cat", "dog")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in CLASSES:
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / "train" / name / f"{number}.png")
    return tmp_path / "data"


def vectors(folder: Path, embeddings: str, split: str = "train", epoch: int = 0) -> dict[str, np.ndarray]:
    options = DataOptions(split=split, load_size=16, crop_size=16)
    data = make_dataset("labelled", folder, options, {"embeddings": embeddings})
    data.set_epoch(epoch)
    items = [data[index] for index in range(len(data))]
    assert all(item["embedding"].dtype == torch.float32 for item in items)
    assert all(item["embedding"].shape == (data.embedding_size,) for item in items)  # type: ignore[attr-defined]
    return {f"{CLASSES[item['label']]}/{item['name']}": item["embedding"].numpy() for item in items}


def test_a_row_for_each_class(folder: Path) -> None:
    np.save(folder / "classes.npy", np.array([[1, 2, 3], [4, 5, 6]]))
    found = vectors(folder, "classes.npy")
    assert {name: list(vector) for name, vector in found.items()} == {
        "cat/0": [1, 2, 3],
        "cat/1": [1, 2, 3],
        "dog/0": [4, 5, 6],
        "dog/1": [4, 5, 6],
    }


def test_a_table_with_names(folder: Path, tmp_path: Path) -> None:
    names = [f"{name}/{number}" for name in CLASSES for number in range(2)]
    np.savez(
        tmp_path / "table.npz", names=np.array(names[::-1]), embeddings=np.arange(8.0).reshape(4, 2)[::-1]
    )
    found = vectors(folder, str(tmp_path / "table.npz"))
    assert {name: list(found[name]) for name in names} == {
        name: [2 * row, 2 * row + 1] for row, name in enumerate(names)
    }


def test_a_file_for_each_image_of_several_texts(folder: Path) -> None:
    for name in CLASSES:
        (folder / "texts" / name).mkdir(parents=True)
        for number in range(2):
            np.save(folder / "texts" / name / f"{number}.npy", np.arange(12.0).reshape(6, 2) + 100 * number)
    seen = {vectors(folder, "texts", epoch=epoch)["dog/1"][0] for epoch in range(20)}
    assert seen <= {100, 102, 104, 106, 108, 110}
    assert len(seen) > 2
    again = vectors(folder, "texts", epoch=3)
    assert all(
        np.array_equal(vector, again[name]) for name, vector in vectors(folder, "texts", epoch=3).items()
    )


def test_images_are_the_same_with_and_without(folder: Path) -> None:
    np.save(folder / "classes.npy", np.zeros((2, 5, 3)))
    options = DataOptions(load_size=18, crop_size=16)
    plain = make_dataset("labelled", folder, options)
    described = make_dataset("labelled", folder, options, {"embeddings": "classes.npy"})
    assert all(torch.equal(plain[index]["image"], described[index]["image"]) for index in range(4))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("gone.npy", None, "there are no embeddings at"),
        ("bad.npy", b"no numpy", "cannot be read as embeddings"),
        ("bad.npz", b"PK\x03\x04 no archive", "cannot be read as embeddings"),
        ("rows.npy", np.zeros((3, 4)), "has 3 rows for 2 classes"),
        ("text.npy", np.array([["a"], ["b"]]), "something else than vectors of finite numbers"),
        ("nan.npy", np.array([[1.0], [np.nan]]), "something else than vectors of finite numbers"),
    ],
)
def test_files_that_hold_none_are_refused(tmp_path: Path, name: str, content: object, match: str) -> None:
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(tmp_path / name, content)
    with pytest.raises(DataError, match=match):
        open_embeddings(name, tmp_path, CLASSES)


def test_an_image_without_one_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "table.npz", names=np.array(["cat/0"]), embeddings=np.zeros((1, 2)))
    table = open_embeddings("table.npz", tmp_path, CLASSES)
    with pytest.raises(DataError, match="has no embedding of dog/0"):
        table(1, "0")
    np.save(tmp_path / "0.npy", np.zeros(2))
    np.save(tmp_path / "1.npy", np.zeros(3))
    files = open_embeddings(".", tmp_path, CLASSES)
    with pytest.raises(
        DataError, match=r"the embedding of 1 .* has the shape \(3,\), and the first one has 2 numbers"
    ):
        files(0, "1")
