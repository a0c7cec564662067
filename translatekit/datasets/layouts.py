"""Where a dataset's images lie: the splits of a folder, and the two sides of a pair."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from translatekit.errors import DataError
from translatekit.images import IMAGE_SUFFIXES

_FALLBACKS = {"val": ("val", "test")}


class MissingSplitError(DataError):
    """A dataset has images, but none for the split that was asked for."""


def checked_root(root: Path | None, dataset: str) -> Path:
    """The dataset's folder.

    Raises:
        DataError: none was given, there is none, or it is a file.
    """
    if root is None:
        raise DataError(f"dataset {dataset!r} needs a folder of images: name one, or use the dataset 'demo'")
    if not root.exists():
        raise DataError(f"there is no folder {root}: check the path")
    if not root.is_dir():
        raise DataError(f"{root} is a file: give the folder that it lies in")
    return root


def split_names(split: str) -> tuple[str, ...]:
    """The subfolders that may hold a split, best first: ``val`` may be called ``test``."""
    return _FALLBACKS.get(split, (split,))


def find_images(folder: Path, recursive: bool = True) -> list[Path]:
    """All image files under a folder by their suffix, hidden ones left out, in the order of their names."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith((".", "__MACOSX"))]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def find_split(root: Path, split: str, layout: str) -> list[Path]:
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


def find_sides(root: Path, split: str) -> tuple[Path, Path] | None:
    """The two folders of a split: SPLITA and SPLITB, SPLIT/A and SPLIT/B, A/SPLIT and B/SPLIT.

    For ``train`` also A and B themselves, where no split is named. None where there are no such folders.
    """
    for pair in _side_candidates(root, split):
        if all(folder.is_dir() for folder in pair):
            return pair
    return None


def missing_split(root: Path, split: str) -> MissingSplitError:
    """The error of a dataset without this split."""
    names = " or ".join(split_names(split))
    return MissingSplitError(f"{root} has no {names} images: add a folder {root / split}, or do without")


def no_images(folder: Path, layout: str) -> DataError:
    """The error of a folder without images."""
    return DataError(f"{folder} holds no images (such as .jpg, .png, .webp, .tif): put {layout}")


def listed(items: list[str]) -> str:
    """Up to five names, and how many more there are."""
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(items[:5]) + more


def _side_candidates(root: Path, split: str) -> Iterator[tuple[Path, Path]]:
    for name in split_names(split):
        yield root / f"{name}A", root / f"{name}B"
        yield root / name / "A", root / name / "B"
        yield root / "A" / name, root / "B" / name
    if split == "train":
        yield root / "A", root / "B"


def _some_images(folder: Path, layout: str, recursive: bool = True) -> list[Path]:
    images = find_images(folder, recursive)
    if not images:
        raise no_images(folder, layout)
    return images
