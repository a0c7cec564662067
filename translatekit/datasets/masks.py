"""Masks that lie beside images and say which of their pixels count."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from translatekit.datasets.layouts import find_images, no_images
from translatekit.datasets.slices import File, Slice, as_series, image_of_file
from translatekit.errors import DataError
from translatekit.images.formats import suffix_of


class Masks:
    """A folder of masks, which are named as the images that they belong to, whatever their suffix.

    Where images of one name lie in several folders, so do the masks: the one that shares most of an image's path is
    taken. A volume's mask is a volume.

    Args:
        folder: where they lie.

    Raises:
        DataError: there is no such folder, or it holds no images.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder} of masks: check the path")
        self._folder = folder
        found = as_series(find_images(folder))
        if not found:
            raise no_images(folder, "a mask for each image there, not 0 where a pixel counts")
        self._paths = {
            _parts(path.relative_to(folder), path.is_dir()): path for path in found if isinstance(path, Path)
        }

    def of(self, file: File, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool: the pixels of an image that count, where its mask is not 0.

        Args:
            file: the image.
            size: its height and width.

        Raises:
            DataError: it has no mask, or one of another size.
            UnreadableImageError: the mask cannot be read.
        """
        path = file.path if isinstance(file, Slice) else file
        named = path if isinstance(path, Path) else PurePosixPath(path.parent, path.name)
        parts = _parts(named, isinstance(path, Path) and path.is_dir())
        keys = (parts[start:] for start in range(len(parts)))
        mask = next((self._paths[key] for key in keys if key in self._paths), None)
        if mask is None:
            raise DataError(f"{path} has no mask in {self._folder}: add one that is called {parts[-1]}.png")
        image = image_of_file(Slice(mask, file.page, file.axis) if isinstance(file, Slice) else mask)
        if image.pixels.shape[:2] != size:
            height, width = image.pixels.shape[:2]
            raise DataError(
                f"the mask {mask} has {width}x{height} pixels and its image, {file}, {size[1]}x{size[0]}: "
                "make them of one size"
            )
        return np.asarray(image.pixels.any(axis=2) if image.numbers is None else image.numbers != 0)


def _parts(named: PurePath, is_folder: bool) -> tuple[str, ...]:
    """A path's folders and the file's name without its suffix."""
    suffix = "" if is_folder else suffix_of(named.name)
    return (*named.parts[:-1], named.name[: len(named.name) - len(suffix)])
