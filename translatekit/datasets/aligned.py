"""Pairs: two halves of one file, or two files of one name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from translatekit.datasets.base import Arrays, BaseDataset, Files, Samples
from translatekit.datasets.layouts import (
    PREPARE_PAIRS,
    checked_root,
    find_images,
    find_sides,
    find_split,
    listed,
    looks_side_by_side,
    no_images,
    other_sides,
    split_folder,
)
from translatekit.datasets.transforms import draw_geometry, to_tensor
from translatekit.errors import DataError
from translatekit.images import UnreadableImageError, read_picture, read_size, to_gray
from translatekit.interfaces import DataOptions

_LAYOUT = "side-by-side pairs into {0}/train, or the two sides into {0}/train/A and {0}/train/B"


class Aligned(BaseDataset):
    """Paired images, A and B.

    Side by side: every file of ROOT/train (val, test) holds A in its left half and B in its right. Without a
    folder ``train``, the files of ROOT itself are the training split. Folders: trainA and trainB, train/A and
    train/B, A/train and B/train, or just A and B, whose files match by name without the suffix. Where there
    is no ``val``, ``test`` stands in.

    Args:
        root: the folder.
        options: how images are read; its `direction` says which side is the input.
        layout: ``side_by_side``, ``folders``, or ``auto``: folders where there are any.
        in_channels: of the input: 3 for RGB, 1 for gray.
        out_channels: of the target.

    Raises:
        MissingSplitError: the folder has images, but none for this split.
        DataError: missing or empty folder, files without partner, images too small for the crop.
    """

    def __init__(
        self,
        root: Path | None,
        options: DataOptions,
        layout: Literal["auto", "side_by_side", "folders"] = "auto",
        in_channels: Literal[1, 3] = 3,
        out_channels: Literal[1, 3] = 3,
    ) -> None:
        super().__init__(options)
        root = checked_root(root, "aligned")
        self.set_channels(input=in_channels, target=out_channels)
        sides = None if layout == "side_by_side" else find_sides(root, options.split)
        if sides is not None:
            pairs = _matched(*sides)
            self._samples = Samples(
                pairs, self._decode_files, options, self.skipped, self.remarks, self._size_of_files
            )
            return
        if layout == "folders":
            raise DataError(
                f"{root} has no folders {options.split}/A and {options.split}/B: put the two sides there, "
                "under equal names"
            )
        files = [(path,) for path in find_split(root, options.split, _LAYOUT.format(root))]
        if layout == "auto":
            _check_side_by_side(root, options.split, files)
        self._samples = Samples(
            files, self._decode_halves, options, self.skipped, self.remarks, _size_of_half
        )

    def __len__(self) -> int:
        """Pairs."""
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``input`` and ``target``, (C, H, W) float32 in [-1, 1], cropped alike, and ``name``."""
        rng = self.rng(index)
        files, (source, target) = self._samples[index]
        geometry = draw_geometry(rng, self.options, source.shape[:2])
        return {
            "input": to_tensor(geometry(source)),
            "target": to_tensor(geometry(target)),
            "name": files[0].stem,
        }

    def _decode_halves(self, files: Files) -> Arrays:
        pixels = read_picture(files[0], 3).pixels
        half = _half(files[0], pixels.shape[1])
        return self._directed(pixels[:, :half], pixels[:, -half:])

    def _decode_files(self, files: Files) -> Arrays:
        a, b = (read_picture(path, 3).pixels for path in files)
        self._check_sizes(files, a.shape[:2], b.shape[:2])
        return self._directed(a, b)

    def _directed(self, a: np.ndarray, b: np.ndarray) -> Arrays:
        source, target = (a, b) if self.options.direction == "AtoB" else (b, a)
        return (
            to_gray(source) if self.channels["input"] == 1 else source,
            to_gray(target) if self.channels["target"] == 1 else target,
        )

    def _size_of_files(self, files: Files) -> tuple[int, int]:
        a, b = read_size(files[0]), read_size(files[1])
        self._check_sizes(files, a, b)
        return a

    def _check_sizes(self, files: Files, a: tuple[int, int], b: tuple[int, int]) -> None:
        if a != b and self.options.split == "train" and self.options.load_size is None:
            raise DataError(
                f"{files[0]} and {files[1]} are not of one size ({a[1]}x{a[0]} and {b[1]}x{b[0]}): "
                "pass --load-size to resize both"
            )


def _half(path: Path, width: int) -> int:
    if width < 2:
        raise UnreadableImageError(
            f"{path} is {width} pixel wide and cannot hold two halves; replace or remove it"
        )
    return width // 2


def _size_of_half(files: Files) -> tuple[int, int]:
    height, width = read_size(files[0])
    return height, _half(files[0], width)


def _check_side_by_side(root: Path, split: str, files: Sequence[Files]) -> None:
    """Refuse a folder of single images, which would be cut into meaningless halves.

    Raises:
        DataError: the folder holds two folders of other names, or its first images do not look like pairs.
    """
    holder = split_folder(root, split)
    others = other_sides(holder)
    if others:
        first, second = others
        raise DataError(
            f"{holder} has the folders {first.name} and {second.name}: for pairs of equal names, call them A and B; "
            f"else {PREPARE_PAIRS}: translatekit prepare pairs {first} {second} -o DATA"
        )
    if not looks_side_by_side([path for (path,) in files], seams=True):
        first_file = files[0][0]
        with contextlib.suppress(UnreadableImageError):
            height, width = read_size(first_file)
            raise DataError(
                f"the images in {first_file.parent} do not look like pairs side by side ({first_file.name} is "
                f"{width}x{height}): put the two sides into folders A and B ({PREPARE_PAIRS}); for images without "
                "pairs, train a method such as cyclegan; if they are pairs, pass --dataset-option layout=side_by_side"
            )


def _matched(folder_a: Path, folder_b: Path) -> list[Files]:
    """The files of two folders by their names without the suffix.

    Raises:
        DataError: a folder is empty, a name occurs twice, or some files lack a partner.
    """
    a, b = _by_name(folder_a), _by_name(folder_b)
    lonely = [str(files[name]) for files, others in ((a, b), (b, a)) for name in files if name not in others]
    if not a.keys() & b.keys():
        raise DataError(
            f"{folder_a} and {folder_b} share no file name, having {min(a)!r} and {min(b)!r}, so they hold no pairs: "
            f"{PREPARE_PAIRS}; for images without pairs, train a method such as cyclegan"
        )
    if lonely:
        verb = "lacks" if len(lonely) == 1 else "lack"
        raise DataError(
            f"{len(lonely)} of {len(a) + len(b)} files {verb} a partner of the same name ({listed(lonely)}): "
            f"add the partners in {folder_a} and {folder_b}, or remove these; where the names differ otherwise, "
            f"{PREPARE_PAIRS}"
        )
    return [(a[name], b[name]) for name in a]


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in find_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(
                f"{found[name]} and {path} have one name and would be one pair: rename or remove one"
            )
        found[name] = path
    if not found:
        raise no_images(folder, "one side of the pairs there")
    return found
