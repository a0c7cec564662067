"""The same images in other sizes: resized, cropped, cut into tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit.images import Picture, read_picture, resize
from translatekit.sizes import Box, Size
from translatekit_tools.prepare.work import (
    Format,
    Made,
    Output,
    Progress,
    Source,
    Summary,
    encoded,
    find_sources,
    resize_nearest,
    suffix_for,
    work_on,
)

Cut = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From (H, W, C) to the images made of it, by what is added to the name."""


def resize_images(
    images: Path,
    out: Path,
    *,
    size: Size | None = None,
    short: int | None = None,
    long: int | None = None,
    filter: Literal["bicubic", "nearest"] = "bicubic",
    pairs: bool = False,
    format: Format = "keep",
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write images in another size.

    Args:
        images: a folder.
        out: where they go, under the same names.
        size: the new size exactly, whatever becomes of the shape.
        short: pixels of the shorter side, keeping the shape.
        long: pixels of the longer side, keeping the shape.
        filter: ``nearest`` for label maps, whose colours must not mix.
        pairs: each file holds two images side by side, each of which is resized.
        format: ``keep`` for the file's own.
        force: replace what is there.
        progress: is told how far it is.

    Raises:
        OptionError: not exactly one of `size`, `short` and `long`.
    """
    if sum(value is not None for value in (size, short, long)) != 1:
        raise OptionError("one of --size, --short and --long says how large: pass exactly one")

    def cut(pixels: np.ndarray) -> dict[str, np.ndarray]:
        height, width = pixels.shape[:2]
        if size is not None:
            new = size.height, size.width
        else:
            scale = short / min(height, width) if short is not None else (long or 0) / max(height, width)
            new = max(1, round(height * scale)), max(1, round(width * scale))
        return {"": resize_nearest(pixels, new) if filter == "nearest" else resize(pixels, new)}

    recipe = {"resize": size, "short": short, "long": long, "filter": filter}
    return _cut_all(images, out, cut, recipe, pairs, format, force, progress)


def crop_images(
    images: Path,
    out: Path,
    *,
    size: Size | None = None,
    box: Box | None = None,
    pairs: bool = False,
    format: Format = "keep",
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Write a part of each image: the centre of a size, or a box.

    Images that are too small are failures, not padded.

    Raises:
        OptionError: not exactly one of `size` and `box`.
    """
    if (size is None) == (box is None):
        raise OptionError("--size crops the centre and --box a place: pass exactly one")

    def cut(pixels: np.ndarray) -> dict[str, np.ndarray]:
        height, width = pixels.shape[:2]
        if box is not None:
            left, top, w, h = box
        else:
            assert size is not None
            w, h = size
            left, top = (width - w) // 2, (height - h) // 2
        if min(left, top) < 0 or left + w > width or top + h > height:
            raise DataError(f"it is {width}x{height}, too small for this crop: resize it, or crop less")
        return {"": pixels[top : top + h, left : left + w]}

    return _cut_all(images, out, cut, {"crop": size, "box": box}, pairs, format, force, progress)


def tile_images(
    images: Path,
    out: Path,
    *,
    size: Size,
    overlap: int = 0,
    whole: bool = False,
    pairs: bool = False,
    format: Format = "keep",
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Cut each image into tiles, ``NAME_yTOP_xLEFT``.

    Args:
        images: a folder.
        out: where the tiles go.
        size: of a tile.
        overlap: pixels that neighbours share.
        whole: leave out what does not fill a tile. Else the last tile of a row or column is moved inwards, so that
            every pixel is in a tile.
        pairs: each file holds two images side by side; both are cut alike.
        format: ``keep`` for the file's own.
        force: replace what is there.
        progress: is told how far it is.

    Raises:
        OptionError: the overlap is as large as the tile.
    """
    width, height = size
    if overlap >= min(size):
        raise OptionError(f"--overlap must be less than the tile of {size} pixels, got {overlap}")

    def cut(pixels: np.ndarray) -> dict[str, np.ndarray]:
        if pixels.shape[0] < height or pixels.shape[1] < width:
            raise DataError(
                f"it is {pixels.shape[1]}x{pixels.shape[0]}, smaller than a tile of {size}: "
                "resize it, or pass a smaller --size"
            )
        tops, lefts = (
            _starts(side, tile, overlap, whole)
            for side, tile in zip(pixels.shape[:2], (height, width), strict=True)
        )
        return {
            f"_y{top:05}_x{left:05}": pixels[top : top + height, left : left + width]
            for top in tops
            for left in lefts
        }

    recipe = {"tile": size, "overlap": overlap, "whole": whole}
    return _cut_all(images, out, cut, recipe, pairs, format, force, progress)


def _starts(side: int, tile: int, overlap: int, whole: bool) -> list[int]:
    starts = list(range(0, side - tile + 1, tile - overlap))
    if not whole and starts[-1] + tile < side:
        starts.append(side - tile)
    return starts


def _cut_all(
    images: Path,
    out: Path,
    cut: Cut,
    recipe: dict[str, Any],
    pairs: bool,
    format: Format,
    force: bool,
    progress: Progress | None,
) -> Summary:
    sources = find_sources(images, out)
    output = Output(out, [source.path for source in sources], force)

    def make(source: Source) -> Made:
        picture = read_picture(source.path)
        suffix = suffix_for(source.path, format)
        made: Made = {}
        for added, part in _parts(picture, cut, pairs):
            made |= encoded(f"{source.name}{added}{suffix}", part)
        return made

    return work_on(output, sources, make, {**recipe, "pairs": pairs, "format": format}, progress)


def _parts(picture: Picture, cut: Cut, pairs: bool) -> list[tuple[str, Picture]]:
    """The parts of an image with its transparency and colour profile."""
    pixels = picture.pixels
    colors = pixels.shape[2]
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[:, :, None]], axis=2)
    if pairs:
        if pixels.shape[1] < 2 or pixels.shape[1] % 2:
            raise DataError(f"it is {pixels.shape[1]} pixels wide, which are no two equal halves: mend it")
        left, right = (cut(half) for half in np.split(pixels, 2, axis=1))
        made = {added: np.concatenate([left[added], right[added]], axis=1) for added in left}
    else:
        made = cut(pixels)
    return [
        (
            added,
            Picture(
                np.ascontiguousarray(part[:, :, :colors]),
                part[:, :, colors] if picture.alpha is not None else None,
                picture.icc_profile,
            ),
        )
        for added, part in made.items()
    ]
