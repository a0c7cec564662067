"""One folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from translatekit.datasets.base import BaseDataset, ChannelCount, Samples, Side, decode_one, file_size
from translatekit.datasets.layouts import checked_root, find_split
from translatekit.datasets.shards import open_shards
from translatekit.datasets.slices import Files, expand
from translatekit.datasets.stored import Place
from translatekit.datasets.transforms import draw_geometry
from translatekit.interfaces import DataOptions


class Single(BaseDataset):
    """One folder of images, each its own input and target, as for an autoencoder.

    ROOT/train (val, test), or for training the files of ROOT itself where it has no folder ``train``.

    Args:
        root: the folder.
        options: how images are read.
        channels: 3 for RGB, 1 for gray; None for RGB where files are gray or RGB, else as they have them.

    Raises:
        MissingSplitError: the folder has images, but none for this split.
        DataError: missing or empty folder, or images too small for the crop.
    """

    def __init__(
        self,
        root: Place | None,
        options: DataOptions,
        channels: ChannelCount = None,
    ) -> None:
        super().__init__(options)
        files: Sequence[Files]
        shards = open_shards(root, ("images",), "single", options)
        if shards is not None:
            files, self.order = shards, shards.order
        else:
            root = checked_root(root, "single")
            found = find_split(root, options.read_split, f"images into {root}/train")
            files = expand([(path,) for path in found], options.slices, options.slice_axis)
        spec = self.choose_spec("target", "image", Side(files, 0), channels)
        self.specs = {"input": spec, "target": spec}
        self.side_of["input"] = "image"
        self._samples = Samples(
            files,
            partial(decode_one, spec),
            [spec],
            options,
            self.skipped,
            self.remarks,
            partial(file_size, spec),
        )

    def __len__(self) -> int:
        """Images."""
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``input`` and ``target``, (C, H, W) float32 in [-1, 1], equal, and ``name``."""
        rng = self.rng(index)
        (name,), (pixels,), _ = self._samples[index]
        image = self.tensor("input", pixels, draw_geometry(rng, self.options, pixels.shape[:2]))
        return {"input": image, "target": image.clone(), "name": name}
