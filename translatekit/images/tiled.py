"""TIFF larger than the memory: read by parts, written row by row, with a pyramid of smaller levels."""

from __future__ import annotations

import math
import queue
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from translatekit.errors import DataError, StorageError
from translatekit.images.image import Image
from translatekit.images.tiff_tags import TIFF, nodata_as, options, read_tags

_TILE = 256  # pixels a side
_SMALLEST = 512  # pixels: no level is made of one that has no longer side
_AHEAD = 4  # rows of tiles between who makes them and who compresses them


class TiledTiffWriter:
    """A tiled BigTIFF that takes rows from the top, of which no more than a few tiles' height are in memory.

    The levels of its pyramid, each half the size of the one before, wait in temporary files beside it.

    Example::

        with TiledTiffWriter(path, (40_000, 40_000), like) as writer:
            for rows in strips:  # (h, 40_000, C)
                writer.write(rows)
    """

    def __init__(
        self, path: Path, size: tuple[int, int], like: Image, *, compression: int = 4, pyramid: bool = True
    ) -> None:
        """Start a file.

        Args:
            path: where to; use `translatekit.storage.atomic_path` for one that appears when it is whole.
            size: height and width, in pixels.
            like: an image of the kind that is written: its dtype, channels, profile and metadata; where it has alpha,
                that is the last channel of all rows.
            compression: effort of deflate, from 0 (none) to 9.
            pyramid: whether smaller levels are written, too.
        """
        self._path, self._size, self._like = path, size, like
        self._compression = compression
        self._count = like.pixels.shape[2] + (like.alpha is not None)
        self._dtype = like.pixels.dtype
        self._given = 0
        self._rest: list[np.ndarray] = []
        self._levels = _levels(size) if pyramid else 0
        self._half: IO[bytes] | None = self._scratch() if self._levels else None
        self._strips: queue.Queue[np.ndarray | None] = queue.Queue(_AHEAD)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="translatekit-tiff", daemon=True)
        self._thread.start()

    def __enter__(self) -> TiledTiffWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def write(self, rows: np.ndarray) -> None:
        """Add rows below those that are there.

        Args:
            rows: (h, W, C) of the dtype of `like`; of any height.

        Raises:
            DataError: they are of another width or kind, or more than the image has.
            StorageError: the disk is full.
        """
        if rows.shape[1:] != (self._size[1], self._count) or rows.dtype != self._dtype:
            raise DataError(
                f"rows of {rows.shape} {rows.dtype} do not fit an image {self._size[1]} pixels wide with {self._count} "
                f"channels of {self._dtype}"
            )
        if self._given + len(rows) > self._size[0]:
            raise DataError(f"an image of {self._size[0]} rows was given more than that")
        self._given += len(rows)
        self._rest.append(rows)
        while sum(map(len, self._rest)) >= _TILE:
            joined = self._rest[0] if len(self._rest) == 1 else np.concatenate(self._rest)
            self._put(joined[:_TILE])
            self._rest = [joined[_TILE:]]

    def close(self) -> None:
        """Write what is left, and the levels of the pyramid.

        Raises:
            DataError: rows are missing.
            StorageError: the disk is full.
        """
        if self._given != self._size[0]:
            self.abort()
            raise DataError(f"an image of {self._size[0]} rows was given {self._given}")
        last = np.concatenate(self._rest) if self._rest else np.empty((0,))
        if len(last):
            self._put(last)
        self._put(None)
        self._thread.join()
        self._check()

    def abort(self) -> None:
        """End without a whole file, and leave none."""
        self._fault = self._fault or StorageError(f"{self._path} was not written: it was stopped")
        while self._thread.is_alive():
            try:
                self._strips.put(None, timeout=0.1)
            except queue.Full:
                continue
            self._thread.join(timeout=1)
        self._path.unlink(missing_ok=True)

    def _put(self, strip: np.ndarray | None) -> None:
        while True:
            self._check()
            try:
                return self._strips.put(strip, timeout=0.2)
            except queue.Full:
                continue

    def _check(self) -> None:
        if self._fault is None:
            return
        if isinstance(self._fault, OSError):
            reason = self._fault.strerror or self._fault
            raise StorageError(
                f"{self._path} was not written ({reason}): free some space or choose another folder"
            )
        raise self._fault

    def _run(self) -> None:
        try:
            self._write_levels()
        except BaseException as error:
            self._fault = self._fault or error

    def _write_levels(self) -> None:
        import tifffile

        with tifffile.TiffWriter(self._path, bigtiff=True) as tiff:
            self._write_level(tiff, self._size, self._tiles(self._incoming(), self._size), level=0)
            size, level = self._size, self._half
            for number in range(1, self._levels + 1):
                assert level is not None
                size = _halved(size)
                smaller = self._scratch() if number < self._levels else None
                strips = self._stored(level, size, smaller)
                self._write_level(tiff, size, self._tiles(strips, size), level=number)
                level.close()
                level = smaller

    def _write_level(self, tiff: Any, size: tuple[int, int], tiles: Iterator[np.ndarray], level: int) -> None:
        spec, compression = self._like.spec, self._compression
        is_rgb = spec.meaning == "rgb"
        has_alpha = self._like.alpha is not None
        extra = self._count - (3 if is_rgb else 1) - has_alpha
        tags = self._like.metadata.get(TIFF)
        if tags is not None and spec.meaning == "labels":
            tags = tags.of_classes()
        tiff.write(
            tiles,
            shape=(*size, self._count) if self._count > 1 else size,
            dtype=self._dtype,
            tile=(_TILE, _TILE),
            photometric="rgb" if is_rgb else "minisblack",
            planarconfig="contig" if self._count > 1 else None,
            extrasamples=["unspecified"] * extra + ["unassalpha"] * has_alpha or None,
            compression="zlib" if compression else None,
            compressionargs={"level": compression} if compression else None,
            predictor=bool(compression),
            iccprofile=self._like.icc_profile,
            maxworkers=1,
            subifds=self._levels if level == 0 else None,
            subfiletype=0 if level == 0 else 1,
            **(options(tags, spec.channels, size) if level == 0 else {"metadata": None}),
        )

    def _incoming(self) -> Iterator[np.ndarray]:
        """The strips that come in, each halved on its way."""
        while (strip := self._strips.get()) is not None:
            if self._fault is not None:
                raise self._fault
            if self._half is not None:
                self._halve(strip, self._half)
            yield strip
        if self._fault is not None:
            raise self._fault

    def _stored(
        self, level: IO[bytes], size: tuple[int, int], smaller: IO[bytes] | None
    ) -> Iterator[np.ndarray]:
        level.seek(0)
        for top in range(0, size[0], _TILE):
            shape = (min(_TILE, size[0] - top), size[1], self._count)
            data = level.read(math.prod(shape) * self._dtype.itemsize)
            strip = np.frombuffer(data, self._dtype).reshape(shape)
            if smaller is not None:
                self._halve(strip, smaller)
            yield strip

    def _tiles(self, strips: Iterator[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
        for strip in strips:
            for left in range(0, size[1], _TILE):
                tile = strip[:, left : left + _TILE]
                short = (_TILE - tile.shape[0], _TILE - tile.shape[1])
                if any(short):
                    tile = np.pad(tile, ((0, short[0]), (0, short[1]), (0, 0)))
                yield tile if self._count > 1 else tile[:, :, 0]

    def _halve(self, strip: np.ndarray, into: IO[bytes]) -> None:
        """Add a strip at half its size to a level; class numbers and missing values are not mixed."""
        if len(strip) % 2:
            strip = np.concatenate([strip, strip[-1:]])
        if strip.shape[1] % 2:
            strip = np.concatenate([strip, strip[:, -1:]], axis=1)
        if self._like.spec.meaning == "labels" or self._like.valid is not None:
            small = strip[::2, ::2]
        else:
            total = sum(strip[down::2, across::2].astype(np.float32) for down in (0, 1) for across in (0, 1))
            mean: np.ndarray = np.asarray(total) / 4
            small = (np.rint(mean) if self._dtype.kind in "iu" else mean).astype(self._dtype)
        into.write(np.ascontiguousarray(small).data)

    def _scratch(self) -> IO[bytes]:
        """A temporary file for the rows of a level, one after the other."""
        return tempfile.TemporaryFile(dir=self._path.parent)


def _levels(size: tuple[int, int]) -> int:
    return max(0, math.ceil(math.log2(max(size) / _SMALLEST))) if max(size) > _SMALLEST else 0


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2


def read_segments(page: Any, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A part of a page of tifffile's, (h, w, samples): only the strips or tiles that it lies in are decoded.

    Raises:
        DataError: it does not lie within the page, or a part of the file is missing.
    """
    rows, columns = page.imagelength, page.imagewidth
    if not (
        top >= 0 and left >= 0 and top + height <= rows and left + width <= columns and height > 0 < width
    ):
        raise DataError(
            f"it has {columns}x{rows} pixels, and no part {width}x{height} at row {top}, column {left}"
        )
    tall, wide = (
        (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, rows), columns)
    )
    down, across = -(-rows // tall), -(-columns // wide)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    empty = nodata_as(read_tags(page).nodata, page.dtype)
    out = np.full((height, width, page.samplesperpixel), 0 if empty is None else empty, page.dtype)
    handle, decode = page.parent.filehandle, page.decode  # whose making reads from the file
    tables: dict[str, Any] = {"jpegtables": page.jpegtables} if page.jpegtables is not None else {}
    for plane in range(planes):
        for row in range(top // tall, -(-(top + height) // tall)):
            for column in range(left // wide, -(-(left + width) // wide)):
                index = (plane * down + row) * across + column
                if index >= len(page.dataoffsets):
                    raise DataError(
                        "it is damaged or not accessible (it has too few tiles); replace or remove it"
                    )
                offset, size = page.dataoffsets[index], page.databytecounts[index]
                if not size:
                    continue  # a tile that was left out is empty, and has no values where there is a nodata value
                if offset + size > handle.size:
                    raise DataError("it is damaged or not accessible (it is cut off); replace or remove it")
                handle.seek(offset)
                segment, _, shape = decode(handle.read(size), index, **tables)
                tile = segment.reshape(segment.shape[-3:])[: shape[-3], : shape[-2]]
                _paste(out, tile, row * tall - top, column * wide - left, plane if planes > 1 else None)
    return out


def _paste(out: np.ndarray, tile: np.ndarray, top: int, left: int, plane: int | None) -> None:
    rows = slice(max(0, top), min(len(out), top + len(tile)))
    columns = slice(max(0, left), min(out.shape[1], left + tile.shape[1]))
    part = tile[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if plane is None:
        out[rows, columns] = part
    else:
        out[rows, columns, plane] = part[:, :, 0]
