"""What all datasets of image files share: checking, caching, and skipping what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from translatekit.datasets.layouts import listed
from translatekit.datasets.remarks import find_remarks
from translatekit.datasets.transforms import check_sizes, item_rng, loaded
from translatekit.errors import DataError
from translatekit.images import UnreadableImageError, read_picture, read_size
from translatekit.interfaces import DataOptions
from translatekit.types import Color, PaletteClass

Files = tuple[Path, ...]
Arrays = tuple[np.ndarray, ...]
T = TypeVar("T")

_THREADS = 8  # decoding releases the interpreter's lock, and opening files waits for the disk


class BaseDataset:
    """State that every dataset has (see `translatekit.interfaces.Dataset` for the attributes).

    Args:
        options: how images are read.

    Raises:
        OptionError: sizes that cannot be.
    """

    channels: Mapping[str, int]
    class_names: tuple[str, ...] = ()
    color: Color = "rgb"
    palettes: Mapping[str, list[PaletteClass]] = {}

    def __init__(self, options: DataOptions) -> None:
        check_sizes(options)
        self.options = options
        self.skipped: list[tuple[Path, str]] = []
        self.remarks: list[str] = []
        self.epoch = 0

    def set_channels(self, **channels: int) -> None:
        """Say how many channels each image of an item has; ``color`` becomes ``gray`` where all have one."""
        self.channels = channels
        self.color = "gray" if set(channels.values()) == {1} else "rgb"

    def set_epoch(self, epoch: int) -> None:
        """Choose the random geometry (and an unpaired dataset's partners) of an epoch."""
        self.epoch = epoch

    def rng(self, index: int) -> np.random.Generator:
        """The random numbers of one item in the current epoch.

        Raises:
            IndexError: there is no such item.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        return item_rng(self.options.seed, self.epoch, index)

    def __len__(self) -> int:
        """Items an epoch."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One item."""
        raise NotImplementedError


class Samples:
    """Samples of one or more image files each: checked at once, decoded on demand or kept in memory.

    Args:
        files: of each sample.
        decode: from a sample's files to its images, each (H, W, C), uint8 in [0, 255] or float32 in [0, 1]
            of more than 8 bits; all of one size in pixels where ``load_size`` is None.
        options: how images are read.
        skipped: the list to which unreadable files are added, with the reason.
        remarks: the list to which sentences about suspicious training images are added (see `datasets.remarks`).
        size: from a sample's files to the height and width of its images, by their headers.

    Raises:
        DataError: no sample can be read, or some are smaller than the crop.
        UnreadableImageError: a file cannot be read, and `options.strict`.
    """

    def __init__(
        self,
        files: Sequence[Files],
        decode: Callable[[Files], Arrays],
        options: DataOptions,
        skipped: list[tuple[Path, str]],
        remarks: list[str],
        size: Callable[[Files], tuple[int, int]],
    ) -> None:
        self._decode, self._options, self._skipped = decode, options, skipped
        self._cache: list[Arrays] | None = None
        sizes: list[tuple[int, int]]
        if options.cache:
            self.files, self._cache = self._readable(files, self._load)
            sizes = [images[0].shape[:2] for images in self._cache]
        else:
            self.files, sizes = self._readable(files, size)
        if not self.files:
            raise DataError(
                f"none of {len(files)} images can be read, the first because {skipped[0][1]}: "
                "check that they are images"
            )
        if options.split == "train" and options.load_size is None:
            self._check_crop(sizes)
        if options.split == "train":
            for side in zip(*self.files, strict=True):
                remarks += find_remarks(side)

    def __len__(self) -> int:
        """How many can be read, as far as known."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Files, Arrays]:
        """The files and the images, resized for the crop, of a sample, or of the next that can be read."""
        if self._cache is not None:
            return self.files[index], self._cache[index]
        for step in range(len(self.files)):
            files = self.files[(index + step) % len(self.files)]
            try:
                return files, self._load(files)
            except UnreadableImageError as error:
                self._skip(files, error)
        raise DataError(
            f"none of {len(self.files)} images can be read any more: check that their disk is there"
        )

    def _load(self, files: Files) -> Arrays:
        return tuple(loaded(image, self._options) for image in self._decode(files))

    def _readable(self, files: Sequence[Files], read: Callable[[Files], T]) -> tuple[list[Files], list[T]]:
        """Those that can be read, with what `read` made of them; the others are skipped."""

        def attempt(sample: Files) -> T | UnreadableImageError:
            try:
                return read(sample)
            except UnreadableImageError as error:
                return error

        good: list[Files] = []
        results: list[T] = []
        with ThreadPoolExecutor(_THREADS) as pool:
            for sample, result in zip(files, pool.map(attempt, files), strict=True):
                if isinstance(result, UnreadableImageError):
                    self._skip(sample, result)
                else:
                    good.append(sample)
                    results.append(result)
        return good, results

    def _skip(self, files: Files, error: UnreadableImageError) -> None:
        if self._options.strict:
            raise error
        culprit = next((path for path in files if str(path) in str(error)), files[0])
        if all(path != culprit for path, _ in self._skipped):
            self._skipped.append((culprit, str(error)))

    def _check_crop(self, sizes: Sequence[tuple[int, int]]) -> None:
        crop = self._options.crop_size
        small = [
            f"{files[0]} ({width}x{height})"
            for files, (height, width) in zip(self.files, sizes, strict=True)
            if min(height, width) < crop
        ]
        if small:
            raise DataError(
                f"{len(small)} of {len(self.files)} images are smaller than the crop of {crop}x{crop} pixels "
                f"({listed(small)}): pass --load-size {crop} to enlarge them, or a smaller --crop-size"
            )


def file_size(files: Files) -> tuple[int, int]:
    """Height and width of a sample of one image, by its header."""
    return read_size(files[0])


def decode_one(channels: Literal[1, 3], files: Files) -> Arrays:
    """The image of a sample of one file, (H, W, `channels`), uint8, or float32 in [0, 1] where it has more bits."""
    return (read_picture(files[0], channels).pixels,)
