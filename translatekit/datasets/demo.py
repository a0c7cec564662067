"""The built-in demo: label maps and pictures of facades, drawn instead of read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from translatekit.datasets.base import BaseDataset
from translatekit.datasets.classes import parse_labels
from translatekit.datasets.facades import PALETTE, draw_facade
from translatekit.datasets.transforms import draw_geometry
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import RGB, ImageSpec, labels_spec
from translatekit.images import encode_image, image_of
from translatekit.images.labels import fit_labels
from translatekit.interfaces import SIDES, DataOptions
from translatekit.options import LARGEST_SEED, Bounds

__all__ = ["PALETTE", "Demo", "draw_facade", "write_demo"]

_SPLITS = ("train", "val", "test")


class Demo(BaseDataset):
    """Facades: A is the label map, B the picture.

    Each is drawn at the size that is cropped from, when it is first asked for, and kept in memory. They are
    never mirrored, because the light comes from the left.

    Label maps are RGB, or with ``--labels A=data`` one channel a class.

    Args:
        root: not used; there is no folder.
        options: sizes, split, direction, labels. The splits have no facade in common.
        count: facades in the training split; the others have a tenth of it each.
        data_seed: decides which facades.

    Raises:
        OptionError: no facades, or a split that there is not.
    """

    def __init__(
        self,
        root: Path | None,
        options: DataOptions,
        count: Annotated[int, Bounds(minimum=1, maximum=1_000_000)] = 400,
        data_seed: Annotated[int, Bounds(minimum=0, maximum=LARGEST_SEED)] = 0,
    ) -> None:
        super().__init__(options)
        labels = "input" if options.direction == "AtoB" else "target"
        self.side_of = dict(zip(("input", "target"), SIDES[options.direction], strict=True))
        self.sides = {"A": _label_spec(options, labels), "B": RGB}
        self.specs = dict(
            zip(
                ("input", "target") if labels == "input" else ("target", "input"),
                self.sides.values(),
                strict=True,
            )
        )
        self.palettes = {
            labels: [{"name": name, "color": list(color)} for name, color in PALETTE.items()],
        }
        self._count = count if options.split == "train" else max(1, count // 10)
        self._seeds = _facade_seeds(options.split, self._count, data_seed)
        self._size = (options.load_size if options.at_random else None) or options.crop_size
        self._drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if options.cache == "memory":
            for index in range(self._count):
                self._draw(index)

    def __len__(self) -> int:
        """Facades."""
        return self._count

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``input`` and ``target``, (C, H, W) float32 in [-1, 1], cropped alike, and ``name``."""
        rng = self.rng(index)
        label, picture = self._draw(index)
        geometry = draw_geometry(rng, replace(self.options, flip=False), label.shape[:2])
        source, target = (label, picture) if self.options.direction == "AtoB" else (picture, label)
        return {
            "input": self.tensor("input", source, geometry),
            "target": self.tensor("target", target, geometry),
            "name": _name(index),
        }

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if index not in self._drawn:
            label, picture = draw_facade(self._seeds[index], self._size)
            if self.sides["A"].meaning == "labels":
                label = fit_labels(image_of(label), self.sides["A"], _name(index))
            self._drawn[index] = label, picture
        return self._drawn[index]


def write_demo(
    folder: Path, split: str = "test", count: int = 12, size: int = 128, data_seed: int = 0
) -> tuple[Path, Path]:
    """Write facades as PNG files: label maps to FOLDER/input, pictures of the same names to FOLDER/target.

    Args:
        folder: made where there is none.
        split: ``train``, ``val`` or ``test``; the first facades of the dataset's split of that name.
        count: how many.
        size: in pixels a side.
        data_seed: as of `Demo`.

    Returns:
        The two folders.

    Raises:
        OptionError: a split that there is not.
        DataError: the folder cannot be written.
    """
    inputs, targets = folder / "input", folder / "target"
    try:
        for path in (inputs, targets):
            path.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(_facade_seeds(split, count, data_seed)):
            for path, pixels in zip((inputs, targets), draw_facade(seed, size), strict=True):
                (path / f"{_name(index)}.png").write_bytes(encode_image(image_of(pixels), ".png"))
    except OSError as error:
        raise DataError(
            f"the demo images could not be written to {folder} ({error.strerror}): choose another folder"
        ) from None
    return inputs, targets


def _label_spec(options: DataOptions, key: str) -> ImageSpec:
    """What the label maps are: RGB, unless class numbers are asked for, or known to be wanted.

    Raises:
        OptionError: others than their own classes are asked for, or classes of the pictures.
    """
    known = options.specs.get(key)
    if options.labels is None or known is not None:
        return known if known is not None and known.meaning == "labels" else RGB
    rules = parse_labels(options.labels)
    own = replace(labels_spec(range(len(PALETTE)), tuple(PALETTE)), palette=tuple(PALETTE.values()))
    if set(rules) - {"", "A"} or not set(rules.values()) <= {
        "data",
        str(len(PALETTE)),
        "/".join(map(str, own.ids)),
    }:
        raise OptionError(
            f"--labels {options.labels} does not fit the demo, whose A has {len(PALETTE)} classes: pass --labels A=data"
        )
    return own


def _facade_seeds(split: str, count: int, data_seed: int) -> list[tuple[int, int, int]]:
    if split not in _SPLITS:
        raise OptionError(f"dataset 'demo' has no split {split!r}: choose one of {', '.join(_SPLITS)}")
    return [(data_seed % 2**64, _SPLITS.index(split), index) for index in range(count)]


def _name(index: int) -> str:
    return f"facade-{index:03}"
