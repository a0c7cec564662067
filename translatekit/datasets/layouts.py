"""Where a dataset's images lie: the splits of a folder, and the two sides of a pair."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from translatekit.datasets.stored import Place, Stored, StoredPath, place_of
from translatekit.errors import DataError
from translatekit.images import UnreadableImageError, is_image, read_levels, read_size, to_gray

ImageFile = Path | Stored
"""A file that holds an image, wherever it is."""

PREPARE_PAIRS = "translatekit prepare pairs joins them by name, number, order, pattern or table"
"""What every message about pairs ends in."""

_LOOKED_AT, _DECODED = 20, 8  # of a folder's images: by their headers, by their pixels
_TWICE = 1.9  # as wide as tall: two square images, a little cut
_SEAM = 2.0  # times the usual change between columns; within a photograph the middle is like any other place

_SPLITS = ("train", "val", "test")
_FALLBACKS = {"val": ("val", "test")}


class MissingSplitError(DataError):
    """A dataset has images, but none for the split that was asked for."""


def checked_root(root: Place | None, dataset: str) -> Place:
    """The dataset's folder.

    Raises:
        DataError: none was given, there is none, or it is a file.
    """
    if root is None:
        raise DataError(f"dataset {dataset!r} needs a folder of images: name one, or use the dataset 'demo'")
    if not root.exists():
        what = "no folder" if isinstance(root, Path) else "nothing below"
        raise DataError(
            f"there is {what} {root}: check the {'path' if isinstance(root, Path) else 'address'}"
        )
    if not root.is_dir():
        raise DataError(f"{root} is a file: give the folder that it lies in")
    return root


def split_names(split: str) -> tuple[str, ...]:
    """The subfolders that may hold a split, best first: ``val`` may be called ``test``."""
    return _FALLBACKS.get(split, (split,))


def split_folder(root: Place, split: str) -> Place:
    """The folder that holds a split, or the dataset's own where it has none for it."""
    return next((root / name for name in split_names(split) if (root / name).is_dir()), root)


@overload
def find_images(folder: Path, recursive: bool = True) -> list[Path]: ...
@overload
def find_images(folder: Place, recursive: bool = True) -> list[ImageFile]: ...
def find_images(folder: Place, recursive: bool = True) -> Sequence[ImageFile]:
    """All image files under a folder by their suffix, hidden ones left out, in the order of their names."""
    if isinstance(folder, StoredPath):
        stored = folder.files(recursive)
        return [file for file in stored if not file.name.startswith(".") and is_image(file.name)]
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith((".", "__MACOSX"))]
        found += [Path(parent, name) for name in files if not name.startswith(".") and is_image(name)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


@overload
def find_split(root: Path, split: str, layout: str) -> list[Path]: ...
@overload
def find_split(root: Place, split: str, layout: str) -> list[ImageFile]: ...
def find_split(root: Place, split: str, layout: str) -> Sequence[ImageFile]:
    """The images of one split: those in ROOT/SPLIT; for ``train`` those in ROOT if it has no such folder.

    Args:
        root: the dataset's folder.
        split: ``train``, ``val`` or ``test``.
        layout: what the folder should look like, for the error.

    Raises:
        MissingSplitError: it has no folder for a split other than ``train``.
        DataError: it holds no images.
    """
    for name in split_names(split):
        if (root / name).is_dir():
            return _some_images(root / name, layout)
    if split != "train":
        raise missing_split(root, split)
    others = [name for name in ("val", "test") if (root / name).is_dir()]
    return _some_images(root, layout, recursive=not others)


@overload
def find_sides(root: Path, split: str, b: Path | None = None) -> tuple[Path, Path] | None: ...
@overload
def find_sides(root: Place, split: str, b: str | Path | None = None) -> tuple[Place, Place] | None: ...
def find_sides(root: Place, split: str, b: str | Path | None = None) -> tuple[Place, Place] | None:
    """The two folders of a split: SPLITA and SPLITB, SPLIT/A and SPLIT/B, A/SPLIT and B/SPLIT.

    For ``train`` also A and B themselves, where no split is named. None where there are no such folders.

    Args:
        root: the dataset's folder, or A where there is another of B.
        split: ``train``, ``val`` or ``test``.
        b: the folder of B.

    Raises:
        DataError: there is no such B.
        MissingSplitError: there are two folders, but not this split in both.
    """
    if b is not None:
        return _sides_of_two(root, checked_root(place_of(b), "B"), split)
    for pair in _side_candidates(root, split):
        if all(folder.is_dir() for folder in pair):
            return pair
    return None


def _sides_of_two(a: Place, b: Place, split: str) -> tuple[Place, Place]:
    for name in split_names(split):
        if (a / name).is_dir() and (b / name).is_dir():
            return a / name, b / name
    if split != "train" or (a / "train").is_dir() or (b / "train").is_dir():
        raise missing_split(a if not (a / split).is_dir() else b, split)
    return a, b


def looks_side_by_side(files: Sequence[ImageFile], seams: bool = False) -> bool:
    """Whether files seem to hold two images beside each other each, judging by the first of them.

    Two square images, or wider ones, are about twice as wide as tall. Narrower ones may have the shape of a photograph.

    Args:
        files: the images.
        seams: decode some of those that may be photographs, and take for pairs what has an edge down its middle.
    """
    shapes = []
    for path in files[:_LOOKED_AT]:
        with contextlib.suppress(UnreadableImageError):
            shapes.append((path, *read_size(path)))
    wide = [path for path, height, width in shapes if width % 2 == 0 and width >= _TWICE * height]
    if len(wide) > len(shapes) / 2:
        return True
    narrow = [path for path, height, width in shapes if width > height]
    if not seams or len(narrow) <= len(shapes) / 2:
        return False
    edges = [strength for path in narrow[:_DECODED] if (strength := _seam(path)) is not None]
    return not edges or float(np.median(edges)) > _SEAM


def _seam(path: ImageFile) -> float | None:
    """How many times the change across the middle of an image is that from column to column; None where all is flat."""
    try:
        pixels = to_gray(read_levels(path, 3, deep=False).pixels)[:, :, 0].astype(np.float32)
    except UnreadableImageError:
        return None
    middle = pixels.shape[1] // 2
    near = pixels[:, max(0, middle - 8) : middle + 8]
    changes = np.abs(np.diff(near, axis=1)).mean(0)
    seam = middle - max(0, middle - 8) - 1
    usual = float(np.median(np.delete(changes, seam)))
    return float(changes[seam]) / max(usual, 0.5) if changes.max() > 0 else None


def other_sides(folder: Place) -> list[Place]:
    """The two subfolders of images where a folder has just these and no image itself: sides under other names."""
    if find_images(folder, recursive=False):
        return []
    children: list[Place] = sorted(folder.iterdir(), key=lambda child: child.name)
    holders = [
        child
        for child in children
        if child.is_dir() and not child.name.startswith((".", *_SPLITS)) and find_images(child)
    ]
    return holders if len(holders) == 2 else []


def missing_split(root: Place, split: str) -> MissingSplitError:
    """The error of a dataset without this split."""
    names = " or ".join(split_names(split))
    return MissingSplitError(f"{root} has no {names} images: add a folder {root / split}, or do without")


def no_images(folder: Place, layout: str) -> DataError:
    """The error of a folder without images."""
    return DataError(f"{folder} holds no images (such as .jpg, .png, .webp, .tif): put {layout}")


def listed(items: list[str]) -> str:
    """Up to five names, and how many more there are."""
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + more


def _side_candidates(root: Place, split: str) -> Iterator[tuple[Place, Place]]:
    for name in split_names(split):
        yield root / f"{name}A", root / f"{name}B"
        yield root / name / "A", root / name / "B"
        yield root / "A" / name, root / "B" / name
    if split == "train":
        yield root / "A", root / "B"


def _some_images(folder: Place, layout: str, recursive: bool = True) -> list[ImageFile]:
    images = find_images(folder, recursive)
    if not images:
        raise no_images(folder, layout)
    return images
