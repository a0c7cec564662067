"""Looking at one item: what is kept of its images for the findings and the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from translatekit.datasets.palette import PALETTE_FILE, Palette, learn_palette
from translatekit.errors import DataError
from translatekit.images import Image, open_image, resize
from translatekit.images.formats import format_of
from translatekit.requirements import missing, of_extra
from translatekit_tools.prepare.alignment import correlation
from translatekit_tools.prepare.check.items import Found, Item
from translatekit_tools.prepare.check.values import Values, measure
from translatekit_tools.prepare.output import read_bytes
from translatekit_tools.prepare.preview import is_photograph, preview_of
from translatekit_tools.prepare.rasters import is_georeferenced, misfit, open_raster
from translatekit_tools.prepare.similar import perceptual_hash
from translatekit_tools.prepare.work import attempt_all

THUMBNAIL = 160  # pixels of a side
_PALETTE_IMAGES = 24


@dataclass(slots=True)
class Looked:
    """What is kept of an item: nothing as large as its images."""

    split: str
    item: Item
    digest: bytes
    hashes: list[int]
    sizes: list[tuple[int, int]]
    values: list[Values]
    misplaced: str
    correlation: np.ndarray | None
    counts: list[np.ndarray | None]
    thumbnail: np.ndarray


def images_of(item: Item, halves: bool) -> list[Image]:
    """The images of an item: its files (of volumes, the middle slice), or the halves of its one file."""
    images = [_read(path) for path in item]
    if not halves:
        return images
    height, width = images[0].pixels.shape[:2]
    half = width // 2
    if not half:
        raise DataError(f"{item[0]} is 1 pixel wide and cannot hold two halves: replace or remove it")
    return [images[0].part(0, 0, height, half), images[0].part(0, width - half, height, half)]


def _read(path: Path) -> Image:
    with open_image(path) as file:
        is_volume = format_of(path).volumes and path.suffix.lower() not in (".tif", ".tiff")
        return file.read(file.header().pages // 2 if is_volume else 0)


def look_at(
    split: str,
    item: Item,
    halves: bool,
    pairs: bool,
    palettes: Sequence[Palette | None],
    bounds: Sequence[Sequence[tuple[float, float]]] = ((), ()),
) -> Looked:
    """What is kept of an item.

    Args:
        split: that it is in.
        item: its files.
        halves: whether two images lie side by side in one file.
        pairs: whether its two images belong together.
        palettes: of each image that is a label map.
        bounds: the range of values that is asked of each image, for all channels or for each; empty for none.

    Raises:
        TranslatekitError: one of its files cannot be used.
    """
    digest = blake2b(digest_size=16)
    for path in item:
        digest.update(blake2b(read_bytes(path)).digest())
    read = images_of(item, halves)
    values = [measure(image, asked) for image, asked in zip(read, bounds, strict=False)]
    images = [preview_of(image) for image in read]
    aligned = pairs and images[0].shape == images[1].shape
    counts = [
        None
        if palette is None
        else np.bincount(palette.nearest(image).ravel(), minlength=len(palette.colors))
        for image, palette in zip(images, palettes, strict=False)
    ]
    thumbnails = [resize(image, (THUMBNAIL, THUMBNAIL)) for image in images]
    return Looked(
        split=split,
        item=item,
        digest=digest.digest(),
        hashes=[perceptual_hash(image) for image in images],
        sizes=[image.shape[:2] for image in images],
        values=values,
        misplaced=misplacement_of(item) if aligned and len(item) == 2 else "",
        correlation=correlation(*images) if aligned else None,
        counts=counts,
        thumbnail=np.concatenate(thumbnails, axis=1),
    )


def misplacement_of(item: Item) -> str:
    """How the coordinates of two rasters differ, in words; empty where they don't, or where there are none."""
    if missing(of_extra("geo", "rasterio")) or not all(map(is_georeferenced, item)):
        return ""
    with open_raster(item[0]) as a, open_raster(item[1]) as b:
        return misfit(a, b)


def find_palettes(data: Path, found: Found, halves: bool) -> list[Palette | None]:
    """The palette of each side that holds label maps, from its own file or learned from some of the images."""
    given = Palette.load(data / PALETTE_FILE) if (data / PALETTE_FILE).is_file() else None
    if found.kind == "unpaired":
        return [None]  # nobody paints from these
    chosen = np.unique(np.linspace(0, len(found.items) - 1, _PALETTE_IMAGES).astype(int))
    some = [
        images
        for _, images, _ in attempt_all(
            [found.items[number][1] for number in chosen], lambda item: images_of(item, halves)
        )
        if images is not None
    ]
    palettes: list[Palette | None] = []
    for side in zip(*some, strict=True):
        # Values are no colours, however few there are.
        learned = learn_palette(list(map(preview_of, side))) if all(map(is_photograph, side)) else None
        palettes.append(None if learned is None else given or Palette.of(learned))
    return palettes
