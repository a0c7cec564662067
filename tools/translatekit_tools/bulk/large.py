"""Images larger than the memory: read by parts, translated in tiles, written row by row as a tiled TIFF."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np

from translatekit.errors import DataError
from translatekit.images import Image, fit_image, image_from, read_header, suffix_of, to_uint8
from translatekit.images.formats import OpenImage, open_image
from translatekit.images.image import Header, with_alpha
from translatekit.images.tiff import with_nodata
from translatekit.images.tiff_tags import TIFF
from translatekit.images.tiled import TiledTiffWriter
from translatekit.inference.inputs import as_deep_as_output, cut_to_8_bits
from translatekit.inference.predictor import Predictor
from translatekit.inference.tiles import Tile, TiledTranslator, Window
from translatekit_tools.bulk.memory import describe
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.stats import StageTimer
from translatekit_tools.bulk.video.segments import Segments, alone_in

TILE = 512
"""The side of tiles where nobody says otherwise, in pixels; made a multiple of what the network needs."""

_TIFF_SUFFIXES = (".tif", ".tiff")


def translate_large(
    source: Path,
    out: Path,
    predictor: Predictor,
    options: RunOptions,
    made_from: tuple[str, str, str],
    limit: int,
    *,
    commit: Callable[[Path], None],
    report: Callable[[int, int], object],
    say: Callable[[str], object],
    timer: StageTimer,
) -> None:
    """Translate an image of which no more than a few tiles are in memory; a run that was stopped goes on.

    Args:
        source: the image.
        out: what is written, a tiled TIFF; the unfinished work is kept beside it, one file for each row of tiles.
        predictor: of the model.
        options: of the output.
        made_from: hashes of the input, the model (empty where it came from no file) and the options: what was made
            of others is not used.
        limit: bytes that may be taken.
        commit: called with the whole file, which it moves to its place.
        report: told how many rows of tiles are finished, of how many.
        say: told what the user should know.
        timer: told how long each stage is busy.

    Raises:
        DataError: the image or its output are of another kind, memory or disk are too small, or another process is
            translating it.
        OptionError: the network cannot be run in tiles.
    """
    header = read_header(source)
    _check(source, out, header, predictor, options)
    tiled = _in_tiles(source, header, predictor, say)
    _check_room(source, header, tiled, limit)
    translator = tiled.translator
    assert isinstance(translator, TiledTranslator)
    folder = out.with_name(f".{blake2b(os.fsencode(out.name), digest_size=8).hexdigest()}.translatekit.parts")
    with open_image(source) as image, alone_in(folder):
        regions = _Regions(image, header, tiled, str(source), timer)
        like = regions.like()
        plan = {"made_from": list(made_from), "tile": tiled.tile, "format": 1}
        segments = Segments(folder, plan if made_from[1] else None)
        try:
            if segments.frames:
                say(f"{source}: {segments.frames} of its {header.height} rows are there from an earlier run")
            _check_disk(out, like, header.height - segments.frames, header.width)
            if regions.cut:
                say(cut_to_8_bits(str(source)))
            _translate_rows(translator, regions, segments, report, timer)
            made = folder / "made.tif"
            with (
                timer.stage("write"),
                TiledTiffWriter(
                    made, (header.height, header.width), like, compression=options.compression
                ) as writer,
            ):
                for path in segments.paths:
                    writer.write(np.load(path))
            commit(made)
        except DataError as error:
            if not segments.frames or not made_from[1]:  # nothing that another run could go on with
                shutil.rmtree(folder, ignore_errors=True)
                raise
            raise type(error)(f"{error} (the {segments.frames} rows that are translated are kept)") from None
        shutil.rmtree(folder, ignore_errors=True)


def _translate_rows(
    translator: TiledTranslator,
    regions: _Regions,
    segments: Segments,
    report: Callable[[int, int], object],
    timer: StageTimer,
) -> None:
    """Translate what is not there yet, a segment for each row of tiles."""
    begin = Window.from_state(segments.state) if segments.state is not None else None
    parts = translator.rows(regions.size[0])
    start, decoding = time.perf_counter(), regions.seconds
    for window, rows in translator.stream(regions.size, regions, begin):
        now = time.perf_counter()
        timer.add("translate", now - start - (regions.seconds - decoding))
        with timer.stage("encode"):
            pixels = regions.finish(rows, window.top - len(rows))
            segments.add(partial(_save, pixels=pixels), window.state)
        report(len(segments.paths), parts)
        start, decoding = time.perf_counter(), regions.seconds


def _save(path: Path, pixels: np.ndarray) -> int:
    with path.open("wb") as file:
        np.save(file, pixels, allow_pickle=False)
    return len(pixels)


class _Regions:
    """The pixels of an image's tiles, reflected at its borders to a size that the network takes.

    The rows of the tiles of one row are read at once, since they lie side by side.

    Attributes:
        size: height and width of all tiles together, in pixels.
        cut: whether the image has more bits than the model takes.
        seconds: that reading has taken.
    """

    def __init__(
        self, image: OpenImage, header: Header, predictor: Predictor, name: str, timer: StageTimer
    ) -> None:
        self._image, self._predictor, self._name, self._timer = image, predictor, name, timer
        multiple = predictor.info.size_multiple
        self._rows, self._columns = (_reflected(side, multiple) for side in (header.height, header.width))
        self._height, self._width = header.height, header.width
        self.size = (len(self._rows), len(self._columns))
        self.cut = False
        self.seconds = 0.0
        self._top = 0
        self._strip: Image | None = None

    def __call__(self, tile: Tile) -> np.ndarray:
        """(h, w, C) of the model's input."""
        rows, columns = self._rows[tile.place[0]], self._columns[tile.place[1]]
        top, bottom = int(rows.min()), int(rows.max()) + 1
        left, right = int(columns.min()), int(columns.max()) + 1
        strip = self._read(top, bottom - top)
        pixels = self._fitted(strip.part(0, left, bottom - top, right - left))
        return pixels[np.ix_(rows - top, columns - left)]

    def finish(self, rows: np.ndarray, top: int) -> np.ndarray:
        """Finished rows as the file holds them, without those that are beyond the image's borders.

        Args:
            rows: (h, W, C) of the model's output, which lie in the row of tiles that was read last.
            top: of all tiles together, the first of them.
        """
        above, beside = (self.size[0] - self._height) // 2, (self.size[1] - self._width) // 2
        first, last = max(top - above, 0), min(top + len(rows) - above, self._height)
        inside = rows[first + above - top : last + above - top, beside : beside + self._width]
        assert self._strip is not None
        strip = self._strip
        return self._as_file(inside, strip.part(first - self._top, 0, last - first, self._width))[0]

    def like(self) -> Image:
        """An image of the kind that is written."""
        part = self._image.read_region(0, 0, 1, 1)
        spec, taken = self._predictor.info.output, self._fitted(part)
        dtype = np.dtype(np.uint8) if spec.meaning == "labels" else taken.dtype if spec.levels else np.float32
        _, made = self._as_file(np.zeros((1, 1, spec.count), dtype), part)
        tags = made.metadata.get(TIFF)
        # The writer mixes no values where some may be missing.
        has_missing = tags is not None and tags.nodata is not None
        return replace(made, valid=np.ones((1, 1), bool) if has_missing else None)

    def _read(self, top: int, height: int) -> Image:
        """Rows of the whole width."""
        strip = self._strip
        if strip is None or (self._top, len(strip.pixels)) != (top, height):
            self._strip = None  # two of them need not be in memory
            start = time.perf_counter()
            with self._timer.stage("decode"):
                self._strip = strip = self._image.read_region(top, 0, height, self._width)
            self._top = top
            self.seconds += time.perf_counter() - start
        return strip

    def _fitted(self, part: Image) -> np.ndarray:
        pixels = fit_image(part, self._predictor.info.input, self._name)
        if pixels.dtype != np.uint8 and "float32" not in self._predictor.dtypes:
            self.cut = True
            return to_uint8(pixels)
        return as_deep_as_output(pixels, self._predictor.info, self._predictor.dtypes)

    def _as_file(self, output: np.ndarray, part: Image) -> tuple[np.ndarray, Image]:
        """The numbers that are written, with alpha as the last channel; and the image that they are of."""
        made = image_from(
            output, self._predictor.info.output, self._predictor.carried(part, *output.shape[:2])
        )
        return np.ascontiguousarray(with_nodata(with_alpha(made), made, made.metadata.get(TIFF))), made


def _reflected(side: int, multiple: int) -> np.ndarray:
    """Which pixel each is, of one axis of an image that is reflected to a multiple (see `fit_pixels`)."""
    amount = -side % multiple
    return np.pad(
        np.arange(side), (amount // 2, amount - amount // 2), mode="edge" if side == 1 else "reflect"
    )


def _in_tiles(source: Path, header: Header, predictor: Predictor, say: Callable[[str], object]) -> Predictor:
    """The predictor in tiles: those that were asked for, or, where none were, the model's own or `TILE`."""
    if predictor.tile is not None:
        return predictor
    multiple = predictor.info.size_multiple
    fixed = re.fullmatch(r"(\d+)x\1", str(predictor.info.compiled.get("shapes", "any")))
    tile = int(fixed[1]) if fixed else max(-(-TILE // multiple), 2) * multiple
    say(
        f"{source}: {header.width}x{header.height} pixels are read by parts and translated in tiles of {tile} "
        "(see --tile)"
    )
    return predictor.in_tiles(tile)


# Refusals


def _check(source: Path, out: Path, header: Header, predictor: Predictor, options: RunOptions) -> None:
    size = f"{source} has {header.width}x{header.height} pixels, which are translated by parts"
    if suffix_of(out) not in _TIFF_SUFFIXES:
        raise DataError(f"{size}, and only into a TIFF: pass --format tiff")
    for name, value, wanted in (("--size", options.size, None), ("--fit", options.fit, "pad")):
        if value != wanted:
            raise DataError(f"{size}, where {name} {value} would need all of them at once: leave it out")
    if predictor.info.bridge is not None:
        raise DataError(
            f"{size}, and the model takes several passes, each over the whole image: make it smaller with --size, or "
            "cut it with translatekit prepare"
        )
    if predictor.info.input.slices > 1:
        raise DataError(
            f"{source} is one image, and the model takes {predictor.info.input.slices} neighbouring slices of a "
            "volume: give it the whole volume"
        )


def _check_room(source: Path, header: Header, predictor: Predictor, limit: int) -> None:
    """Refuse rows, of any width that a header may claim, that do not fit into memory."""
    taken, made = header.spec.count * np.dtype(header.spec.dtype).itemsize, predictor.info.output.count * 4
    places = 16 * (header.width + header.height)  # where each row and column lies
    needed = 2 * (taken + made) * header.width * min(header.height, predictor.tile or TILE) + places
    if needed > limit:
        raise DataError(
            f"a row of tiles of {source}, {header.width} pixels wide, takes about {describe(needed)}, more than the "
            f"{describe(limit)} that --memory leaves: pass a smaller --tile, or more --memory"
        )


def _check_disk(out: Path, like: Image, height: int, width: int) -> None:
    count = like.pixels.shape[2] + (like.alpha is not None)
    needed = height * width * count * like.pixels.dtype.itemsize
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise DataError(
            f"{out} takes about {describe(needed)} of disk until it is whole, and {describe(free)} are free: free some "
            "space or choose another folder"
        )
