"""Small pairs of images, and the options of a run that takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TINY: dict[str, Any] = {
    "load_size": 36,
    "crop_size": 32,
    "generator_options": {"depth": 5, "width": 4},
    "discriminator_options": {"layers": 1, "width": 4},
    "epochs": 2,
    "epochs_decay": 1,
    "log_every": 2,
    "accelerator": "cpu",
    "precision": "fp32",
}


def draw_pairs(folder: Path, count: int, size: int = 40) -> None:
    """Side-by-side pairs: stripes of a random hue left, their negative right."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(count)
    for index in range(count):
        left = np.zeros((size, size, 3), np.uint8)
        left[:, :: random.integers(2, 6)] = random.integers(0, 255, 3)
        Image.fromarray(np.concatenate([left, 255 - left], 1)).save(folder / f"{index}.png")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight training pairs and two validation pairs."""
    root = tmp_path_factory.mktemp("pairs")
    draw_pairs(root / "train", 8)
    draw_pairs(root / "val", 2)
    return root


@pytest.fixture(scope="session")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of A and five of B."""
    root = tmp_path_factory.mktemp("unpaired")
    random = np.random.default_rng(0)
    for name, count, low in (("trainA", 6, 0), ("trainB", 5, 128)):
        (root / name).mkdir()
        for index in range(count):
            pixels = random.integers(low, low + 127, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four images."""
    root = tmp_path_factory.mktemp("labelled")
    random = np.random.default_rng(0)
    for name in "ab":
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for index in range(4):
            pixels = random.integers(0, 255, (36, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return root
