"""Two sets of images without pairs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from translatekit.datasets.base import BaseDataset, ChannelCount, Samples, Side, decode_one, file_size
from translatekit.datasets.layouts import (
    checked_root,
    find_images,
    find_sides,
    looks_side_by_side,
    missing_split,
    no_images,
    other_sides,
    split_folder,
)
from translatekit.datasets.shards import open_shards
from translatekit.datasets.slices import Files, as_series, expand
from translatekit.datasets.stored import Place
from translatekit.datasets.transforms import draw_geometry
from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import DataOptions


class Unaligned(BaseDataset):
    """Images of two kinds, A and B, in the folders trainA and trainB (valA, valB; testA, testB).

    train/A and train/B, or A/train and B/train, do as well. An epoch is as long as the larger set; in
    training each A meets a B drawn at random anew in every epoch, else the B of its own number.

    Args:
        root: the folder; of A, where `b` is given.
        options: how images are read. `direction` is of no concern: both ways are learnt.
        in_channels: of A: 3 for RGB, 1 for gray; None for RGB where files are gray or RGB, else as they have them.
        out_channels: of B.
        b: the folder of B.

    Raises:
        MissingSplitError: the folder has images, but none for this split.
        DataError: missing or empty folder, or images too small for the crop.
    """

    sliced = ("A", "B")  # each is what one generator takes and the other makes

    def __init__(
        self,
        root: Place | None,
        options: DataOptions,
        in_channels: ChannelCount = None,
        out_channels: ChannelCount = None,
        b: str | None = None,
    ) -> None:
        super().__init__(options)
        self.specs: dict[str, ImageSpec] = {}
        a, b_shards = (open_shards(root, ("unpaired",), "unaligned", options, side) for side in "AB")
        if a is not None and b_shards is not None:
            self._a = self._sampled("A", a, in_channels)
            self._b = self._sampled("B", b_shards, out_channels)
            self.order = max(a, b_shards, key=len).order
            return
        root = checked_root(root, "unaligned")
        sides = find_sides(root, options.read_split, b)
        if sides is None and options.read_split != "train":
            raise missing_split(root, options.split)
        if sides is None:
            raise _no_sides(root)
        names = [{path.stem for path in find_images(folder)} for folder in sides]
        if options.split == "train" and len(names[0] & names[1]) > len(names[0] | names[1]) / 2:
            self.remarks.append(
                f"{sides[0]} and {sides[1]} hold files of equal names: if these are pairs, a method for pairs such as "
                "pix2pix learns more from them"
            )
        self._a = self._samples("A", sides[0], in_channels)
        self._b = self._samples("B", sides[1], out_channels)

    def __len__(self) -> int:
        """Items an epoch: the size of the larger set."""
        return max(len(self._a), len(self._b))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``A`` and ``B``, (C, H, W) float32 in [-1, 1], each cropped by itself; ``name_A``, ``name_B``."""
        rng = self.rng(index)
        draw = int(rng.integers(len(self._b)))
        partner = draw if self.options.at_random else index % len(self._b)
        (name_a,), (a,), _ = self._a[index % len(self._a)]
        (name_b,), (b,), _ = self._b[partner]
        return {
            "A": self.tensor("A", a, draw_geometry(rng, self.options, a.shape[:2])),
            "B": self.tensor("B", b, draw_geometry(rng, self.options, b.shape[:2])),
            "name_A": name_a,
            "name_B": name_b,
        }

    def _samples(self, side: str, folder: Place, channels: int | None) -> Samples:
        found = find_images(folder)
        if not found:
            raise no_images(folder, "one of the two sets there")
        volumes = found if self.options.slices is None else as_series(found)
        return self._sampled(
            side,
            expand([(path,) for path in volumes], self.options.slices, self.options.slice_axis),
            channels,
        )

    def _sampled(self, side: str, files: Sequence[Files], channels: int | None) -> Samples:
        spec = self.specs[side] = self.choose_spec(side, side, Side(files, 0), channels)
        return Samples(
            files,
            partial(decode_one, spec),
            [spec],
            self.options,
            self.skipped,
            self.remarks,
            partial(file_size, spec),
        )


def _no_sides(root: Place) -> DataError:
    """The error of a folder without two sets, by what it holds instead."""
    holder = split_folder(root, "train")
    others = other_sides(holder)
    if others:
        first, second = (folder.name for folder in others)
        return DataError(
            f"{holder} has the folders {first} and {second}, not A and B or trainA and trainB: rename them"
        )
    if looks_side_by_side(find_images(holder), seams=True):
        return DataError(
            f"{holder} holds pairs side by side: train a method for pairs on them, such as pix2pix, "
            "or put the two kinds of images into trainA and trainB"
        )
    return DataError(f"{root} has no folders trainA and trainB: put the two sets of images there")
