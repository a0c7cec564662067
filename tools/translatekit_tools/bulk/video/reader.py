"""Reading a video as a viewer would show it: upright RGB frames, each with its exact time stamp.

PyAV itself, and not imageio's plugin for it, which rounds time stamps to a constant rate and knows one stream only.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from translatekit.errors import DataError
from translatekit.inference.stages import background
from translatekit_tools.bulk.addresses import STANDARD, RawFrames
from translatekit_tools.bulk.split import Place
from translatekit_tools.bulk.tracks import EVERYTHING, Selection
from translatekit_tools.bulk.video.hdr import HLG, PQ, Hdr, hdr_of, named
from translatekit_tools.bulk.video.standard import StandardInput

RGB, UNSPECIFIED = 0, 2
"""Values of a matrix, as in ISO/IEC 23091-2: none, since the samples are RGB; and one that the file does not name."""

_HD_HEIGHT = 720
_SHORT_SECONDS, _SHORT_SHARE = 0.5, 0.02  # by how much a video may end before its header says
_MAX_UNTIMED, _MAX_UNTIMED_PIXELS = 64, 2**26  # frames that are kept until the first one with a time stamp
_AHEAD = 2  # frames that are decoded before they are converted
_CONCEALING = ("h264", "mpeg4", "rv30", "rv40")
"""Decoders that conceal damage and mark the frame. With a thread a frame, FFmpeg may give one out before the thread
that decodes it has come to its end, and the mark is lost; with a thread a slice, H.264's decoder makes none."""

MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""From a matrix of ISO/IEC 23091-2 to what FFmpeg's converter calls it."""

_HTTP_SECONDS = (30.0, 60.0)  # to open, and to read on
_OVER_HTTP = {
    "protocol_whitelist": "http,https,tcp,tls,crypto,httpproxy"
}  # a playlist must not name local files

INTERLACED = "bwdif=mode=send_frame:parity=auto:deint=interlaced"
"""FFmpeg's filter for frames that hold two fields: one frame of each, at its time; others pass as they are."""

_TONE_MAPPED = "out_transfer=bt709:out_primaries=bt709:intent=perceptual"
"""Options of FFmpeg's scaler that make SDR of HDR: highlights are compressed into what a screen of BT.709 shows."""

Wanted = Callable[[int, float], bool]
"""From the number of a frame and its time in seconds since the first one to whether it is wanted."""


class UnreadableVideoError(DataError):
    """A file cannot be decoded as a video."""


class MisplacedError(UnreadableVideoError):
    """A frame is not where the file has it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        pixels: (H, W, 3), uint8 in [0, 255], or float32 in [0, 1] where the video has more than 8 bits; upright.
        alpha: (H, W) of the same dtype, or None.
        pts: its time stamp, in ticks of the time base.
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
        interlaced: whether its frames hold two fields each, of different moments; the first says so.
        primaries, transfer, matrix, range: the colour description, as in ISO/IEC 23091-2.
        hdr: of the mastering display and its brightness.
        gamut: what the file is, where that is not SDR in the colours of BT.709, such as ``HDR (PQ, BT.2020)``; it stays
            what the file was where the frames are tone-mapped.
        tone_mapped: whether its frames are given as SDR, which the colour description then says.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    frames: int
    seconds: float
    start: int = 0
    pixel_aspect: Fraction = Fraction(1)
    deep: bool = False
    alpha: bool = False
    interlaced: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    matrix: int = UNSPECIFIED
    range: int = 0
    hdr: Hdr = Hdr()
    gamut: str = ""
    tone_mapped: bool = False

    @property
    def is_hdr(self) -> bool:
        """Whether it has a high dynamic range."""
        return self.transfer in (PQ, HLG)

    @property
    def swscale_matrix(self) -> int:
        """The matrix that pixels are converted by."""
        return swscale_matrix(self.matrix, self.width, self.height)


def swscale_matrix(matrix: int, width: int, height: int) -> int:
    """What FFmpeg's converter calls a matrix of ISO/IEC 23091-2; where none is said, the one that players assume."""
    assumed = Colorspace.ITU709 if min(width, height) >= _HD_HEIGHT else Colorspace.ITU601
    return int(MATRICES.get(matrix, assumed))


class Reader(Protocol):
    """A video, an animation or a numbered sequence, open for reading.

    Attributes:
        path: the file.
        info: what it is.
        end: when the last frame that was come to ends, in ticks.
        damaged: seconds, since the first frame, of each place where frames were left out.
        cut_off: where the video ends, in seconds, and where the file says it does, if that is much later.
    """

    path: Path
    info: VideoInfo
    end: int
    damaged: list[float]
    cut_off: tuple[float, float] | None

    def frames(self, wanted: Wanted | None = None) -> Iterator[Frame | None]:
        """All frames, in the order they are shown; None for one that is not wanted."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class VideoReader:
    """A video file, open for reading (see `Reader`)."""

    def __init__(
        self,
        path: Path,
        selection: Selection = EVERYTHING,
        *,
        skip_damaged: bool = False,
        deinterlace: bool = True,
        address: str | None = None,
        tracks: bool = False,
        raw: RawFrames | None = None,
        rate: Fraction | None = None,
        tone_map: bool = False,
        opened: Callable[[], BinaryIO] | None = None,
    ) -> None:
        """Open a file.

        Args:
            path: the file.
            selection: which of its video tracks is read.
            skip_damaged: leave out frames that cannot be decoded whole, instead of raising an error.
            deinterlace: make one frame of the two fields of each interlaced frame.
            address: what is read in its place, a single time: a URL, or ``-`` for standard input.
            tracks: keep the packets of the tracks that are copied in `copied_packets`, for the muxer to take.
            raw: what the frames are, where they have no header.
            rate: how many of those are a second.
            tone_map: give the frames of HDR and wide-gamut videos as SDR in the colours of BT.709.
            opened: gives the file, as often as it is asked, where it is not one of this machine.

        Raises:
            UnreadableVideoError: it is no video, or holds no frame.
        """
        self.path = path
        self.damaged: list[float] = []
        self.cut_off: tuple[float, float] | None = None
        self.selection = selection
        self.copied_packets: deque[Any] = deque()
        self._address, self._tracks, self._raw, self._rate = address, tracks, raw, rate
        self._opened_elsewhere = opened
        self._from: int | None = None
        self._copied: list[Any] = []
        self._first: Iterator[Any] | None = None
        self._decoded: Generator[Any, None, None] | None = None
        self._skip_damaged, self._deinterlace, self._tone_map = skip_damaged, deinterlace, tone_map
        self._tone_mapper: _Filter | None = None
        self._first_seconds = 0.0
        self._input: StandardInput | None = None
        with explained(path, address):
            if address is None and opened is None and path.stat().st_size == 0:
                raise UnreadableVideoError("the video is empty: replace or remove it")
            self._open()
            decoded = self._decode()
            first = next(decoded, None)
            if first is None:
                raise UnreadableVideoError(
                    "the video holds no frame that can be decoded: replace or remove it"
                )
            self._quarter_turns, self._mirrored = _orientation(first)
            self._first_seconds = float((first.pts or 0) * self._stream.time_base)
            self.info = self._describe(first)
            self._nominal_seconds = _nominal_duration(self._stream)
            self._size = first.width, first.height
            if address is None and not tracks:
                self.close()
                self._open()
            else:
                self._first = chain([first], decoded)
        self.end = self.info.start

    def _open(self) -> None:
        self._container: Any = self._opened()
        stream = self.selection.video_stream(self._container)
        if stream is None:
            raise UnreadableVideoError("the file holds no video: replace or remove it")
        self._stream: Any = stream
        if self._tracks:
            self._copied = self.selection.copied_streams(self._container)
        stream.thread_type = "AUTO"
        if stream.codec_context.name in _CONCEALING:
            stream.codec_context.thread_count = 1  # the frames are converted beside it, which takes as long
        self._decoder = _decoder_with_alpha(stream) or stream.codec_context

    def _opened(self) -> Any:
        if self._opened_elsewhere is not None:
            return av.open(self._opened_elsewhere(), metadata_errors="replace")
        if self._address is None:
            return av.open(str(self.path), metadata_errors="replace")
        if self._address != STANDARD:
            return av.open(
                self._address, metadata_errors="replace", options=_OVER_HTTP, timeout=_HTTP_SECONDS
            )
        self._input = StandardInput()
        options = {}
        if self._raw is not None:
            size = f"{self._raw.width}x{self._raw.height}"
            options = {"video_size": size, "pixel_format": self._raw.pix_fmt, "framerate": str(self._rate)}
        try:
            kind = "rawvideo" if self._raw is not None else None
            return av.open(self._input, format=kind, options=options, metadata_errors="replace")
        finally:
            if self._input.failure is not None:
                raise self._input.failure

    @property
    def container(self) -> Any:
        """What is read, open."""
        return self._container

    def stop(self) -> None:
        """Let a thread that waits for standard input go on."""
        if self._input is not None:
            self._input.close()

    def close(self) -> None:
        """Close the file."""
        self.stop()
        if self._decoded is not None:  # its thread reads the file
            self._decoded.close()
        self._container.close()

    def _describe(self, first: Any) -> VideoInfo:
        stream, context = self._stream, self._stream.codec_context
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        width, height = first.width, first.height
        if self._quarter_turns % 2:
            width, height, aspect = height, width, 1 / aspect
        components = first.format.components
        info = VideoInfo(
            width=width,
            height=height,
            time_base=stream.time_base,
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            frames=stream.frames,
            seconds=float(self._container.duration or 0) / 1e6,
            start=first.pts or 0,
            pixel_aspect=aspect,
            deep=max(component.bits for component in components) > 8,
            alpha=any(component.is_alpha for component in components),
            interlaced=first.interlaced_frame,
            primaries=context.color_primaries,
            transfer=context.color_trc,
            matrix=context.colorspace,
            range=context.color_range,
            hdr=hdr_of(first),
            gamut=named(context.color_primaries, context.color_trc),
        )
        self._source_colours = info.primaries, info.transfer, info.matrix, info.range
        if not (self._tone_map and info.gamut):
            return info
        limited = int(ColorRange.MPEG)
        return replace(
            info, primaries=1, transfer=1, matrix=1, range=limited, hdr=Hdr(), tone_mapped=True
        )  # all of BT.709

    def _decode(self) -> Iterator[Any]:
        """The frames that can be decoded, in the order they are shown, with time stamps if the file has any."""
        if self._container.format.name == "avi":
            yield from self._in_decoding_time()
            return
        early: list[Any] = []  # Matroska has no time stamps below zero: such frames come without
        frames = self._whole_frames()
        for frame in frames:
            if frame.pts is not None:
                step = _default_duration(self._stream)
                for index, before in enumerate(early):
                    before.pts = frame.pts - step * (len(early) - index)
                yield from chain(early, [frame], frames)
                return
            early.append(frame)
            if len(early) >= _MAX_UNTIMED or len(early) * frame.width * frame.height >= _MAX_UNTIMED_PIXELS:
                break
        yield from chain(early, frames)

    def _in_decoding_time(self) -> Iterator[Any]:
        """AVI counts frames as they are decoded, and does not say when one is shown: when its turn comes."""
        delay: int | None = None
        for frame in self._whole_frames():
            if delay is None and frame.dts is not None:
                delay = frame.dts - (self._first_dts or 0)
            # The last ones come when no more packets do: they follow the ones before.
            frame.pts = None if frame.dts is None or delay is None else frame.dts - delay
            yield frame

    def _whole_frames(self) -> Iterator[Any]:
        """What the decoder gives; damage is an error, or noted and left out."""
        packets = self._container.demux([self._stream, *self._copied])
        packet, last = None, None
        self._first_dts: int | None = None
        while True:
            try:
                packet = next(packets, None)
                size = 0 if packet is None else packet.size
            except av.error.FFmpegError as error:  # nothing more can be read
                self._note_damage(last, error)
                packet, size = None, 0
            if self._input is not None and self._input.failure is not None:
                raise self._input.failure
            if packet is not None and packet.stream is not self._stream:
                if size:
                    self.copied_packets.append(packet)
                continue
            if packet is not None and size and self._first_dts is None:
                if self._from is not None:
                    if not packet.is_keyframe:
                        continue
                    if packet.pts is None or packet.pts > self._from:
                        return
                self._first_dts = packet.dts
            try:
                frames = self._decoder.decode(packet if size else None)
            except EOFError:
                return
            except av.error.FFmpegError as error:
                self._note_damage(last, error)
                frames = []
            for frame in frames:
                if frame.is_corrupt:
                    self._note_damage(frame, None)
                else:
                    last = frame
                    yield frame
            if not size:
                return

    def _note_damage(self, near: Any, error: Exception | None) -> None:
        """Note where frames are left out.

        Args:
            near: the damaged frame, or the one before; None where there is none.
            error: what the decoder said.

        Raises:
            UnreadableVideoError: they must not be.
        """
        if self._from is not None and (near is None or near.pts is None or near.pts < self._from):
            return  # whoever reads those frames will note it
        seconds = 0.0
        if near is not None and near.pts is not None:
            seconds = float(near.pts * self._stream.time_base) - self._first_seconds
        if not self._skip_damaged:
            reason = "" if error is None else f" ({getattr(error, 'strerror', None) or error})"
            raise UnreadableVideoError(
                f"the video is damaged at {seconds:.2f} s{reason}: "
                "pass --skip-damaged to leave out what cannot be decoded, or replace or remove it"
            )
        self.damaged.append(seconds)

    def _deinterlaced(self) -> Iterator[Any]:
        """The frames, deinterlaced where they hold two fields."""
        if not self._deinterlace:
            yield from self._first or self._decode()
            return
        fields: _Filter | None = None
        for frame in self._first or self._decode():
            if fields is None and not frame.interlaced_frame:
                yield frame
                continue
            if fields is None or not fields.accepts(frame):
                if fields is not None:
                    yield from fields.flush()
                fields = _Filter(frame, self._stream.time_base, INTERLACED)
            yield from fields(frame)
        if fields is not None:
            yield from fields.flush()

    def _decoded_from(self, place: Place) -> Iterator[Any]:
        """The frames from a place on.

        Raises:
            MisplacedError: there is no such frame, or one follows that is deinterlaced with its neighbours.
        """
        for key in (*place.keys, None):
            self._container.close()
            self._open()
            self._from, self.damaged = (None if key is None else place.pts), []
            if key is not None:
                self._container.seek(key, stream=self._stream, backward=True)
            decoded = (frame for frame in self._decode() if frame.pts is None or frame.pts >= place.pts)
            try:
                first = next(decoded, None)
            except (UnreadableVideoError, av.error.FFmpegError):
                if key is None:
                    raise
                continue
            if first is None or first.pts != place.pts:
                continue
            for frame in chain([first], decoded):
                if frame.pts is None or (self._deinterlace and frame.interlaced_frame):
                    raise MisplacedError(
                        f"a frame after {place.number} depends on its neighbours: leave out --on"
                    )
                yield frame
            return
        raise MisplacedError(f"frame {place.number} is not where the file has it: leave out --on")

    def frames(self, wanted: Wanted | None = None, place: Place | None = None) -> Iterator[Frame | None]:
        """The frames, in the order they are shown; None, and nothing converted, for one that is not wanted.

        Args:
            wanted: says which are.
            place: of the first, which need not be that of the video.

        Raises:
            MisplacedError: the first is not there.
            UnreadableVideoError: the file is damaged, or its time stamps go back.
        """
        info = self.info
        default = max(1, round(1 / (info.rate * info.time_base)))
        self.damaged = []
        source = self._deinterlaced() if place is None else self._decoded_from(place)
        self._decoded = background(source, _AHEAD, self.stop)
        with explained(self.path, self._address), closing(self._decoded) as decoded:
            last = None if place is None else place.before
            for number, raw in enumerate(decoded, 0 if place is None else place.number):
                pts = raw.pts
                if pts is None:  # AVI says when a frame is decoded, and not when it is shown
                    pts = info.start if last is None else self.end
                if last is not None and pts <= last:
                    if self._skip_damaged:
                        self.damaged.append(float((last - info.start) * info.time_base))
                        continue
                    raise UnreadableVideoError(
                        f"the time stamps of the video go back at frame {number}: pass --skip-damaged to leave "
                        "such frames out, or mend it with ffmpeg -fflags +genpts -i IN -c copy OUT.mp4"
                    )
                duration = raw.duration or (default if last is None else pts - last)
                last = pts
                self.end = pts + duration
                if wanted is None or wanted(number, float((pts - info.start) * info.time_base)):
                    yield self._convert(raw, pts, duration, number)
                else:
                    yield None
            seconds = float((self.end - info.start) * info.time_base)
            if self._nominal_seconds - seconds > max(_SHORT_SECONDS, _SHORT_SHARE * self._nominal_seconds):
                self.cut_off = seconds, self._nominal_seconds

    def _convert(self, raw: Any, pts: int, duration: int, number: int) -> Frame:
        kinds = ("rgb48le", "rgba64le") if self.info.deep else ("rgb24", "rgba")
        kind = kinds[self.info.alpha]
        if self.info.tone_mapped:
            rgb = self._to_sdr(raw, kind)
        else:
            matrix = self.info.swscale_matrix
            rgb = raw.reformat(
                *self._size,  # of the first frame: in a few formats it may change on the way
                format=kind,
                src_colorspace=matrix,
                dst_colorspace=matrix,
                dst_color_range=ColorRange.JPEG,
            )
        pixels = rgb.to_ndarray()
        pixels = np.rot90(pixels[:, ::-1] if self._mirrored else pixels, self._quarter_turns)
        if self.info.deep:
            pixels = pixels.astype(np.float32) / np.float32(65535)
        alpha = np.ascontiguousarray(pixels[:, :, 3]) if self.info.alpha else None
        return Frame(np.ascontiguousarray(pixels[:, :, :3]), alpha, pts, duration, number)

    def _to_sdr(self, raw: Any, kind: str) -> Any:
        """A frame tone-mapped to SDR, as RGB of a pixel format."""
        raw.color_primaries, raw.color_trc, raw.colorspace, raw.color_range = self._source_colours
        mapper = self._tone_mapper
        if mapper is None or not mapper.accepts(raw):
            width, height = self._size
            scale = f"scale=w={width}:h={height}:{_TONE_MAPPED}"
            mapper = self._tone_mapper = _Filter(
                raw, self._stream.time_base, scale, f"format=pix_fmts={kind}"
            )
        return next(mapper(raw))


def _nominal_duration(stream: Any) -> float:
    """How long the file says that its video is; 0 where it does not say so of the video alone."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tags = {key.upper(): value for key, value in stream.metadata.items()}  # Matroska's
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tags.get("DURATION", ""))
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0.0


def _default_duration(stream: Any) -> int:
    """How long a frame is shown, where nothing else is known."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * stream.time_base)))


class _Filter:
    """Filters of FFmpeg's, one after the other, for frames of one kind; frames keep their times."""

    def __init__(self, frame: Any, time_base: Fraction, *filters: str) -> None:
        """Begin with frames like this one, whose ticks are those of `time_base`.

        Args:
            frame: the first.
            time_base: seconds of a tick.
            filters: each as ``name=options``.
        """
        self._format = self._format_of(frame)
        self._time_base = time_base
        self._graph = av.filter.Graph()
        last = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=time_base
        )
        for name, _, options in (text.partition("=") for text in (*filters, "buffersink")):
            added = self._graph.add(name, options or None)
            last.link_to(added)
            last = added
        self._graph.configure()

    @staticmethod
    def _format_of(frame: Any) -> tuple[int, int, str]:
        return frame.width, frame.height, frame.format.name

    def accepts(self, frame: Any) -> bool:
        """Whether a frame is of the kind that this was begun with."""
        return self._format_of(frame) == self._format

    def __call__(self, frame: Any) -> Iterator[Any]:
        """The frames that are made when one more has come; a filter may wait for the next one, too."""
        frame.time_base = self._time_base
        self._graph.push(frame)
        yield from self._pull()

    def flush(self) -> Iterator[Any]:
        """Those that are made when no more come."""
        self._graph.push(None)
        yield from self._pull()

    def _pull(self) -> Iterator[Any]:
        while True:
            try:
                frame: Any = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # The filter counts in ticks of its own.
            scale = frame.time_base / self._time_base
            frame.pts, frame.duration = round(frame.pts * scale), round((frame.duration or 0) * scale)
            frame.time_base = self._time_base
            yield frame


def _orientation(frame: Any) -> tuple[int, bool]:
    """How a frame is made upright: by how many quarter turns against the clock, after being mirrored or not."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    if abs(a) >= abs(b):
        return (0 if a >= 0 else 2), mirrored
    return (3 if b > 0 else 1), mirrored


def _decoder_with_alpha(stream: Any) -> Any:
    """A decoder that gives transparency, which FFmpeg's own for VP8 and VP9 drops; None where none is needed."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}  # tags of Matroska come in any case
    if name is None or tags.get("alpha_mode") != "1" or name not in av.codecs_available:
        return None
    context = av.CodecContext.create(name, "r")
    context.extradata = stream.codec_context.extradata
    return context


@contextlib.contextmanager
def explained(path: Path, address: str | None = None) -> Iterator[None]:
    """Turn what PyAV raises into one sentence.

    Args:
        path: what is read.
        address: what is read in its place, if anything.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if address == STANDARD:
            problem = f"standard input cannot be read as a video ({reason}): pipe one in, or pass --raw"
        elif address is not None:
            problem = f"the video cannot be read from there, or is damaged ({reason}): check the address"
        elif isinstance(error, FileNotFoundError):
            problem = f"there is no video {path}: check the path"
        else:
            problem = f"the file cannot be read as a video, or is damaged ({reason}): replace or remove it"
        raise UnreadableVideoError(problem) from None
