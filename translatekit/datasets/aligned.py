"""Pairs: two halves of one file, or two files of one name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from translatekit.datasets.base import Arrays, BaseDataset, ChannelCount, Samples, Side, fitting_size
from translatekit.datasets.layouts import (
    PREPARE_PAIRS,
    ImageFile,
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
from translatekit.datasets.masks import Masks
from translatekit.datasets.shards import open_shards
from translatekit.datasets.slices import File, Files, as_series, expand, image_of_file, read_with_valid
from translatekit.datasets.stored import Place, name_below
from translatekit.datasets.transforms import draw_geometry
from translatekit.errors import DataError
from translatekit.image_spec import GRAY
from translatekit.images import Image, UnreadableImageError, fit_image, read_size
from translatekit.images.formats import suffix_of
from translatekit.interfaces import DataOptions

_FIRST = 20  # samples of shards that are looked at
_LAYOUT = "side-by-side pairs into {0}/train, or the two sides into {0}/train/A and {0}/train/B"


class Aligned(BaseDataset):
    """Paired images, A and B.

    Side by side: every file of ROOT/train (val, test) holds A in its left half and B in its right. Without a
    folder ``train``, the files of ROOT itself are the training split. Folders: trainA and trainB, train/A and
    train/B, A/train and B/train, or just A and B, whose files match by name without the suffix. Where there
    is no ``val``, ``test`` stands in.

    Args:
        root: the folder; of A, where `b` is given.
        options: how images are read; its `direction` says which side is the input.
        layout: ``side_by_side``, ``folders``, or ``auto``: folders where there are any.
        in_channels: of the input: 3 for RGB, 1 for gray; None for RGB where files are gray or RGB, else for what they
            have.
        out_channels: of the target.
        b: the folder of B.

    Raises:
        MissingSplitError: the folder has images, but none for this split.
        DataError: missing or empty folder, files without partner, images too small for the crop.
    """

    sliced = ("input",)

    def __init__(
        self,
        root: Place | None,
        options: DataOptions,
        layout: Literal["auto", "side_by_side", "folders"] = "auto",
        in_channels: ChannelCount = None,
        out_channels: ChannelCount = None,
        b: str | None = None,
    ) -> None:
        super().__init__(options)
        self._halves = False
        self._masks = None if options.masks is None else Masks(options.masks)
        shards = open_shards(root, ("pairs", "images"), "aligned", options)
        if shards is not None:
            self.order = shards.order
            if shards.kind == "pairs":
                self._choose_specs(Side(shards, 0), Side(shards, 1), in_channels, out_channels)
                self._samples = self._sampled(shards, self._decode_files, self._size_of_files)
                return
            if layout == "auto":
                _refuse_single_images([shards[index][0] for index in range(min(_FIRST, len(shards)))])
            self._halves = True
            self._choose_specs(Side(shards, 0), Side(shards, 0), in_channels, out_channels)
            self._samples = self._sampled(shards, self._decode_halves, self._size_of_half)
            return
        root = checked_root(root, "aligned")
        sides = None if layout == "side_by_side" else find_sides(root, options.read_split, b)
        if sides is not None:
            found = matched(*sides, series=options.slices is not None)
            pairs = expand(found, options.slices, options.slice_axis)
            self._choose_specs([a for a, _ in pairs], [b for _, b in pairs], in_channels, out_channels)
            self._samples = self._sampled(pairs, self._decode_files, self._size_of_files)
            return
        if layout == "folders":
            raise DataError(
                f"{root} has no folders {options.split}/A and {options.split}/B: put the two sides there, "
                "under equal names"
            )
        files = [(path,) for path in find_split(root, options.read_split, _LAYOUT.format(root))]
        if layout == "auto":
            _check_side_by_side(root, options.read_split, files)
        self._halves = True
        whole = [path for (path,) in files]
        self._choose_specs(whole, whole, in_channels, out_channels)
        self._samples = self._sampled(files, self._decode_halves, self._size_of_half)

    def __len__(self) -> int:
        """Pairs."""
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``input`` and ``target``, (C, H, W) float32 in [-1, 1], cropped alike, and ``name``."""
        rng = self.rng(index)
        names, (source, target, *valid), _ = self._samples[index]
        geometry = draw_geometry(rng, self.options, source.shape[:2])
        item = {
            "input": self.tensor("input", source, geometry),
            "target": self.tensor("target", target, geometry),
            "name": names[0],
        }
        if valid:
            item["valid"] = torch.from_numpy(np.logical_and.reduce([geometry(one) for one in valid])[None])
        return item

    def image_of(self, side: str, file: File) -> Image:
        """Decode what a file holds of a side: all of it, or one half."""
        image = image_of_file(file)
        return _halves(file, image)[side == "B"] if self._halves else image

    def _choose_specs(
        self, a: Sequence[File], b: Sequence[File], in_channels: int | None, out_channels: int | None
    ) -> None:
        sides = (("A", a), ("B", b))
        (source, inputs), (target, targets) = sides if self.options.direction == "AtoB" else sides[::-1]
        self.specs = {
            "input": self.choose_spec("input", source, inputs, in_channels),
            "target": self.choose_spec("target", target, targets, out_channels),
        }

    def _sampled(
        self,
        files: Sequence[Files],
        decode: Callable[[Files], Arrays],
        size: Callable[[Files], tuple[int, int]],
    ) -> Samples:
        specs = [self.specs["input"], self.specs["target"]]
        specs += [GRAY, GRAY] if self.options.valid else []
        return Samples(files, decode, specs, self.options, self.skipped, self.remarks, size)

    def _decode_halves(self, files: Files) -> Arrays:
        image = image_of_file(files[0])
        left, right = _halves(files[0], image)
        source, target = (left, right) if self.options.direction == "AtoB" else (right, left)
        name = str(files[0])
        pixels = (
            fit_image(source, self.specs["input"], name),
            fit_image(target, self.specs["target"], name),
        )
        return self._with_valid(files[0], *pixels, source.valid, target.valid)

    def _decode_files(self, files: Files) -> Arrays:
        source, target = files if self.options.direction == "AtoB" else files[::-1]
        (inputs, valid_inputs), (targets, valid_targets) = (
            read_with_valid(file, self.specs[key]) for file, key in ((source, "input"), (target, "target"))
        )
        self._check_sizes(files, inputs.shape[:2], targets.shape[:2])
        return self._with_valid(target, inputs, targets, valid_inputs, valid_targets)

    def _with_valid(
        self,
        file: File,
        inputs: np.ndarray,
        targets: np.ndarray,
        valid_inputs: np.ndarray | None,
        valid_targets: np.ndarray | None,
    ) -> Arrays:
        """The images, and where they are asked for, the pixels (H, W) of each that count."""
        if not self.options.valid:
            return inputs, targets
        pairs = ((inputs, valid_inputs), (targets, valid_targets))
        a, b = (np.ones(image.shape[:2], bool) if valid is None else valid for image, valid in pairs)
        return inputs, targets, a, b if self._masks is None else b & self._masks.of(file, b.shape)

    def _size_of_files(self, files: Files) -> tuple[int, int]:
        keys = ("input", "target") if self.options.direction == "AtoB" else ("target", "input")
        a, b = (fitting_size(path, self.specs[key]) for path, key in zip(files, keys, strict=True))
        self._check_sizes(files, a, b)
        return a

    def _size_of_half(self, files: Files) -> tuple[int, int]:
        sizes = [fitting_size(files[0], spec) for spec in self.specs.values()]
        height, width = sizes[0]
        return height, _half(files[0], width)

    def _check_sizes(self, files: Files, a: tuple[int, int], b: tuple[int, int]) -> None:
        if a != b and self.options.at_random and self.options.load_size is None:
            raise DataError(
                f"{files[0]} and {files[1]} are not of one size ({a[1]}x{a[0]} and {b[1]}x{b[0]}): "
                "pass --load-size to resize both"
            )


def _halves(file: File, image: Image) -> tuple[Image, Image]:
    """The left half of an image and the right one."""
    half = _half(file, image.pixels.shape[1])
    return _columns(image, slice(None, half)), _columns(image, slice(-half, None))


def _columns(image: Image, columns: slice) -> Image:
    """A part of an image from top to bottom."""
    planes = {name: getattr(image, name) for name in ("alpha", "valid", "numbers")}
    cut: dict[str, Any] = {
        name: plane if plane is None else plane[:, columns] for name, plane in planes.items()
    }
    return replace(image, pixels=image.pixels[:, columns], **cut)


def _half(path: File, width: int) -> int:
    if width < 2:
        raise UnreadableImageError(
            f"{path} is {width} pixel wide and cannot hold two halves; replace or remove it"
        )
    return width // 2


def _check_side_by_side(root: Place, split: str, files: Sequence[tuple[ImageFile, ...]]) -> None:
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
    _refuse_single_images([path for (path,) in files])


def _refuse_single_images(files: Sequence[ImageFile]) -> None:
    if not looks_side_by_side(files, seams=True):
        first_file = files[0]
        with contextlib.suppress(UnreadableImageError):
            height, width = read_size(first_file)
            raise DataError(
                f"the images in {first_file.parent} do not look like pairs side by side ({first_file.name} is "
                f"{width}x{height}): put the two sides into folders A and B ({PREPARE_PAIRS}); for images without "
                "pairs, train a method such as cyclegan; if they are pairs, pass --dataset-option layout=side_by_side"
            )


def matched(folder_a: Place, folder_b: Place, series: bool) -> list[tuple[ImageFile, ...]]:
    """The files of two folders by their names without the suffix.

    Args:
        folder_a: of A.
        folder_b: of B.
        series: take a folder that is one volume for a file.

    Raises:
        DataError: a folder is empty, a name occurs twice, or some files lack a partner.
    """
    a, b = _by_name(folder_a, series), _by_name(folder_b, series)
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


def _by_name(folder: Place, series: bool) -> dict[str, ImageFile]:
    found: dict[str, ImageFile] = {}
    images = find_images(folder)
    for path in as_series(images) if series else images:
        name = name_below(path, folder)
        if not (isinstance(path, Path) and path.is_dir()):  # a series is called by all of its folder's name
            name = name[: len(name) - len(suffix_of(name))]
        if name in found:
            raise DataError(
                f"{found[name]} and {path} have one name and would be one pair: rename or remove one"
            )
        found[name] = path
    if not found:
        raise no_images(folder, "one side of the pairs there")
    return found
