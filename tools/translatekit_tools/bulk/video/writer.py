"""Writing a video: frames encoded in segments, then joined with all else that the source holds."""

from __future__ import annotations

import contextlib
import errno
import heapq
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from translatekit.errors import DataError, OptionError
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.video.kinds import WRITABLE_VIDEO_SUFFIXES
from translatekit_tools.bulk.video.reader import (
    MATRICES,
    RGB,
    UNSAID,
    Frame,
    VideoInfo,
    explained,
    pictures_of,
    swscale_matrix,
)

_QUICKTIME = (".mp4", ".m4v", ".mov")
_MATROSKA = (".mkv", ".webm")
_LARGEST_TIMESCALE = 2**31 - 1
_ALPHA_CODECS = {".webm": "libvpx-vp9", ".mkv": "libvpx-vp9", ".mov": "prores_ks"}
_SOFTWARE = {
    "h264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
}
_HALVES_ODD_SIDES = {
    "libvpx",
    "libvpx-vp9",
    "libsvtav1",
}  # others want even sides where chroma has half of them
_PIXEL_FORMATS = (
    *("yuv420p", "yuva420p", "yuv420p10le", "yuva420p10le"),
    *("yuv444p", "yuv444p10le", "yuva444p10le", "yuv422p", "yuv422p10le"),
    *("nv12", "p010le", "yuvj420p", "rgb24", "rgba", "gbrp", "gbrp10le"),
)
"""Those that most players know come first."""
_TRIES = 8
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}  # what players take channels for
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

# What an MP4 file has a place for that every player knows; other tags need one that only some do.
_USUAL_TAGS = {
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
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pix_fmt: FFmpeg's name of the pixel format.
        options: of the encoder.
        width, height: in pixels.
        pixel_aspect: width of a pixel over its height.
        time_base: seconds of a tick.
        rate: frames a second, on average.
        alpha: whether transparency is encoded.
        conversion: the matrix that pixels are converted by, as FFmpeg's converter calls it.
        primaries, transfer, matrix, range: what the file says of its colours.
        matroska: whether it ends up in such a file, whose time stamps are in milliseconds.
    """

    codec: str
    pix_fmt: str
    options: dict[str, str]
    width: int
    height: int
    pixel_aspect: Fraction
    time_base: Fraction
    rate: Fraction
    alpha: bool
    conversion: int
    primaries: int
    transfer: int
    matrix: int
    range: int
    matroska: bool


def choose_encoding(
    info: VideoInfo, size: tuple[int, int], suffix: str, options: RunOptions, say: Callable[[str], None]
) -> Encoding:
    """The encoder that the user asked for, or what fits the file's ending, the bit depth and the size.

    Args:
        info: of the source.
        size: height and width of what is encoded, in pixels.
        suffix: of the output.
        options: ``codec``, ``crf``, ``preset`` and ``pix_fmt`` are looked at.
        say: told when another encoder is used than the one asked for, and when transparency is lost.

    Raises:
        OptionError: there is no such encoder, or it does not take the options.
    """
    usual = "libvpx-vp9" if suffix == ".webm" else "libx264"
    asked = options.codec or (_ALPHA_CODECS.get(suffix, usual) if info.alpha else usual)
    asked = _SOFTWARE.get(asked, asked)
    encoding, problem = _first_that_opens(asked, info, size, suffix, options)
    family = next((name for name in _SOFTWARE if asked.startswith(name)), None)
    if encoding is None and family is not None:
        fallback = _SOFTWARE[family]  # a preset is one encoder's own word
        encoding, _ = _first_that_opens(fallback, info, size, suffix, replace(options, preset=None))
        if encoding is not None:
            say(f"the encoder {asked} does not open here ({problem}): {fallback} is used instead")
    if encoding is None:
        raise OptionError(
            f"the encoder {asked} does not take {size[1]}x{size[0]} pixels with these options ({problem}): "
            "change --codec, --pix-fmt, --crf or --preset"
        )
    if info.alpha and not encoding.alpha:
        say(
            f"{encoding.codec} with {encoding.pix_fmt} has no transparency, and that of the input is left out: "
            "let the output end in .webm or .mov to keep it"
        )
    return encoding


def _first_that_opens(
    codec: str, info: VideoInfo, size: tuple[int, int], suffix: str, options: RunOptions
) -> tuple[Encoding | None, str]:
    """An encoding, or None and what is wrong with the best one."""
    problem = ""
    try:
        formats = [options.pix_fmt] if options.pix_fmt is not None else _pixel_formats(codec, info, size)
        settings = _settings(codec, options)
        for pix_fmt in formats[:_TRIES]:
            encoding = _encoding(codec, pix_fmt, settings, info, size, suffix in _MATROSKA)
            try:
                context: Any = av.CodecContext.create(codec, "w")
                _configure(context, encoding)
                context.open()
                return encoding, ""
            except (av.error.FFmpegError, ValueError) as error:
                problem = problem or _reason(error)
    except (av.error.FFmpegError, ValueError) as error:
        return None, _reason(error)
    return None, problem or "none of its pixel formats is known"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _settings(codec: str, options: RunOptions) -> dict[str, str]:
    """The encoder's own options."""
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to stderr by itself
    known = {option.name for option in av.CodecContext.create(codec, "w").supported_options.private}
    settings = {
        "libx264": {"preset": "veryfast", "crf": "18"},
        "libx265": {"preset": "veryfast", "crf": "18", "x265-params": "log-level=error"},
        "libvpx": {"deadline": "realtime", "cpu-used": "6", "crf": "18", "b": "8M", "auto-alt-ref": "0"},
        "libvpx-vp9": {
            **{"deadline": "realtime", "cpu-used": "6", "crf": "24", "b": "0"},
            **{"row-mt": "1", "auto-alt-ref": "0"},
        },
        "libsvtav1": {"preset": "10", "crf": "24"},
    }.get(codec, {})
    for what, value, names in (
        ("crf", options.crf, ("crf", "cq")),
        ("preset", options.preset, ("preset", "cpu-used")),
    ):
        if value is None:
            continue
        name = next((name for name in names if name in known), None)
        if name is None:
            raise ValueError(f"it has no {what}")
        settings[name] = str(value)
    return settings


def _pixel_formats(codec: str, info: VideoInfo, size: tuple[int, int]) -> list[str]:
    """The colour formats that an encoder takes, best first: none that loses what the source has, if there is one."""
    odd = bool(size[0] % 2 or size[1] % 2) and codec not in _HALVES_ODD_SIDES

    def rank(name: str) -> tuple[int, ...]:
        kind: Any = av.VideoFormat(name, 2, 2)
        alpha = any(component.is_alpha for component in kind.components)
        bits = max(component.bits for component in kind.components)
        halved = any(component.width < 2 or component.height < 2 for component in kind.components)
        place = _PIXEL_FORMATS.index(name) if name in _PIXEL_FORMATS else len(_PIXEL_FORMATS)
        return (info.alpha and not alpha, odd and halved, info.deep and bits <= 8, alpha > info.alpha, place)

    names = [kind.name for kind in av.Codec(codec, "w").video_formats or []]
    return sorted((name for name in names if len(av.VideoFormat(name, 2, 2).components) >= 3), key=rank)


def _encoding(
    codec: str, pix_fmt: str, settings: dict[str, str], info: VideoInfo, size: tuple[int, int], matroska: bool
) -> Encoding:
    height, width = size
    kind: Any = av.VideoFormat(pix_fmt, 2, 2)
    conversion = info.swscale_matrix
    matrix, values = info.matrix, info.range
    if kind.is_rgb:
        matrix, values = RGB, int(ColorRange.JPEG)
    else:
        if matrix == RGB:
            values = int(ColorRange.MPEG)
        known = matrix in MATRICES or matrix == UNSAID
        if not known or swscale_matrix(matrix, width, height) != conversion:
            # What the source does not say, or what holds no more, is said: players would take it for another.
            matrix = 1 if conversion == Colorspace.ITU709 else 6
        if pix_fmt.startswith("yuvj"):
            values = int(ColorRange.JPEG)
    return Encoding(
        codec=codec,
        pix_fmt=pix_fmt,
        options=settings,
        width=width,
        height=height,
        pixel_aspect=info.pixel_aspect,
        time_base=info.time_base,
        rate=info.rate,
        alpha=info.alpha and any(component.is_alpha for component in kind.components),
        conversion=conversion,
        primaries=info.primaries,
        transfer=info.transfer,
        matrix=matrix,
        range=values,
        matroska=matroska,
    )


def _configure(context: Any, encoding: Encoding) -> None:
    context.width, context.height = encoding.width, encoding.height
    context.pix_fmt = encoding.pix_fmt
    context.time_base = encoding.time_base
    context.framerate = encoding.rate
    context.sample_aspect_ratio = encoding.pixel_aspect
    # Segments are joined as they are: a frame that waits for one of the next segment could not be.
    context.max_b_frames = 0
    context.color_primaries, context.color_trc = encoding.primaries, encoding.transfer
    context.colorspace, context.color_range = encoding.matrix, encoding.range
    context.options = {**encoding.options}


def write_segment(path: Path, frames: Iterable[Frame], encoding: Encoding) -> int:
    """Encode frames into a file of their own.

    Returns:
        How many there were.

    Raises:
        OptionError: the encoder does not take them.
    """
    count = 0
    # NUT keeps any time base and any time stamp as they are, but not all codecs; transparency is Matroska's own.
    kind = "matroska" if encoding.matroska else "nut" if _holds("nut", encoding.codec) else "mov"
    options = _timescales([encoding.time_base], encoding) if kind == "mov" else {}
    with _explained(encoding.codec), av.open(str(path), "w", format=kind, options=options) as container:
        stream: Any = container.add_stream(encoding.codec, rate=encoding.rate, options=encoding.options)
        _configure(stream.codec_context, encoding)
        stream.time_base = encoding.time_base
        for frame in frames:
            count += 1
            container.mux(stream.encode(_to_av(frame, encoding)))
        container.mux(stream.encode(None))
    return count


def _holds(kind: str, codec: str) -> bool:
    """Whether a format knows a codec."""
    with av.open(io.BytesIO(), "w", format=kind) as container:
        try:
            container.add_stream(codec)
        except ValueError:
            return False
    return True


@contextlib.contextmanager
def _explained(codec: str) -> Iterator[None]:
    """Turn what an encoder raises into one sentence; a full disk is for the caller to explain."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in _NO_SPACE:
            raise
        raise OptionError(
            f"the encoder {codec} failed ({_reason(error)}): choose another with --codec"
        ) from None


def _to_av(frame: Frame, encoding: Encoding) -> Any:
    pixels = frame.pixels
    if frame.alpha is not None and encoding.alpha:
        pixels = np.concatenate([pixels, frame.alpha[:, :, None]], axis=2)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.clip(0, 1) * 65535).astype(np.uint16)
    kind = {(1, 3): "rgb24", (1, 4): "rgba", (2, 3): "rgb48le", (2, 4): "rgba64le"}[
        pixels.itemsize, pixels.shape[2]
    ]
    source = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=kind)
    full = encoding.range == ColorRange.JPEG
    result: Any = source.reformat(
        format=encoding.pix_fmt,
        src_colorspace=encoding.conversion,
        dst_colorspace=encoding.conversion,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
    )
    result.colorspace, result.color_range = encoding.matrix, encoding.range
    result.color_primaries, result.color_trc = encoding.primaries, encoding.transfer
    result.pts, result.time_base, result.duration = frame.pts, encoding.time_base, frame.duration
    return result


def check_tracks(source: Path | None, out: Path, encoding: Encoding) -> None:
    """Find out before anything is translated whether the output's format can hold what it must.

    Raises:
        DataError: it cannot.
    """
    file = io.BytesIO()
    file.name = out.name  # by its ending the format is chosen
    problem = f"a {out.suffix} file cannot hold what {encoding.codec} writes"
    with contextlib.ExitStack() as stack:
        tracks = []
        if source is not None:
            with explained(source):
                original = stack.enter_context(av.open(str(source), metadata_errors="replace"))
            tracks = _other_tracks(original)
        try:
            with av.open(file, "w") as target:
                pictures: Any = target.add_stream(
                    encoding.codec, rate=encoding.rate, options=encoding.options
                )
                _configure(pictures.codec_context, encoding)
                for stream in tracks:
                    problem = f"a {out.suffix} file cannot hold the input's {stream.type} as it is"
                    _add_copy(target, stream)
                problem = f"a {out.suffix} file cannot hold the tracks of the input as they are"
                target.start_encoding()
        except (av.error.FFmpegError, ValueError) as error:
            raise DataError(f"{problem} ({_reason(error)}): {_other_ending(source, out)}") from None


def _other_ending(source: Path | None, out: Path) -> str:
    if source is not None and source.suffix.lower() not in WRITABLE_VIDEO_SUFFIXES:
        return "make the input an MP4 or MKV first"
    return "let the output end like the input" + (", or in .mkv" if out.suffix != ".mkv" else "")


def _other_tracks(original: Any) -> list[Any]:
    """The streams that are copied: sound, subtitles, further pictures."""
    pictures = pictures_of(original)
    kinds = ("audio", "subtitle", "video")
    return [stream for stream in original.streams if stream.type in kinds and stream is not pictures]


def join(
    segments: Sequence[Path],
    end: int,
    source: Path | None,
    out: Path,
    encoding: Encoding,
    span: tuple[float, float | None],
) -> None:
    """Write the segments' pictures and everything else of the source into one file, nothing encoded again.

    Args:
        segments: as `write_segment` wrote them, in order.
        end: when the last frame ends, in ticks.
        source: the video that they were made from; None where it holds nothing else.
        out: the file to write.
        encoding: of the segments.
        span: seconds of the source that are taken, its end None for all.

    Raises:
        DataError: the output's format cannot hold a track of the source.
    """
    with contextlib.ExitStack() as stack:
        original = None
        if source is not None:
            with explained(source):
                original = stack.enter_context(av.open(str(source), metadata_errors="replace"))
        try:
            _join(segments, end, original, out, encoding, span)
        except (av.error.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in _NO_SPACE:
                raise
            raise DataError(
                f"the tracks of the input cannot be copied into a {out.suffix} file ({_reason(error)}): "
                f"{_other_ending(source, out)}"
            ) from None


def _join(
    segments: Sequence[Path],
    end: int,
    original: Any,
    out: Path,
    encoding: Encoding,
    span: tuple[float, float | None],
) -> None:
    offset = Fraction(span[0]).limit_denominator(1_000_000)
    with (
        av.open(str(segments[0])) as sample,
        av.open(str(out), "w", options=_muxer_options(out, original, encoding)) as target,
    ):
        others: dict[int, Any] = {}
        first = 0.0
        if original is None:
            shown = _add_pictures(target, sample, encoding)
        else:
            for key, value in original.metadata.items():
                if key not in _OF_THE_FILE:
                    target.metadata[key] = value
            pictures = pictures_of(original)
            first = float((pictures.start_time or 0) * pictures.time_base)
            copied = _other_tracks(original)
            shown = None
            for stream in original.streams:
                if stream is pictures:
                    made = shown = _add_pictures(target, sample, encoding)
                elif stream in copied:
                    made = others[stream.index] = _add_copy(target, stream)
                elif stream.type == "attachment" and out.suffix == ".mkv":  # fonts of subtitles
                    target.add_stream_from_template(stream)
                    continue
                else:
                    continue
                left_out = {"encoder"} if encoding.alpha else {"encoder", "alpha_mode"}
                made.metadata.update(
                    {key: value for key, value in stream.metadata.items() if key.lower() not in left_out}
                )
                made.disposition = stream.disposition
            target.set_chapters(list(_chapters(original.chapters(), offset, span[1])))
        if encoding.alpha and encoding.matroska:
            shown.metadata["alpha_mode"] = "1"
        packets = heapq.merge(
            _pictures(segments, end, shown, offset, encoding),
            _others(original, others, offset, span, first),
            key=lambda packet: (packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base,
        )
        for packet in packets:
            target.mux(packet)


def _chapters(chapters: Iterable[Any], offset: Fraction, end: float | None) -> Iterator[Any]:
    """Those of the part that is taken."""
    for chapter in chapters:
        base = chapter["time_base"]
        first = max(0, chapter["start"] - round(offset / base))
        last = min(chapter["end"], chapter["end"] if end is None else round(end / base)) - round(
            offset / base
        )
        if first < last:
            yield {**chapter, "start": first, "end": last}


def _add_copy(target: Any, stream: Any) -> Any:
    made = target.add_stream_from_template(stream, opaque=True)
    made.time_base = stream.time_base
    if stream.type == "audio" and "channels" in stream.layout.name:  # AVI does not say which; QuickTime must
        made.codec_context.layout = _LAYOUTS.get(stream.layout.nb_channels, stream.layout)
    return made


def _add_pictures(target: Any, sample: Any, encoding: Encoding) -> Any:
    stream = target.add_stream_from_template(sample.streams.video[0], opaque=True)
    stream.time_base = encoding.time_base
    stream.codec_context.sample_aspect_ratio = encoding.pixel_aspect
    if not encoding.matroska:  # Apple's players take no other tags
        if encoding.codec.startswith("prores") and "444" in encoding.pix_fmt:
            stream.codec_context.codec_tag = "ap4h"
        elif stream.codec_context.name == "hevc":
            stream.codec_context.codec_tag = "hvc1"
    return stream


def _muxer_options(out: Path, original: Any, encoding: Encoding) -> dict[str, str]:
    if out.suffix not in _QUICKTIME:
        return {}
    time_bases = [encoding.time_base]
    options = {"movflags": "+faststart"}
    if original is not None:
        time_bases += [stream.time_base for stream in original.streams if stream.time_base]
        cover = any(
            stream.disposition & av.stream.Disposition.attached_pic for stream in original.streams.video
        )
        unusual = original.metadata.keys() - _USUAL_TAGS - set(_OF_THE_FILE)
        if out.suffix == ".mov" or (unusual and not cover):
            options["movflags"] += "+use_metadata_tags"
    return options | _timescales(time_bases, encoding)


def _timescales(time_bases: list[Fraction], encoding: Encoding) -> dict[str, str]:
    """Options that make a QuickTime file count in ticks of the source."""
    # Where a track starts is written in ticks of the movie: they must divide those of every track.
    movie = math.lcm(*(time_base.denominator for time_base in time_bases))
    return {
        "movie_timescale": str(movie if movie <= _LARGEST_TIMESCALE else 90_000),
        "video_track_timescale": str(encoding.time_base.denominator),
    }


def _pictures(
    segments: Sequence[Path], end: int, stream: Any, offset: Fraction, encoding: Encoding
) -> Iterator[Any]:
    """All packets of the segments; the last frame is shown until the end."""
    last = None
    for segment in segments:
        with av.open(str(segment)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size == 0:
                    continue
                if last is not None:
                    yield _moved(last, stream, offset)
                last = packet
    if last is not None:
        length = end * encoding.time_base - (last.pts or 0) * last.time_base
        last.duration = max(1, round(length / last.time_base))
        yield _moved(last, stream, offset)


def _others(
    original: Any, others: dict[int, Any], offset: Fraction, span: tuple[float, float | None], first: float
) -> Iterator[Any]:
    if not others:
        return
    start, end = span
    wanted = [stream for stream in original.streams if stream.index in others]
    for packet in original.demux(wanted):
        if packet.size == 0:
            continue
        time = float((packet.pts if packet.pts is not None else packet.dts or 0) * packet.time_base) - first
        if (start > 0 and time < start) or (end is not None and time >= end):
            continue
        yield _moved(packet, others[packet.stream.index], offset)


def _moved(packet: Any, stream: Any, offset: Fraction) -> Any:
    packet.stream = stream
    ticks = round(offset / packet.time_base)
    if packet.pts is not None:
        packet.pts -= ticks
    if packet.dts is not None:
        packet.dts -= ticks
    return packet
