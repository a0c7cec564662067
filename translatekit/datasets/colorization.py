"""Colour images, to learn colour from gray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch

from translatekit.augmentation import Augment
from translatekit.datasets.base import BaseDataset, Samples, decode_one, file_size
from translatekit.datasets.layouts import checked_root, find_split
from translatekit.datasets.shards import open_shards
from translatekit.datasets.slices import Files
from translatekit.datasets.stored import Place
from translatekit.datasets.transforms import draw_geometry, to_tensor
from translatekit.image_spec import GRAY, RGB, Codec
from translatekit.images import to_gray
from translatekit.images.color import scaled_ab, scaled_l
from translatekit.interfaces import DataOptions


class Colorization(BaseDataset):
    """Colour images in, pairs of gray and colour out.

    ROOT/train (val, test), or for training the files of ROOT itself where it has no folder ``train``.

    Args:
        root: the folder.
        options: how images are read.
        mode: ``rgb``: from gray (luma) to RGB. ``lab``: from L* to a*b*; the input is the L* of the same
            gray, since gray is all there is at inference, and the colour is put back on it.

    Raises:
        MissingSplitError: the folder has images, but none for this split.
        DataError: missing or empty folder, or images too small for the crop.
    """

    def __init__(self, root: Place | None, options: DataOptions, mode: Literal["rgb", "lab"] = "rgb") -> None:
        super().__init__(options)
        codec: Codec = "lab" if mode == "lab" else "linear"
        self.specs = {"input": replace(GRAY, codec=codec), "target": replace(RGB, codec=codec)}
        files: Sequence[Files]
        shards = open_shards(root, ("images",), "colorization", options)
        if shards is not None:
            files, self.order = shards, shards.order
        else:
            root = checked_root(root, "colorization")
            files = [
                (path,) for path in find_split(root, options.read_split, f"colour images into {root}/train")
            ]
        self._samples = Samples(
            files,
            partial(decode_one, RGB),
            [RGB],
            options,
            self.skipped,
            self.remarks,
            partial(file_size, RGB),
        )

    def __len__(self) -> int:
        """Images."""
        return len(self._samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``input`` (1, H, W) and ``target`` (3 or 2, H, W), float32 in [-1, 1], and ``name``."""
        rng = self.rng(index)
        (name,), (pixels,), _ = self._samples[index]
        geometry = draw_geometry(rng, self.options, pixels.shape[:2])
        augment = self.options.augment or Augment()
        rgb = geometry.recolored(geometry(pixels), RGB, augment.color)
        gray = to_gray(rgb)
        if self.specs["input"].codec == "linear":
            source, target = to_tensor(gray), to_tensor(rgb)
        else:
            source, target = (
                torch.from_numpy(array.transpose(2, 0, 1).copy())
                for array in (scaled_l(gray), scaled_ab(rgb))
            )
        return {"input": source, "target": target, "name": name}
