"""Images by class: a folder a class, or MNIST's idx files."""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from translatekit.datasets.base import BaseDataset, ChannelCount, Samples, Side, decode_one, file_size
from translatekit.datasets.embeddings import Embeddings, open_embeddings
from translatekit.datasets.layouts import (
    checked_root,
    find_images,
    listed,
    missing_split,
    no_images,
    split_names,
)
from translatekit.datasets.shards import open_shards
from translatekit.datasets.slices import Files, header_of
from translatekit.datasets.stored import Place
from translatekit.datasets.transforms import draw_geometry
from translatekit.errors import DataError
from translatekit.image_spec import levels_spec
from translatekit.images import UnreadableImageError, resize
from translatekit.interfaces import DataOptions

_LAYOUT = "a folder of images for each class into {0}/train, or MNIST's idx files into {0}"


class Labelled(BaseDataset):
    """Images with a class each.

    Class folders: ROOT/train/CLASS (val, test; ``test`` stands in for ``val``), or ROOT/CLASS, all for
        training.
    The labels number the training classes in the order of their names. Or MNIST's files in ROOT, gzipped or
    not: ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, ``t10k-...`` being val and test. Where
    the size asked for is up to a quarter more than that of idx images, they are padded with zeros (28 to
    32), not resized.

    Args:
        root: the folder.
        options: how images are read.
        channels: 3 for RGB, 1 for gray; None for what the first images are.
        embeddings: of the texts that describe the images, in `root` or elsewhere: see
            `translatekit.datasets.embeddings.Embeddings`.

    Raises:
        MissingSplitError: the folder has images, but none for this split.
        DataError: missing or empty folder, damaged idx files, or images too small for the crop.
    """

    def __init__(
        self,
        root: Place | None,
        options: DataOptions,
        channels: ChannelCount = None,
        embeddings: str | None = None,
    ) -> None:
        super().__init__(options)
        self._source: _Files | _Idx
        self._embeddings: Embeddings | None = None
        shards = open_shards(root, ("labelled",), "labelled", options)
        if shards is not None:
            self.order = shards.order
            self._source = _Files(shards, shards.classes, self, channels, attrgetter("label"))
            self.class_names = shards.classes
            self.specs = {"image": self._source.spec}
            self._describe(embeddings, None)
            return
        root = checked_root(root, "labelled")
        if any(root.glob("*-idx3-ubyte*")):
            self._source = _Idx(root, options, channels)
        else:
            self._source = _of_folders(root, self, channels)
        self.class_names = self._source.class_names
        self.specs = {"image": self._source.spec}
        self._describe(embeddings, root)

    def _describe(self, embeddings: str | None, root: Place | None) -> None:
        if embeddings is not None:
            self._embeddings = open_embeddings(embeddings, root, self.class_names)
            self.embedding_size = self._embeddings.size

    def __len__(self) -> int:
        """Images."""
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``image`` (C, H, W) float32 in [-1, 1], ``label`` (an int) and ``name``; ``embedding`` (D,) where wanted."""
        rng = self.rng(index)
        name, label, pixels = self._source[index]
        geometry = draw_geometry(rng, self.options, pixels.shape[:2])
        item = {"image": self.tensor("image", pixels, geometry), "label": label, "name": name}
        if self._embeddings is not None:
            vector = self._embeddings(label, name, rng if self.options.split == "train" else None)
            item["embedding"] = torch.from_numpy(vector)
        return item


class _Files:
    """Files of images, each with the number of its class.

    Args:
        files: of each sample, one.
        class_names: by number.
        data: the dataset.
        channels: as the user wants them.
        label: from a file to its number.
    """

    def __init__(
        self,
        files: Sequence[Files],
        class_names: tuple[str, ...],
        data: BaseDataset,
        channels: int | None,
        label: Callable[[Any], int],
    ) -> None:
        self.class_names = class_names
        self.spec = data.choose_spec("image", "image", Side(files, 0), channels or _channels(files))
        self._samples = Samples(
            files,
            partial(decode_one, self.spec),
            [self.spec],
            data.options,
            data.skipped,
            data.remarks,
            partial(file_size, self.spec),
            label,
        )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[str, int, np.ndarray]:
        (name,), (pixels,), label = self._samples[index]
        return name, label, pixels


def _of_folders(root: Place, data: BaseDataset, channels: int | None) -> _Files:
    """Images in a folder for each class."""
    folder, class_names = class_folders(root, data.options.read_split)
    labels = {
        path: label
        for label, name in enumerate(class_names)
        if (folder / name).is_dir()
        for path in find_images(folder / name)
    }
    if not labels:
        raise no_images(folder, _LAYOUT.format(root))
    return _Files([(path,) for path in labels], class_names, data, channels, labels.__getitem__)


class _Idx:
    """MNIST's files."""

    def __init__(self, root: Place, options: DataOptions, channels: int | None) -> None:
        if options.fold is not None:
            raise DataError(
                f"--fold {options.fold} needs folders of images, and {root} holds MNIST's idx files, with a test set "
                "of their own: leave it out"
            )
        self._prefix = "train" if options.split == "train" else "t10k"
        if options.split != "train" and not any(root.glob("t10k-images*")):
            raise missing_split(root, options.split)
        images = _read_idx(_idx_file(root, f"{self._prefix}-images-idx3-ubyte"), 3)
        self._labels = _read_idx(_idx_file(root, f"{self._prefix}-labels-idx1-ubyte"), 1)
        if len(images) != len(self._labels):
            raise DataError(
                f"{root} has {len(images)} images but {len(self._labels)} labels for {self._prefix}: "
                "download the files again"
            )
        self._images = _fitted(images, options)
        if options.range is not None or channels not in (None, 1, 3):
            raise DataError(
                f"{root} holds MNIST's idx files, gray levels: leave out --range, and take 1 or 3 channels"
            )
        self.spec = levels_spec(channels or 1)
        self.class_names = tuple(str(label) for label in range(int(self._labels.max()) + 1))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[str, int, np.ndarray]:
        pixels = np.repeat(self._images[index, :, :, None], self.spec.count, axis=2)
        return f"{self._prefix}-{index:05}", int(self._labels[index]), pixels


def class_folders(root: Place, split: str) -> tuple[Place, tuple[str, ...]]:
    """The folder of a split, and the names of all classes by label.

    Raises:
        MissingSplitError: there is no such split.
        DataError: there are no class folders, or the split has classes that training lacks.
    """
    split_folder = next((root / name for name in split_names(split) if (root / name).is_dir()), None)
    train_folder = root / "train" if (root / "train").is_dir() else None
    folder = split_folder or (root if split == "train" else None)
    if folder is None:
        raise missing_split(root, split)
    classes = _subfolders(train_folder or folder)
    if not classes:
        raise no_images(train_folder or folder, _LAYOUT.format(root))
    unknown = [name for name in _subfolders(folder) if name not in classes]
    if unknown:
        raise DataError(
            f"{folder} has classes that {train_folder} lacks ({listed(unknown)}): rename or remove them"
        )
    return folder, classes


def _subfolders(folder: Place) -> tuple[str, ...]:
    names = (child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return tuple(sorted(name for name in names if name not in ("train", "val", "test")))


def _channels(files: Sequence[Files]) -> int | None:
    """1 if the first images are gray; None for RGB, or as the files have them."""
    for index in range(min(8, len(files))):
        with contextlib.suppress(UnreadableImageError):
            if header_of(files[index][0]).spec.count != 1:
                return None
    return 1


def _fitted(images: np.ndarray, options: DataOptions) -> np.ndarray:
    """(N, H, W) padded or resized to the size that is cropped from.

    Raises:
        DataError: they are smaller than the crop, and not to be resized.
    """
    side = options.load_size if options.at_random else options.crop_size
    height, width = images.shape[1:]
    if side is None:
        if min(height, width) < options.crop_size:
            raise DataError(
                f"the images are {width}x{height} pixels, smaller than the crop of {options.crop_size}: "
                f"pass --load-size {options.crop_size} to enlarge them, or a smaller --crop-size"
            )
        return images
    if max(height, width) <= side <= 1.25 * min(height, width):
        top, left = (side - height) // 2, (side - width) // 2
        return np.pad(images, ((0, 0), (top, side - height - top), (left, side - width - left)))
    return np.stack([resize(image, (side, side)) for image in images])


def _idx_file(root: Place, name: str) -> Place:
    for candidate in (root / name, root / f"{name}.gz"):
        if candidate.exists():
            return candidate
    raise DataError(f"{root} has no {name}.gz: put all four of MNIST's files there")


def _read_idx(path: Place, axes: int) -> np.ndarray:
    """A file of MNIST's idx format: unsigned bytes in `axes` axes, their lengths before them, big-endian.

    Raises:
        DataError: it is damaged, or holds something else.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, count = struct.unpack_from(">HBB", data)
        if (zero, kind, count) != (0, 8, axes):
            raise ValueError(f"it does not start like an idx file of bytes in {axes} axes")
        shape = struct.unpack_from(f">{axes}I", data, 4)
        values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
        if 0 in shape or values.size != math.prod(shape):
            raise ValueError(f"it holds {values.size} bytes for a shape of {'x'.join(map(str, shape))}")
        return values.reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise DataError(f"{path} is damaged or no idx file ({error}): download it again") from None
