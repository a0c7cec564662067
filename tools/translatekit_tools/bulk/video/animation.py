"""Animated GIF and WebP: frames with durations of their own, transparency and the number of repetitions kept.

Pillow reads and writes both; FFmpeg reads no animated WebP, and gives a GIF one palette for all of its frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translatekit.images import to_uint8
from translatekit_tools.bulk.video.reader import Frame, UnreadableVideoError, VideoInfo, Wanted

_DEFAULT_DURATION = 100  # milliseconds, where a file says 0 or nothing, as browsers have it
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


class AnimationReader:
    """An animated image, open for reading (see `translatekit_tools.bulk.video.reader.Reader`); a tick is 1 ms.

    Attributes:
        settings: what else the file says: ``loop``, the number of repetitions, where it does; profiles and comments.
    """

    def __init__(self, path: Path) -> None:
        """Open a file, and look at all of its frames for their durations and transparency.

        Raises:
            UnreadableVideoError: it is damaged.
        """
        self.path = path
        self.damaged: list[float] = []
        try:
            self._image = Image.open(path)
            kept = ("loop", "icc_profile", "exif", "xmp", "comment")
            self.settings = {
                key: self._image.info[key] for key in kept if self._image.info.get(key) is not None
            }
            self._durations = []
            alpha = False
            for frame in self._images():
                self._durations.append(int(frame.info.get("duration", 0)) or _DEFAULT_DURATION)
                alpha = alpha or frame.convert("RGBA").getchannel("A").getextrema()[0] != 255
        except _DAMAGE as error:
            raise self._damaged(error) from None
        total = sum(self._durations)
        self.end = 0
        self.info = VideoInfo(
            width=self._image.width,
            height=self._image.height,
            time_base=Fraction(1, 1000),
            rate=Fraction(1000 * len(self._durations), total).limit_denominator(1001),
            frames=len(self._durations),
            seconds=total / 1000,
            alpha=alpha,
        )

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def _images(self) -> Iterator[Image.Image]:
        for number in range(getattr(self._image, "n_frames", 1)):
            self._image.seek(number)
            self._image.load()  # a WebP's duration is known no earlier
            yield self._image

    def _damaged(self, error: Exception) -> UnreadableVideoError:
        return UnreadableVideoError(f"the animation is damaged ({error}): replace or remove it")

    def frames(self, wanted: Wanted | None = None) -> Iterator[Frame | None]:
        """All frames, in the order they are shown; None for one that is not wanted.

        Raises:
            UnreadableVideoError: the file is damaged.
        """
        try:
            self.end = 0
            for number, image in enumerate(self._images()):
                pts, duration = self.end, self._durations[number]
                self.end = pts + duration
                if wanted is not None and not wanted(number, pts / 1000):
                    yield None
                    continue
                rgba = np.asarray(image.convert("RGBA"))
                alpha = np.ascontiguousarray(rgba[:, :, 3]) if self.info.alpha else None
                yield Frame(np.ascontiguousarray(rgba[:, :, :3]), alpha, pts, duration, number)
        except _DAMAGE as error:
            raise self._damaged(error) from None


def write_animation(
    path: Path, frames: Iterable[Frame], reader: AnimationReader, end: Callable[[], int], quality: int
) -> None:
    """Write frames into a GIF or WebP, by the path's suffix, with the repetitions of the one they come from.

    A frame is shown until the next one.

    Args:
        path: the file.
        frames: with time stamps in milliseconds.
        reader: what the frames were read from.
        end: asked, after the last frame, when that one ends.
        quality: of WebP, 1 to 100.
    """
    webp = path.suffix.lower() == ".webp"
    step = 1 if webp else 10  # milliseconds that the format counts in
    durations: list[int] = []

    def images() -> Iterator[Image.Image]:
        before: Frame | None = None
        for frame in frames:
            if before is not None:
                durations.append(_ticks(before.pts, frame.pts, step))
                yield _to_pillow(before)
            before = frame
        if before is not None:
            durations.append(_ticks(before.pts, end(), step))
            yield _to_pillow(before)

    settings: dict[str, Any] = dict(reader.settings)
    if webp:
        settings.pop("comment", None)
        settings |= {"loop": settings.get("loop", 1), "quality": quality, "method": 4}
    else:
        settings = {key: settings[key] for key in ("loop", "comment") if key in settings}
        settings |= {"disposal": 2 if reader.info.alpha else 1, "optimize": False}
    made = images()
    # Pillow takes the frames, and each one's duration, when it comes to them.
    next(made).save(path, save_all=True, append_images=made, duration=durations, **settings)


def _ticks(start: int, end: int, step: int) -> int:
    """A duration in milliseconds that the format can hold; rounding does not add up over the frames."""
    return max(step, round(end / step) * step - round(start / step) * step)


def _to_pillow(frame: Frame) -> Image.Image:
    pixels = to_uint8(frame.pixels)
    if frame.alpha is not None:
        pixels = np.concatenate([pixels, to_uint8(frame.alpha)[:, :, None]], axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels))
