"""Images that are nearly the same: frames of one scene, copies in other sizes and qualities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
from PIL import Image

from translatekit_tools.prepare.layout import to_rgb

_ONES = np.array([bin(number).count("1") for number in range(2**16)], np.uint8)
_ROWS = 256  # of the table of distances at a time


def perceptual_hash(pixels: np.ndarray) -> int:
    """64 bits of the lowest frequencies of an image (H, W, C) uint8, which resizing and compression keep."""
    small = Image.fromarray(to_rgb(pixels))
    return int(str(imagehash.phash(small)), 16)


def distance(a: int, b: int) -> int:
    """In how many bits two hashes differ."""
    return bin(a ^ b).count("1")


def near_pairs(hashes: Sequence[Sequence[int]], max_bits: int) -> Iterator[tuple[int, int]]:
    """Which items are near-duplicates of each other.

    Args:
        hashes: of each item's images; every item has as many. Two items are near when all of their images are.
        max_bits: bits in which near ones may differ.
    """
    if not hashes:
        return
    columns = np.array(hashes, np.uint64)
    for start in range(0, len(columns), _ROWS):
        rows = columns[start : start + _ROWS]
        near = np.ones((len(rows), len(columns)), bool)
        for image in range(columns.shape[1]):
            near &= _distances(rows[:, image], columns[:, image]) <= max_bits
        for row, column in np.argwhere(near):
            if start + row < column:
                yield int(start + row), int(column)


def groups(count: int, pairs: Iterator[tuple[int, int]]) -> list[list[int]]:
    """The items 0 to `count` in groups that are connected by pairs, in order of their first items."""
    leader = list(range(count))

    def find(item: int) -> int:
        while leader[item] != item:
            leader[item] = leader[leader[item]]
            item = leader[item]
        return item

    for a, b in pairs:
        first, second = sorted((find(a), find(b)))
        leader[second] = first
    found: dict[int, list[int]] = {}
    for item in range(count):
        found.setdefault(find(item), []).append(item)
    return list(found.values())


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    different = a[:, None] ^ b[None, :]
    words = different.view(np.uint16).reshape(*different.shape, 4)
    return _ONES[words].sum(-1, dtype=np.uint8)
