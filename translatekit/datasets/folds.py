"""The parts of a folder's training images that one is validated on and the others are trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from translatekit.augmentation import Fold
from translatekit.datasets.shards import ShardSamples
from translatekit.datasets.slices import Files, Slice
from translatekit.errors import DataError


def part_of(files: Sequence[Files], fold: Fold, held_out: bool) -> list[Files]:
    """The samples of a fold, or all the others.

    Which sample is in which fold depends on nothing but their names' order, so that the folds of five runs are those
    of one split. The slices of a volume stay together.

    Args:
        files: of each sample.
        fold: which, of how many.
        held_out: take the fold itself.

    Raises:
        DataError: there are fewer files than folds, or they lie in shards, which are not listed.
    """
    if isinstance(files, ShardSamples):
        raise DataError(
            f"--fold {fold} needs a folder of images, and {files.source.uri} holds shards: make shards of each part, "
            "by translatekit prepare split before prepare shards"
        )
    owners = [str(first.path if isinstance(first, Slice) else first) for first, *_ in files]
    names = list(dict.fromkeys(owners))
    if len(names) < fold.of:
        raise DataError(f"{len(names)} images cannot be split into {fold.of} folds: pass fewer, such as 1/2")
    places = np.random.default_rng(0).permutation(len(names)) % fold.of
    chosen = {
        name for name, place in zip(names, places, strict=True) if (place == fold.number - 1) == held_out
    }
    return [sample for sample, owner in zip(files, owners, strict=True) if owner in chosen]
