"""Training tiles of whole slides and of rasters, alone or in pairs of the same places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from translatekit.datasets.layouts import listed
from translatekit.errors import DataError, OptionError
from translatekit_tools.prepare.cut import tile_starts
from translatekit_tools.prepare.foreground import otsu, saturation
from translatekit_tools.prepare.layout import check_name
from translatekit_tools.prepare.matching import by_key, stem_key
from translatekit_tools.prepare.options import TilesOptions
from translatekit_tools.prepare.output import Made, Output, refuse_inside
from translatekit_tools.prepare.rasters import (
    RASTER_SUFFIXES,
    Raster,
    aligned,
    coarsened,
    misfit,
    open_raster,
)
from translatekit_tools.prepare.work import Part, Progress, Source, Summary, work_on_parts

_LEAST_SATURATION = 0.03  # noise on glass has less; a slide without tissue has nothing else


def make_tiles(
    a: Path, b: Path | None, out: Path, options: TilesOptions, progress: Progress | None = None
) -> Summary:
    """Write the tiles of slides and rasters as TIFF files, ``NAME_yTOP_xLEFT.tiff``.

    Bands, their names, dtype, coordinates and nodata are those of the raster. Rasters are read by region, never whole.

    Args:
        a: a file, or a folder of slides or rasters.
        b: the same of B, whose files have the names of those of A; None for A alone.
        out: the dataset's folder.
        options: the tiles, and what counts as background.
        progress: is told how far it is.

    Returns:
        Its details: ``parts`` (tiles), and ``left_out`` of them.

    Raises:
        OptionError: options that contradict each other.
        DataError: there are no rasters, or none of A has a partner in B.
    """
    if options.overlap >= min(options.size):
        raise OptionError(
            f"--overlap must be less than the tile of {options.size} pixels, got {options.overlap}"
        )
    if options.level is not None and options.resolution is not None:
        raise OptionError("--level and --resolution both say how fine: pass one of them")
    check_name(options.split)
    sides = [_find(place, out) for place in (a, b) if place is not None]
    sources, unmatched, ambiguous = _matched(sides, options.strip)
    if not sources and not ambiguous:
        raise DataError(
            f"no file of {a} has a partner in {b}: give them equal names, or name what differs with --strip"
        )
    notes: list[str] = []

    @contextmanager
    def opened(source: Source) -> Iterator[Sequence[Part]]:
        with ExitStack() as stack:
            pair = [
                stack.enter_context(open_raster(path, level=options.level, resolution=options.resolution))
                for path in (source.path, source.partner)
                if path is not None
            ]
            if len(pair) == 2:
                pair[1] = _on_grid(pair[0], pair[1], source, options)
            thresholds = [_threshold(raster, options) for raster in pair]
            for side, threshold in zip("AB", thresholds, strict=False):
                if threshold is not None:
                    notes.append(f"{source.name}: tissue of {side} is more saturated than {threshold:.3f}")
            yield _parts(source, pair, thresholds, options)

    output = Output(out, [source.path for side in sides for source in side], options.force)
    recipe = {"tiles": {**options.recipe(), "strip": None}, "sides": len(sides)}
    summary = work_on_parts(
        output,
        sources,
        lambda source: filter(None, (source.path, source.partner)),
        opened,
        recipe,
        progress,
    )
    summary.failed += ambiguous
    summary.notes += notes
    if summary.details["left_out"]:
        summary.notes.append(
            f"{summary.details['left_out']} of {summary.details['parts']} tiles are less than "
            f"{100 * options.min_content:g}% tissue or data, and were left out"
        )
    if unmatched:
        summary.notes.append(f"{len(unmatched)} files have no partner: {listed(list(map(str, unmatched)))}")
    summary.details["unmatched"] = list(map(str, unmatched))
    return summary


def _find(place: Path, out: Path) -> list[Source]:
    place = place.expanduser()
    if place.is_file():
        return [Source(place, place.stem)]
    if not place.exists():
        raise DataError(f"there is no file or folder {place}: check the path")
    refuse_inside(out, place)
    files = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in RASTER_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise DataError(
            f"{place} holds no slides or rasters ({', '.join(sorted(RASTER_SUFFIXES))}): check the path"
        )
    return [Source(path, path.relative_to(place).with_suffix("").as_posix()) for path in files]


def _matched(
    sides: Sequence[list[Source]], strip: Sequence[str]
) -> tuple[list[Source], list[Path], list[tuple[Path, str]]]:
    """What is to be worked on, what has no partner, and what has several."""
    if len(sides) == 1:
        return sides[0], [], []
    a, b = sides
    if len(a) == len(b) == 1:  # nothing can be mistaken
        return [Source(a[0].path, a[0].name, b[0].path)], [], []
    keys = [{stem_key(source.name, strip) for source in side} for side in sides]
    if not keys[0] & keys[1]:
        return [], [], []
    matches, ambiguous = by_key(a, b, lambda name: stem_key(name, strip), "", named=True)
    paired = {path for _, *paths in matches for path in paths} | {path for path, _ in ambiguous}
    unmatched = [source.path for side in sides for source in side if source.path not in paired]
    return [Source(first, name, second) for name, first, second in matches], unmatched, ambiguous


def _on_grid(a: Raster, b: Raster, source: Source, options: TilesOptions) -> Raster:
    difference = misfit(a, b)
    if not difference:
        return b if options.resample_b == "no" else coarsened(b, options.resample_b)
    if options.resample_b == "no":
        raise DataError(
            f"{source.partner} {difference}: pass --resample-b bilinear (or nearest, for class numbers) to bring it "
            f"onto the grid of {source.path}"
        )
    return aligned(b, a, options.resample_b)


def _threshold(raster: Raster, options: TilesOptions) -> float | None:
    """The saturation above which a slide shows tissue; None for a raster."""
    overview = raster.overview()
    if overview is None:
        return None
    if options.saturation is not None:
        return options.saturation
    return max(otsu(saturation(overview)), _LEAST_SATURATION)


def _parts(
    source: Source, pair: Sequence[Raster], thresholds: Sequence[float | None], options: TilesOptions
) -> list[Part]:
    width, height = options.size
    first = pair[0]
    if first.width < width or first.height < height:
        raise DataError(
            f"it is {first.width}x{first.height} at this resolution, smaller than a tile of {options.size}: "
            "pass a smaller --size, or a finer --level or --resolution"
        )

    def make(left: int, top: int) -> Made:
        regions = [raster.read(left, top, width, height) for raster in pair]
        contents = np.ones((height, width), bool)
        tissue = [
            saturation(pixels) > threshold
            for (pixels, _), threshold in zip(regions, thresholds, strict=True)
            if threshold is not None
        ]
        if tissue:
            contents &= np.any(tissue, axis=0)  # an unstained side shows none
        for _, valid in regions:
            if valid is not None:
                contents &= valid
        if contents.mean() < options.min_content or not contents.any():
            return {}
        made: Made = {}
        for side, raster, (pixels, valid) in zip("AB", pair, regions, strict=False):
            folder = "/".join(filter(None, (options.split, side if len(pair) == 2 else "")))
            name = f"{source.name}_y{top:05}_x{left:05}.tiff"
            made[f"{folder}/{name}" if folder else name] = raster.encode(pixels, valid, left, top)
        return made

    def part(left: int, top: int) -> Part:
        return Part(f"y{top:05}_x{left:05}", lambda: make(left, top))

    tops, lefts = (
        tile_starts(side, tile, options.overlap, options.whole)
        for side, tile in ((first.height, height), (first.width, width))
    )
    return [part(left, top) for top in tops for left in lefts]
