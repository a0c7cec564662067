"""Animated GIF, WebP, PNG and AVIF: each frame's duration, transparency and the number of repetitions are kept.

Pillow reads all of them. It also writes them, but a frame that equals the one before becomes a longer one, and an
animation of equal frames a still. So Pillow encodes single frames here, which `containers` puts together.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translatekit.images import UnreadableImageError, to_uint8
from translatekit.images.writing import avif_subsampling
from translatekit_tools.bulk.video import containers
from translatekit_tools.bulk.video.reader import Frame, UnreadableVideoError, VideoInfo, Wanted

_DEFAULT_DURATION = Fraction(1, 10)  # seconds, where a file says 0 or nothing, as browsers have it
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, RuntimeError, struct.error),
    *(Image.DecompressionBombError, UnreadableImageError),
)
_FINEST = 1_000_000  # ticks a second; PNG's fractions may ask for more


class AnimationReader:
    """An animated image, open for reading (see `translatekit_tools.bulk.video.reader.Reader`).

    Attributes:
        settings: what else the file says: profiles and comments.
        plays: how often it is shown; 0 for ever.
        cut: whether it has more than 8 bits a channel, of which 8 are read.
        damaged: none; a damaged animation is refused.
    """

    def __init__(self, path: Path) -> None:
        """Open a file, and look at all of its frames for their durations and transparency.

        Raises:
            UnreadableVideoError: it is damaged.
        """
        self.path = path
        self.damaged: list[float] = []
        self.cut_off: tuple[float, float] | None = None
        durations: list[Fraction] = []
        try:
            self._image = Image.open(path)
            # A GIF's later frames may reach beyond its screen, and then Pillow enlarges it; viewers don't.
            self._width, self._height = self._image.size
            kept = ("icc_profile", "exif", "xmp", "comment")
            self.settings = {
                key: self._image.info[key] for key in kept if self._image.info.get(key) is not None
            }
            self.plays = _plays(self._image)
            deep = _is_deep(path, self._image)
            is_png = self._image.format == "PNG"
            self.cut, self._deep = deep and not is_png, deep and is_png
            alpha = False
            for frame in self._images():
                milliseconds = Fraction(frame.info.get("duration") or 0)
                durations.append((milliseconds / 1000).limit_denominator(65535) or _DEFAULT_DURATION)
                alpha = alpha or (not is_png and _is_transparent(np.asarray(frame.convert("RGBA"))))
            if is_png:
                alpha = any(_is_transparent(pixels) for pixels in self._pixels())
        except _DAMAGE as error:
            raise self._damaged(error) from None
        ticks = math.lcm(1000, *(duration.denominator for duration in durations))
        ticks = ticks if ticks <= _FINEST else 1000
        ends = [0]
        for moment in _cumulative(durations):
            ends.append(max(ends[-1] + 1, round(moment * ticks)))
        self._durations = np.diff(ends).tolist()
        self.end = 0
        self.info = VideoInfo(
            width=self._width,
            height=self._height,
            time_base=Fraction(1, ticks),
            rate=Fraction(ticks * len(durations), ends[-1]).limit_denominator(1001),
            frames=len(durations),
            seconds=ends[-1] / ticks,
            alpha=alpha,
            deep=self._deep,
        )

    def cut_to_8_bits(self) -> None:
        """Give 8 bits a channel from now on."""
        self._deep, self.info = False, replace(self.info, deep=False)

    @property
    def starts(self) -> np.ndarray:
        """When each frame begins, in seconds."""
        ends = np.cumsum(self._durations, dtype=np.float64) * float(self.info.time_base)
        return np.concatenate([[0.0], ends[:-1]])

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def _images(self) -> Iterator[Image.Image]:
        # A PNG may begin with an image for programs that show no animations, which is none of its frames.
        first = 1 if getattr(self._image, "default_image", False) else 0
        for number in range(first, getattr(self._image, "n_frames", 1)):
            self._image.seek(number)
            if self._image.format != "PNG":
                self._image.load()  # a WebP's duration is known no earlier
            yield self._image

    def _pixels(self) -> Iterator[np.ndarray]:
        """The frames as RGBA."""
        if self._image.format == "PNG":
            for frame in containers.read_png(self.path.read_bytes()):
                yield frame if self._deep else to_uint8(frame)
            return
        for image in self._images():
            yield np.asarray(image.convert("RGBA"))[: self._height, : self._width]

    def _damaged(self, error: Exception) -> UnreadableVideoError:
        return UnreadableVideoError(f"the animation is damaged ({error}): replace or remove it")

    def frames(self, wanted: Wanted | None = None) -> Iterator[Frame | None]:
        """All frames, in the order they are shown; None for one that is not wanted.

        Raises:
            UnreadableVideoError: the file is damaged.
        """
        try:
            self.end = 0
            for number, rgba in enumerate(self._pixels()):
                pts, duration = self.end, self._durations[number]
                self.end = pts + duration
                if wanted is not None and not wanted(number, float(pts * self.info.time_base)):
                    yield None
                    continue
                alpha = np.ascontiguousarray(rgba[:, :, 3]) if self.info.alpha else None
                yield Frame(np.ascontiguousarray(rgba[:, :, :3]), alpha, pts, duration, number)
        except _DAMAGE as error:
            raise self._damaged(error) from None


def write_animation(
    path: Path,
    frames: Iterable[Frame],
    reader: AnimationReader,
    end: Callable[[], int],
    quality: int,
    compression: int,
) -> None:
    """Write frames into a GIF, WebP, PNG or AVIF, by the path's suffix, repeated as often as what they come from.

    A frame is shown until the next one. Durations that a format cannot say exactly (GIF counts in hundredths of a
    second, WebP and AVIF in thousandths) are rounded so that the errors don't add up.

    Args:
        path: the file.
        frames: with time stamps in ticks of the reader's time base.
        reader: what the frames were read from.
        end: asked, after the last frame, when that one ends.
        quality: of WebP and AVIF, 1 to 100.
        compression: of PNG, 0 to 9.

    Raises:
        DataError: the format cannot hold such a duration.
    """

    suffix = path.suffix.lower()

    def timed() -> Iterator[containers.Timed]:
        for samples, start, stop in shown():
            yield samples if suffix in (".png", ".apng") else to_uint8(samples), start, stop

    def shown() -> Iterator[containers.Timed]:
        before: Frame | None = None
        for frame in frames:
            if before is not None:
                yield _timed(before, frame.pts, reader)
            before = frame
        if before is not None:
            yield _timed(before, end(), reader)

    settings, plays, alpha = reader.settings, reader.plays, reader.info.alpha
    if suffix == ".gif":
        containers.write_gif(path, timed(), plays, alpha, settings.get("comment"))
    elif suffix == ".webp":
        containers.write_webp(path, timed(), plays, alpha, settings, quality)
    elif suffix == ".avif":
        _write_avif(path, timed(), settings, quality)
    else:
        containers.write_png(path, timed(), plays, settings.get("icc_profile"), compression)


def _write_avif(
    path: Path, frames: Iterable[containers.Timed], settings: dict[str, Any], quality: int
) -> None:
    images, durations = [], []
    for pixels, start, stop in frames:
        images.append(Image.fromarray(pixels))
        durations.append(containers.units(start, stop, 1000))
    kept: dict[str, Any] = {key: settings[key] for key in ("icc_profile", "exif", "xmp") if key in settings}
    kept |= {"quality": quality, "subsampling": avif_subsampling(quality)}
    images[0].save(path, "AVIF", save_all=True, append_images=images[1:], duration=durations, **kept)


def _timed(frame: Frame, stop: int, reader: AnimationReader) -> containers.Timed:
    """A frame's samples, and when they are shown, in seconds."""
    samples = frame.pixels
    if frame.alpha is not None:
        samples = np.concatenate([samples, frame.alpha[:, :, None]], axis=2)
    base = reader.info.time_base
    return np.ascontiguousarray(samples), frame.pts * base, stop * base


def _is_transparent(rgba: np.ndarray) -> bool:
    return bool(rgba[:, :, 3].min() < (255 if rgba.dtype == np.uint8 else 1))


def _cumulative(durations: Iterable[Fraction]) -> Iterator[Fraction]:
    total = Fraction(0)
    for duration in durations:
        total += duration
        yield total


def _plays(image: Image.Image) -> int:
    """How often an animation is shown, 0 for ever."""
    loop = image.info.get("loop")
    if image.format == "GIF":  # which counts the repetitions after the first time, where it says anything
        return 1 if loop is None else 0 if loop == 0 else int(loop) + 1
    return 0 if loop is None else int(loop)


def _is_deep(path: Path, image: Image.Image) -> bool:
    with path.open("rb") as file:
        head = file.read(4096)
    if image.format == "PNG":
        return head[24] > 8
    start = head.find(b"av1C")
    return image.format == "AVIF" and 0 <= start < len(head) - 6 and bool(head[start + 6] & 0x40)
