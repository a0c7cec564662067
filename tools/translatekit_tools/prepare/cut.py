"""The same images in other sizes: resized, cropped, cut into tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import Image, encode_image, read_image, resize
from translatekit.images.tiff_tags import TIFF
from translatekit_tools.prepare.layout import resize_nearest, suffix_for
from translatekit_tools.prepare.options import CropOptions, CutOptions, ResizeOptions, TileOptions
from translatekit_tools.prepare.output import Made, Output
from translatekit_tools.prepare.work import Progress, Source, Summary, find_sources, work_on

Corner = tuple[int, int]
"""The first row and column of a part."""

Cut = Callable[[np.ndarray], dict[str, tuple[np.ndarray, Corner | None]]]
"""From (H, W, C) to the images made of it, by what is added to the name; all of it in another size has no corner."""

_VALUES = ImageSpec(channels=("value",), meaning="values", levels=False)


def resize_images(
    images: Path, out: Path, options: ResizeOptions, progress: Progress | None = None
) -> Summary:
    """Write images in another size, under the same names.

    Args:
        images: a folder.
        out: where they go.
        options: the size, and the rest.
        progress: is told how far it is.

    Raises:
        OptionError: not exactly one of ``size``, ``short`` and ``long``.
    """
    size, short, long = options.size, options.short, options.long
    if sum(value is not None for value in (size, short, long)) != 1:
        raise OptionError("one of --size, --short and --long says how large: pass exactly one")

    def cut(pixels: np.ndarray) -> dict[str, tuple[np.ndarray, Corner | None]]:
        height, width = pixels.shape[:2]
        if size is not None:
            new = size.height, size.width
        else:
            scale = short / min(height, width) if short is not None else (long or 0) / max(height, width)
            new = max(1, round(height * scale)), max(1, round(width * scale))
        return {
            "": (resize_nearest(pixels, new) if options.filter == "nearest" else _resized(pixels, new), None)
        }

    return _cut_all("resize", images, out, cut, options, progress)


def crop_images(images: Path, out: Path, options: CropOptions, progress: Progress | None = None) -> Summary:
    """Write a part of each image: the centre of a size, or a box.

    Images that are too small are failures, not padded.

    Raises:
        OptionError: not exactly one of ``size`` and ``box``.
    """
    size, box = options.size, options.box
    if (size is None) == (box is None):
        raise OptionError("--size crops the centre and --box a place: pass exactly one")

    def cut(pixels: np.ndarray) -> dict[str, tuple[np.ndarray, Corner | None]]:
        height, width = pixels.shape[:2]
        if box is not None:
            left, top, w, h = box
        else:
            assert size is not None
            w, h = size
            left, top = (width - w) // 2, (height - h) // 2
        if min(left, top) < 0 or left + w > width or top + h > height:
            raise DataError(f"it is {width}x{height}, too small for this crop: resize it, or crop less")
        return {"": (pixels[top : top + h, left : left + w], (top, left))}

    return _cut_all("crop", images, out, cut, options, progress)


def tile_images(images: Path, out: Path, options: TileOptions, progress: Progress | None = None) -> Summary:
    """Cut each image into tiles, ``NAME_yTOP_xLEFT``.

    Args:
        images: a folder.
        out: where the tiles go.
        options: the size of a tile, and the rest.
        progress: is told how far it is.

    Raises:
        OptionError: the overlap is as large as the tile.
    """
    size, overlap = options.size, options.overlap
    width, height = size
    if overlap >= min(size):
        raise OptionError(f"--overlap must be less than the tile of {size} pixels, got {overlap}")

    def cut(pixels: np.ndarray) -> dict[str, tuple[np.ndarray, Corner | None]]:
        if pixels.shape[0] < height or pixels.shape[1] < width:
            raise DataError(
                f"it is {pixels.shape[1]}x{pixels.shape[0]}, smaller than a tile of {size}: "
                "resize it, or pass a smaller --size"
            )
        tops, lefts = (
            tile_starts(side, tile, overlap, options.whole)
            for side, tile in zip(pixels.shape[:2], (height, width), strict=True)
        )
        return {
            f"_y{top:05}_x{left:05}": (pixels[top : top + height, left : left + width], (top, left))
            for top in tops
            for left in lefts
        }

    return _cut_all("tile", images, out, cut, options, progress)


def tile_starts(side: int, tile: int, overlap: int, whole: bool) -> list[int]:
    """Where the tiles along a side begin: with `whole`, what does not fill a tile is left out; else the last one is
    moved inwards."""
    starts = list(range(0, side - tile + 1, tile - overlap))
    if not whole and starts[-1] + tile < side:
        starts.append(side - tile)
    return starts


def _cut_all(
    command: str, images: Path, out: Path, cut: Cut, options: CutOptions, progress: Progress | None
) -> Summary:
    sources = find_sources(images, out)
    output = Output(out, [source.path for source in sources], options.force)

    def make(source: Source) -> Made:
        image = read_image(source.path)
        suffix = suffix_for(source.path, options.format)
        return {
            f"{source.name}{added}{suffix}": encode_image(part, suffix)
            for added, part in _parts(image, cut, options.pairs).items()
        }

    return work_on(output, sources, make, {"command": command, **options.recipe()}, progress)


def _parts(image: Image, cut: Cut, pairs: bool) -> dict[str, Image]:
    """The parts of an image in its own numbers, with its transparency, missing values, profile and place on earth."""
    width = image.pixels.shape[1]
    if pairs and (width < 2 or width % 2):
        raise DataError(f"it is {width} pixels wide, which are no two equal halves: mend it")

    def parts_of(plane: np.ndarray) -> dict[str, tuple[np.ndarray, Corner | None]]:
        if not pairs:
            return cut(plane)
        left, right = (cut(half) for half in np.split(plane, 2, axis=1))
        return {
            added: (np.concatenate([part, right[added][0]], axis=1), corner)
            for added, (part, corner) in left.items()
        }

    planes = {
        name: parts_of(plane if plane.ndim == 3 else plane[:, :, None])
        for name in ("pixels", "alpha", "valid")
        if (plane := getattr(image, name)) is not None
    }
    made = {}
    for added, (pixels, corner) in planes["pixels"].items():
        cuts: dict[str, Any] = {name: np.ascontiguousarray(parts[added][0]) for name, parts in planes.items()}
        for name in cuts.keys() & {"alpha", "valid"}:
            cuts[name] = cuts[name][:, :, 0]
        if corner is not None and TIFF in image.metadata:
            tags = image.metadata[TIFF].part(*corner, *pixels.shape[:2])
            cuts["metadata"] = {**image.metadata, TIFF: tags}
        made[added] = replace(image, **cuts, numbers=None, palette=None)
    return made


def _resized(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Any numbers (H, W, C) by the bicubic filter, which overshoots no channel's lowest and highest."""
    if plane.dtype == np.uint8:
        return resize(plane, size)
    if plane.dtype == bool or not np.isfinite(plane).all():
        raise DataError(
            "it has pixels without data, which the bicubic filter would smear: pass --filter nearest"
        )
    values = resize(plane.astype(np.float32), size, _VALUES)
    return values if plane.dtype == np.float32 else np.rint(values).astype(plane.dtype)
