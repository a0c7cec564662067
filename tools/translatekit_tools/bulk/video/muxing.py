"""Muxing: the encoded video with all else that the source holds, which is audio, subtitles, chapters, metadata."""

from __future__ import annotations

import contextlib
import heapq
import math
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from translatekit.errors import DataError
from translatekit_tools.bulk.kinds import WRITABLE_VIDEO_SUFFIXES
from translatekit_tools.bulk.tracks import (
    EVERYTHING,
    Selection,
    is_cover,
    moved_timecode,
    origin,
    timecode,
)
from translatekit_tools.bulk.video.encoding import (
    NO_SPACE,
    Encoding,
    configure,
    default_codec,
    encoded,
    explained_encoder,
    reason_of,
    write_segment,
)
from translatekit_tools.bulk.video.reader import Frame, VideoInfo, explained

_QUICKTIME = (".mp4", ".m4v", ".mov", ".3gp")
_OTHER_SUFFIXES = (".mkv", ".mov", ".mp4", ".wmv", ".avi", ".ts")  # where a format cannot hold a track
_FRAGMENTS = "+frag_keyframe+delay_moov+default_base_moof"  # delayed: only then tracks may begin apart
_LARGEST_TIMESCALE = 2**31 - 1
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}  # what players take channels for
_PROBE_PACKETS = 1000  # packets of the other tracks that a probe is written with
_MAX_READ_ERRORS = 100  # times that reading the other tracks is taken up again after damage

# What an MP4 file has a place for that every player knows; other tags need one that only some do.
_COMMON_TAGS = {
    *(
        "title",
        "artist",
        "album_artist",
        "album",
        "composer",
        "comment",
        "genre",
        "copyright",
        "date",
        "description",
    ),
    *(
        "synopsis",
        "lyrics",
        "grouping",
        "show",
        "episode_id",
        "network",
        "keywords",
        "creation_time",
        "encoder",
    ),
    *("language", "track", "disc", "compilation"),
}
_CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands")


@dataclass(slots=True, kw_only=True)
class Muxer:
    """Writes the output of a video.

    Attributes:
        source: the video that the frames were made from; None where it holds nothing else.
        info: of that video.
        encoding: of the video.
        suffix: of the output.
        selection: of the source's tracks.
        start: second of the source that is taken first, counted from its first frame.
        end: second before which it ends, or None.
        every: how many frames of the source become one.
        skip_damaged: whether what cannot be read of the other tracks is left out.
        say: told what the user should know.
        container: the source, where it is open already, and can be read only once.
    """

    source: Path | None
    info: VideoInfo
    encoding: Encoding
    suffix: str
    selection: Selection = EVERYTHING
    start: float = 0.0
    end: float | None = None
    every: int = 1
    skip_damaged: bool = False
    say: Callable[[str], None] = lambda text: None
    container: Any = None
    _timecode: bool = True
    _problem: str = ""
    _nonmonotonic: int = 0
    _untimed: int = 0
    _unreadable: int = 0
    _last: dict[int, int] = field(default_factory=dict)

    def check(self) -> None:
        """Find out before anything is translated whether the output can be written, by writing the like of it.

        One gray frame and the first packets of the other tracks go through everything that the output goes through.

        Raises:
            DataError: the output's format cannot hold a track.
            OptionError: the encoder does not take the frames.
        """
        with tempfile.TemporaryDirectory(prefix="translatekit-") as name:
            segment, out = Path(name, "probe.segment"), Path(name, f"probe{self.suffix}")
            if not self._takes_codec(out):
                raise DataError(
                    f"a {self.suffix} file cannot hold what {self.encoding.codec} writes: "
                    "choose another with --codec, or let the output end otherwise"
                )
            write_segment(segment, [self._gray_frame()], self.encoding)
            end = self.info.start + max(1, round(1 / (self.info.rate * self.info.time_base)))
            try:
                self._mux_explained([segment], end, out, max_packets=_PROBE_PACKETS)
            except DataError:
                if not self._timecode:
                    raise
                self._timecode = False
                self._mux_explained([segment], end, out, max_packets=_PROBE_PACKETS)
                self.say(
                    f"the time code of the input is left out: a {self.suffix} file does not take it at this rate"
                )
        self._nonmonotonic = self._untimed = self._unreadable = 0

    def _takes_codec(self, out: Path) -> bool:
        with av.open(str(out), "w") as target:
            try:
                target.add_stream(self.encoding.codec)
            except ValueError:
                return False
        return True

    def _gray_frame(self) -> Frame:
        info, encoding = self.info, self.encoding
        shape = encoding.height, encoding.width
        kind, value = (np.float32, 0.5) if info.deep else (np.uint8, 128)
        alpha = np.full(shape, value, kind) if encoding.alpha else None
        return Frame(np.full((*shape, 3), value, kind), alpha, info.start, 0, 0)

    def mux(self, segments: Sequence[Path], end: int, out: Path) -> None:
        """Mux the segments' video and everything else of the source into one file, nothing encoded again.

        Args:
            segments: as `write_segment` wrote them, in order.
            end: when the last frame ends, in ticks of the source.
            out: the file to write.

        Raises:
            DataError: the output's format cannot hold a track of the source.
        """
        self._nonmonotonic = self._untimed = self._unreadable = 0
        self._mux_explained(segments, end, out)
        self._say_what_was_changed()

    @property
    def _first(self) -> Fraction:
        """When the first frame of the source is shown, in seconds."""
        return self.info.start * self.info.time_base

    def _mux_explained(
        self, segments: Sequence[Path], end: int, out: Path, max_packets: int | None = None
    ) -> None:
        with contextlib.ExitStack() as stack:
            original = self.container
            if self.source is not None and original is None:
                with explained(self.source):
                    original = stack.enter_context(av.open(str(self.source), metadata_errors="replace"))
            self._problem = f"a {self.suffix} file cannot hold what {self.encoding.codec} writes"
            try:
                self._mux_segments(segments, end, original, out, max_packets)
            except (av.error.FFmpegError, ValueError) as error:
                if getattr(error, "errno", None) in NO_SPACE:
                    raise
                raise DataError(f"{self._problem} ({reason_of(error)}): {self._remedy(original)}") from None

    def _remedy(self, original: Any) -> str:
        """What the user can do: a suffix whose format takes all tracks, if there is one, or fewer tracks."""
        fewer = "leave tracks out with --no-audio or --map"
        if original is None:
            return "choose another with --codec, or let the output end otherwise"
        own = self.source.suffix.lower() if self.source is not None else ""
        for suffix in dict.fromkeys((own, *_OTHER_SUFFIXES)):
            if suffix in WRITABLE_VIDEO_SUFFIXES - {self.suffix} and self._takes_tracks(original, suffix):
                return f"let the output end in {suffix}, or {fewer}"
        return fewer

    def _takes_tracks(self, original: Any, suffix: str) -> bool:
        with tempfile.TemporaryDirectory(prefix="translatekit-") as folder:
            try:
                with av.open(str(Path(folder, f"probe{suffix}")), "w") as target:
                    target.add_stream(default_codec(self.info, suffix))
                    for stream in self.selection.copied_streams(original):
                        _add_copy(target, stream)
            except (av.error.FFmpegError, ValueError):
                return False
        return True

    def _mux_segments(
        self, segments: Sequence[Path], end: int, original: Any, out: Path, max_packets: int | None
    ) -> None:
        with (
            av.open(str(segments[0])) as sample,
            av.open(str(out), "w", options=_muxer_options(self.suffix, original, self.encoding)) as target,
        ):
            video, others, offset = self._add_streams(
                target, original, lambda: self._add_video(target, sample.streams.video[0])
            )
            self._problem = f"a {self.suffix} file cannot hold the tracks of the input as they are"
            target.start_encoding()
            self._last = {}
            packets = heapq.merge(
                self._video_packets(segments, end, video, offset - self._first),
                islice(self._copied_packets(original, others, offset), max_packets),
                key=lambda packet: (
                    (packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base
                ),
            )
            for packet in packets:
                self._write_packet(target, packet, video)

    def stream(
        self,
        file: Any,
        frames: Iterable[Frame],
        end: Callable[[], int],
        copied_packets: deque[Any],
        format: str,
    ) -> None:
        """Encode frames and mux them as they come, with the packets of the other tracks that have come so far.

        Args:
            file: a binary file, or a path.
            frames: of the source.
            end: asked, after the last frame, when that one ends, in ticks of the source.
            copied_packets: packets of the other tracks, added to while the frames come.
            format: FFmpeg's name of the output's.

        Raises:
            DataError: the output's format cannot hold a track of the source.
            OptionError: the encoder does not take the frames.
        """
        encoding = self.encoding
        options = _muxer_options(self.suffix, self.container, encoding)
        if options and not isinstance(file, str):  # what cannot be sought in is written in fragments
            options["movflags"] = options["movflags"].replace("+faststart", "") + _FRAGMENTS
        with self._explained_stream(), av.open(file, "w", format=format, options=options) as target:
            video, others, offset = self._add_streams(
                target, self.container, lambda: self._add_encoder(target)
            )
            target.start_encoding()
            self._last = {}
            last = None
            for packet in _encoded(frames, video, encoding):
                if last is not None:
                    target.mux(_shifted(last, video, offset - self._first))
                last = packet
                for other in self._copied_so_far(copied_packets, others, offset):
                    self._write_packet(target, other, video)
            if last is not None:
                length = (end() - self.info.start) * self.info.time_base - (last.pts or 0) * last.time_base
                last.duration = max(1, round(length / last.time_base))
                target.mux(_shifted(last, video, offset - self._first))
            for other in self._copied_so_far(copied_packets, others, offset):
                self._write_packet(target, other, video)
        self._say_what_was_changed()

    @contextlib.contextmanager
    def _explained_stream(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            if error.errno in NO_SPACE:
                raise
            raise DataError(
                f"a {self.suffix} stream cannot hold the video and the tracks of the input as they are "
                f"({reason_of(error)}): choose another format, such as with --container ts, "
                "or leave tracks out with --no-audio or --map"
            ) from None

    def _write_packet(self, target: Any, packet: Any, video: Any) -> None:
        """Write a packet; one of a copied track that is damaged is an error, or left out."""
        stamp = packet.pts if packet.pts is not None else packet.dts or 0
        seconds, stream = float(stamp * packet.time_base), packet.stream
        try:
            target.mux(packet)
        except av.error.InvalidDataError:
            if stream is video:
                raise
            if not self.skip_damaged:
                raise DataError(
                    f"the input's {stream.type} is damaged at {seconds:.2f} s: pass --skip-damaged to leave such "
                    "packets out, or leave the track out with --no-audio or --map"
                ) from None
            self._unreadable += 1

    def _say_what_was_changed(self) -> None:
        if self._untimed:
            self.say(
                f"{self._untimed} packets of further tracks lie below zero without a time stamp, and are left out"
            )
        if self._unreadable:
            self.say(f"{self._unreadable} damaged packets of audio or subtitles are left out")
        if self._nonmonotonic:
            self.say(
                f"{self._nonmonotonic} time stamps of audio or subtitles did not rise, and were moved on by a tick"
            )

    def _add_encoder(self, target: Any) -> Any:
        encoding = self.encoding
        stream: Any = target.add_stream(encoding.codec, rate=encoding.rate, options=encoding.options)
        configure(stream.codec_context, encoding)
        stream.time_base = encoding.time_base
        if self.suffix in _QUICKTIME and encoding.codec == "libx265":
            stream.codec_context.codec_tag = "hvc1"
        return stream

    def _copied_so_far(
        self, copied_packets: deque[Any], others: dict[int, Any], offset: Fraction
    ) -> Iterator[Any]:
        while copied_packets:
            packet = copied_packets.popleft()
            if self._is_selected(packet):
                yield self._placed(packet, others, offset)

    def _placed(self, packet: Any, others: dict[int, Any], offset: Fraction) -> Any:
        """A packet of a copied track in the output; a cover has no time, and stays where it is."""
        moved = Fraction(0) if is_cover(packet.stream) else offset
        return self._monotonic(_shifted(packet, others[packet.stream.index], moved))

    def _is_selected(self, packet: Any) -> bool:
        """Whether a packet is of the part that the user wants, and can be placed in time."""
        if is_cover(packet.stream):
            return True
        if packet.dts is None and packet.stream.type == "video":
            self._untimed += 1  # of video below zero in Matroska: nobody knows when they are decoded
            return False
        stamp = packet.pts if packet.pts is not None else packet.dts or 0
        hidden = packet.is_discard and packet.stream.type == "audio" and stamp + 2 * packet.duration <= 0
        if hidden and self.suffix not in _QUICKTIME:
            return False  # by an edit list, which no other format has; decoders need the last packet of it
        time = float(stamp * packet.time_base - self._first)
        return not ((self.start > 0 and time < self.start) or (self.end is not None and time >= self.end))

    def _add_streams(
        self, target: Any, original: Any, add_video: Callable[[], Any]
    ) -> tuple[Any, dict[int, Any], Fraction]:
        """Add the streams of the output.

        Returns:
            The video's; the others by the index of those that they copy; and the seconds by which all are shifted.
        """
        encoding = self.encoding
        others: dict[int, Any] = {}
        offset = Fraction(self.start).limit_denominator(1_000_000)
        if original is None:
            video = add_video()
            offset += min(Fraction(0), self._first)
        else:
            for key, value in original.metadata.items():
                if key not in _CONTAINER_TAGS and key.lower() != "timecode":
                    target.metadata[key] = value
            video_stream, copied = (
                self.selection.video_stream(original),
                self.selection.copied_streams(original),
            )
            offset += origin(original, copied, self._first)
            video = None
            for stream in original.streams:
                if stream is video_stream:
                    made = video = add_video()
                elif stream in copied:
                    self._problem = f"a {self.suffix} file cannot hold the input's {stream.type} as it is"
                    made = others[stream.index] = _add_copy(target, stream)
                elif stream.type == "attachment" and self.suffix == ".mkv":  # fonts of subtitles
                    target.add_stream_from_template(stream)
                    continue
                else:
                    continue
                left_out = {"encoder", "timecode"} | (set() if encoding.alpha else {"alpha_mode"})
                made.metadata.update(
                    {key: value for key, value in stream.metadata.items() if key.lower() not in left_out}
                )
                made.disposition = stream.disposition
            self._set_timecode(video, timecode(original, video_stream))
            target.set_chapters(list(self._chapters(original, offset)))
        if encoding.alpha and encoding.matroska:
            video.metadata["alpha_mode"] = "1"
        return video, others, offset

    def _set_timecode(self, video: Any, text: str | None) -> None:
        """QuickTime's muxer makes a track of its own of it."""
        if text is None or not self._timecode:
            return
        if self.every > 1:  # its frames are counted at the source's rate
            self._timecode = False
            self.say("the time code of the input is left out: it counts frames that --every leaves out")
            return
        rate = self.info.rate
        left_out = math.ceil(Fraction(self.start).limit_denominator(1_000_000) * rate)
        video.metadata["timecode"] = moved_timecode(text, left_out, rate)

    def _chapters(self, original: Any, offset: Fraction) -> Iterator[Any]:
        """Those of the part that is taken."""
        span = None if self.end is None else Fraction(self.end - self.start).limit_denominator(1_000_000)
        for chapter in original.chapters():
            base = chapter["time_base"]
            first = max(0, chapter["start"] - round(offset / base))
            last = chapter["end"] - round(offset / base)
            last = last if span is None else min(last, round(span / base))
            if first < last:
                yield {**chapter, "start": first, "end": last}

    def _add_video(self, target: Any, template: Any) -> Any:
        encoding = self.encoding
        stream = target.add_stream_from_template(template, opaque=True)
        stream.time_base = encoding.time_base
        context = stream.codec_context
        context.sample_aspect_ratio = encoding.pixel_aspect
        context.framerate = encoding.rate
        if self.suffix in _QUICKTIME:  # Apple's players take no other tags
            if encoding.codec.startswith("prores") and "444" in encoding.pix_fmt:
                context.codec_tag = "ap4h"
            elif context.name == "hevc":
                context.codec_tag = "hvc1"
        return stream

    def _video_packets(
        self, segments: Sequence[Path], end: int, stream: Any, offset: Fraction
    ) -> Iterator[Any]:
        """All packets of the segments; the last frame is shown until the end."""
        last = None
        for segment in segments:
            with av.open(str(segment)) as container:
                for packet in container.demux(container.streams.video[0]):
                    if packet.size == 0:
                        continue
                    packet.dts = packet.pts  # none waits for a later one; demuxers guess that some might
                    if last is not None:
                        yield _shifted(last, stream, offset)
                    last = packet
        if last is not None:
            length = (end - self.info.start) * self.info.time_base - (last.pts or 0) * last.time_base
            last.duration = max(1, round(length / last.time_base))
            yield _shifted(last, stream, offset)

    def _copied_packets(self, original: Any, others: dict[int, Any], offset: Fraction) -> Iterator[Any]:
        """The packets of the tracks that are copied, of the part that is taken."""
        if not others or self.container is not None:
            return
        wanted = [stream for stream in original.streams if stream.index in others]
        for packet in self._readable(original, wanted):
            if packet.size and self._is_selected(packet):
                yield self._placed(packet, others, offset)

    def _readable(self, original: Any, streams: list[Any]) -> Iterator[Any]:
        unreadable = 0
        while True:
            try:
                yield from original.demux(streams)
                return
            except av.error.FFmpegError:
                unreadable += 1
                if not self.skip_damaged or unreadable > _MAX_READ_ERRORS:
                    self._problem = "audio or subtitles of the input are damaged"
                    raise

    def _monotonic(self, packet: Any) -> Any:
        """A packet whose decoding time stamp is above the one before it in its track, as muxers demand."""
        if packet.dts is None:
            return packet
        index = packet.stream.index
        earliest = self._last.get(index, packet.dts - 1) + 1
        if packet.dts < earliest:
            self._nonmonotonic += 1
            packet.dts = earliest
            packet.pts = max(packet.pts, earliest) if packet.pts is not None else None
        self._last[index] = packet.dts
        return packet


def constant_rate(source: Path, selection: Selection, info: VideoInfo) -> Fraction | None:
    """Frames a second of a video whose frames are all shown as long, or None of another."""
    with explained(source), av.open(str(source), metadata_errors="replace") as container:
        stream = selection.video_stream(container)
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        times = [packet.pts if packet.pts is not None else packet.dts for packet in packets]
        rates = [stream.average_rate, stream.guessed_rate, info.rate]
    stamps = np.sort(np.array([time for time in times if time is not None], np.float64))
    if len(stamps) < 2:
        return info.rate
    return even_rate((stamps - stamps[0]) * float(info.time_base), rates)


def even_rate(seconds: np.ndarray, rates: Sequence[Fraction | None] = ()) -> Fraction | None:
    """Frames a second of frames that are shown as long each, or None of others.

    Args:
        seconds: when each of them begins, the first at 0; there are two at least.
        rates: that are tried before the one that is measured.
    """
    measured = Fraction((len(seconds) - 1) / seconds[-1]).limit_denominator(1001)
    for rate in (*rates, measured):
        if rate and np.abs(seconds * float(rate) - np.arange(len(seconds))).max() < _MAX_JITTER:
            return Fraction(rate)
    return None


_MAX_JITTER = 0.45  # frames; Matroska's milliseconds are off by up to 0.03 at 60 a second


def _add_copy(target: Any, stream: Any) -> Any:
    made = target.add_stream_from_template(stream, opaque=True)
    made.time_base = stream.time_base
    if stream.type == "audio" and "channels" in stream.layout.name:  # AVI does not say which; QuickTime must
        made.codec_context.layout = _LAYOUTS.get(stream.layout.nb_channels, stream.layout)
    return made


def _encoded(frames: Iterable[Frame], stream: Any, encoding: Encoding) -> Iterator[Any]:
    with explained_encoder(encoding.codec):
        yield from encoded(frames, stream, encoding)


def _muxer_options(suffix: str, original: Any, encoding: Encoding) -> dict[str, str]:
    if suffix not in _QUICKTIME:
        return {}
    time_bases = [encoding.time_base]
    options = {"movflags": "+faststart"}
    if original is not None:
        time_bases += [stream.time_base for stream in original.streams if stream.time_base]
        cover = any(is_cover(stream) for stream in original.streams.video)
        uncommon = original.metadata.keys() - _COMMON_TAGS - set(_CONTAINER_TAGS)
        if suffix == ".mov" or (uncommon and not cover):
            options["movflags"] += "+use_metadata_tags"
    # Where a track starts is written in ticks of the movie: they must divide those of every track.
    movie = math.lcm(*(time_base.denominator for time_base in time_bases))
    return options | {
        "movie_timescale": str(movie if movie <= _LARGEST_TIMESCALE else 90_000),
        "video_track_timescale": str(encoding.time_base.denominator),
    }


def _shifted(packet: Any, stream: Any, offset: Fraction) -> Any:
    packet.stream = stream
    ticks = round(offset / packet.time_base)
    if packet.pts is not None:
        packet.pts -= ticks
    if packet.dts is not None:
        packet.dts -= ticks
    return packet
