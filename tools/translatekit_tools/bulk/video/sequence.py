"""Numbered images as a video."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from translatekit.errors import DataError
from translatekit.images import read_levels
from translatekit_tools.bulk.addresses import sequence_files
from translatekit_tools.bulk.video.reader import Frame, UnreadableVideoError, VideoInfo, Wanted


class SequenceReader:
    """Numbered images, open for reading (see `translatekit_tools.bulk.video.reader.Reader`); a tick is a frame."""

    def __init__(self, pattern: Path, rate: Fraction, *, skip_damaged: bool = False) -> None:
        """Look at the names of the files, and at the first.

        Args:
            pattern: such as ``frames/%06d.png``.
            rate: frames a second.
            skip_damaged: show the image before for as long where one is missing or damaged.

        Raises:
            DataError: there are none, or one is missing between others.
            UnreadableVideoError: the first is damaged.
        """
        self.path = pattern
        self.damaged: list[float] = []
        self.cut_off: tuple[float, float] | None = None
        self._files = sequence_files(pattern)
        self._skip_damaged = skip_damaged
        self._start = next(iter(self._files))
        self.end = 0
        last = next(reversed(self._files))
        if not skip_damaged and len(self._files) != last - self._start + 1:
            missing = next(number for number in range(self._start, last) if number not in self._files)
            raise DataError(
                f"{pattern.with_name(pattern.name % missing)} is missing among the images: add it, "
                "or pass --skip-damaged to show the one before for as long"
            )
        first, alpha = self._read(self._start)
        height, width = first.shape[:2]
        self.info = VideoInfo(
            width=width,
            height=height,
            time_base=1 / rate,
            rate=rate,
            frames=len(self._files),
            seconds=float((last - self._start + 1) / rate),
            deep=first.dtype != np.uint8,
            alpha=alpha is not None,
        )

    def close(self) -> None:
        """Nothing is open between two images."""

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        path = self._files[number]
        try:
            image = read_levels(path, 3)
        except DataError as error:
            raise UnreadableVideoError(f"{path.name}: {error}") from None
        return image.pixels, image.alpha

    def frames(self, wanted: Wanted | None = None) -> Iterator[Frame | None]:
        """All images, by their numbers; None for one that is not wanted.

        Raises:
            UnreadableVideoError: one is damaged, or of another size than the first.
        """
        self.damaged = []
        for number in self._files:
            pts = number - self._start
            self.end = pts + 1
            if wanted is not None and not wanted(pts, float(pts * self.info.time_base)):
                yield None
                continue
            try:
                pixels, alpha = self._matched(number)
            except UnreadableVideoError:
                if not self._skip_damaged:
                    raise
                self.damaged.append(float(pts * self.info.time_base))
                continue
            yield Frame(pixels, alpha, pts, 1, pts)

    def _matched(self, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        info = self.info
        pixels, alpha = self._read(number)
        if pixels.shape[:2] != (info.height, info.width):
            raise UnreadableVideoError(
                f"{self._files[number].name} has {pixels.shape[1]}x{pixels.shape[0]} pixels, and the first image "
                f"{info.width}x{info.height}: all must have one size"
            )
        if info.deep and pixels.dtype == np.uint8:
            pixels = pixels.astype(np.float32) / np.float32(255)
            alpha = None if alpha is None else alpha.astype(np.float32) / np.float32(255)
        elif not info.deep and pixels.dtype != np.uint8:
            pixels = np.rint(pixels * 255).astype(np.uint8)
            alpha = None if alpha is None else np.rint(alpha * 255).astype(np.uint8)
        if info.alpha and alpha is None:
            alpha = np.full(pixels.shape[:2], 1 if info.deep else 255, pixels.dtype)
        return pixels, alpha if info.alpha else None
