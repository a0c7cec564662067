"""Reading a video as a viewer would show it: upright RGB frames, each with its exact time stamp."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from translatekit.errors import DataError

_HD_HEIGHT = 720


class UnreadableVideoError(DataError):
    """A file cannot be decoded as a video."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        pixels: (H, W, 3), uint8 in [0, 255], or float32 in [0, 1] where the video has more than 8 bits; upright.
        alpha: (H, W) of the same dtype, or None.
        pts: its time stamp, in ticks of the stream's time base.
        duration: likewise, 0 where the file does not say.
        number: of the frame in the video, counted from 0.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    pts: int
    duration: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What the output of a video must have, too.

    Attributes:
        width, height: as shown, in pixels.
        time_base: seconds of a tick.
        rate: frames a second, on average.
        frames: how many the file says it has, or 0.
        seconds: how long it says it is, or 0.
        start: the first time stamp, in ticks.
        pixel_aspect: width of a pixel over its height, as shown.
        deep: whether it has more than 8 bits a channel.
        alpha: whether it is transparent.
        primaries, transfer, matrix, range: the colour description, as in ISO/IEC 23091-2.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    frames: int
    seconds: float
    start: int
    pixel_aspect: Fraction
    deep: bool
    alpha: bool
    primaries: int
    transfer: int
    matrix: int
    range: int

    @property
    def swscale_matrix(self) -> int:
        """The matrix that pixels are converted by; where the file says nothing, what players assume."""
        names = av.video.reformatter.Colorspace
        known = {1: names.ITU709, 5: names.ITU601, 6: names.SMPTE170M, 7: names.SMPTE240M, 9: names.BT2020}
        assumed = names.ITU709 if min(self.width, self.height) >= _HD_HEIGHT else names.ITU601
        return int(known.get(self.matrix, assumed))


class VideoReader:
    """A video file, open for reading.

    Attributes:
        info: what it is.
        stream: PyAV's stream of the pictures.
        container: PyAV's container.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            UnreadableVideoError: it is no video, or holds no frame.
        """
        self.path = path
        with explained(path):
            if path.stat().st_size == 0:
                raise UnreadableVideoError(f"{path} is empty: replace or remove it")
            self.container: Any = av.open(str(path), metadata_errors="replace")
            if not self.container.streams.video:
                raise UnreadableVideoError(f"{path} holds no video: replace or remove it")
            self.stream: Any = self.container.streams.video[0]
            self.stream.thread_type = "AUTO"
            self._decoder = _decoder_with_alpha(self.stream)
            first = next(self._decode(), None)
            if first is None:
                raise UnreadableVideoError(f"{path} holds no frame that can be decoded: replace or remove it")
            self._turns = round(first.rotation / 90) % 4
            self.info = self._describe(first)
        self.rewind()

    def rewind(self) -> None:
        """Start again from the first frame."""
        self.container.close()
        self.container = av.open(str(self.path), metadata_errors="replace")
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self._decoder = _decoder_with_alpha(self.stream)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def _describe(self, first: Any) -> VideoInfo:
        stream, context = self.stream, self.stream.codec_context
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        width, height = first.width, first.height
        if self._turns % 2:
            width, height, aspect = height, width, 1 / aspect
        depth = max(component.bits for component in first.format.components)
        return VideoInfo(
            width=width,
            height=height,
            time_base=stream.time_base,
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            frames=stream.frames,
            seconds=float(self.container.duration or 0) / 1e6,
            start=first.pts or 0,
            pixel_aspect=aspect,
            deep=depth > 8,
            alpha="a" in first.format.name and self._decoder is not None,
            primaries=context.color_primaries,
            transfer=context.color_trc,
            matrix=context.colorspace,
            range=context.color_range,
        )

    def _decode(self) -> Iterator[Any]:
        if self._decoder is None:
            yield from self.container.decode(self.stream)
            return
        for packet in self.container.demux(self.stream):
            yield from self._decoder.decode(packet if packet.size else None)

    def frames(self, wanted: Any = None) -> Iterator[Frame | None]:
        """All frames, in the order they are shown.

        Args:
            wanted: a function of the number of a frame and its time in seconds; where it says no, the frame is given as
                None and not converted.

        Raises:
            UnreadableVideoError: the file is damaged.
        """
        with explained(self.path):
            last = None
            for number, raw in enumerate(self._decode()):
                if raw.is_corrupt:
                    raise UnreadableVideoError(
                        f"{self.path} is damaged at frame {number}: replace or remove it"
                    )
                pts = raw.pts if raw.pts is not None else 0 if last is None else last + 1
                last = pts
                if wanted is not None and not wanted(
                    number, float((pts - self.info.start) * self.info.time_base)
                ):
                    yield None
                    continue
                yield self._convert(raw, pts, number)

    def _convert(self, raw: Any, pts: int, number: int) -> Frame:
        kinds = ("rgb48le", "rgba64le") if self.info.deep else ("rgb24", "rgba")
        kind = kinds[self.info.alpha]
        matrix, full = self.info.swscale_matrix, av.video.reformatter.ColorRange.JPEG
        rgb = raw.reformat(format=kind, src_colorspace=matrix, dst_colorspace=matrix, dst_color_range=full)
        pixels = np.rot90(rgb.to_ndarray(), self._turns)
        if self.info.deep:
            pixels = pixels.astype(np.float32) / np.float32(65535)
        alpha = np.ascontiguousarray(pixels[:, :, 3]) if self.info.alpha else None
        return Frame(np.ascontiguousarray(pixels[:, :, :3]), alpha, pts, raw.duration or 0, number)


def _decoder_with_alpha(stream: Any) -> Any:
    """A decoder that gives transparency, which FFmpeg's own for VP8 and VP9 drops; None where there is none."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}  # tags of Matroska come in any case
    if name is None or tags.get("alpha_mode") != "1" or name not in av.codecs_available:
        return None
    context = av.CodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    return context


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what PyAV raises into one sentence."""
    try:
        yield
    except FileNotFoundError:
        raise UnreadableVideoError(f"there is no video {path}: check the path") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableVideoError(
            f"{path} cannot be read as a video, or is damaged ({reason}): replace or remove it"
        ) from None
