"""Writing a video: frames encoded in segments, then joined with all else that the source holds."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.video.reader import Frame, VideoInfo

_QUICKTIME = (".mp4", ".m4v", ".mov")
_MATROSKA = (".mkv", ".webm")
_LARGEST_TIMESCALE = 2**31 - 1
_FALLBACKS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pix_fmt: FFmpeg's name of the pixel format.
        options: of the encoder.
        width, height: in pixels.
        pixel_aspect: width of a pixel over its height.
        matroska: whether it ends up in such a file, whose time stamps are in milliseconds.
    """

    codec: str
    pix_fmt: str
    options: dict[str, str]
    width: int
    height: int
    pixel_aspect: Fraction
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
        say: told when another encoder is used than the one asked for.

    Raises:
        OptionError: there is no such encoder, or it does not take the options.
    """
    height, width = size
    # A pixel's shape changes when the picture's does: what is shown keeps its proportions.
    aspect = info.pixel_aspect * Fraction(info.width, width) * Fraction(height, info.height)
    if options.side_by_side or options.size is not None:
        aspect = info.pixel_aspect
    codec = options.codec or ("libvpx-vp9" if suffix == ".webm" else "libx264")
    matroska = suffix in _MATROSKA
    encoding = _encoding(codec, info, height, width, aspect, options, matroska)
    problem = _try(encoding, info)
    if problem is None:
        return encoding
    family = next((name for name in _FALLBACKS if codec.startswith(name)), None)
    if family is not None and _FALLBACKS[family] != codec:
        fallback = _encoding(_FALLBACKS[family], info, height, width, aspect, options, matroska)
        if _try(fallback, info) is None:
            say(f"the encoder {codec} does not open here ({problem}): {fallback.codec} is used instead")
            return fallback
    raise OptionError(
        f"the encoder {codec} does not take {width}x{height} pixels as {encoding.pix_fmt} with these options "
        f"({problem}): change --codec, --pix-fmt, --crf or --preset"
    )


def _encoding(
    codec: str,
    info: VideoInfo,
    height: int,
    width: int,
    aspect: Fraction,
    options: RunOptions,
    matroska: bool,
) -> Encoding:
    settings = {"crf": str(options.crf)} if options.crf is not None else {}
    if codec in ("libx264", "libx265"):
        settings = {"preset": options.preset or "veryfast", "crf": "18", **settings}
        if codec == "libx265":
            settings["x265-params"] = "log-level=error"
    elif codec == "libvpx-vp9":
        settings = {
            "deadline": "realtime",
            "cpu-used": options.preset or "6",
            "crf": "24",
            "b": "0",
            **settings,
        }
        settings |= {"row-mt": "1", "auto-alt-ref": "0"}
    elif options.preset is not None:
        settings["preset"] = options.preset
    even = height % 2 == 0 and width % 2 == 0  # 4:2:0 halves both sides
    if options.pix_fmt is not None:
        pix_fmt = options.pix_fmt
    elif info.alpha and codec == "libvpx-vp9":
        pix_fmt = "yuva420p"
    else:
        pix_fmt = ("yuv420p" if even or codec == "libvpx-vp9" else "yuv444p") + ("10le" if info.deep else "")
    return Encoding(
        codec=codec,
        pix_fmt=pix_fmt,
        options=settings,
        width=width,
        height=height,
        pixel_aspect=aspect,
        matroska=matroska,
    )


def _try(encoding: Encoding, info: VideoInfo) -> str | None:
    """Why an encoder does not open, or None."""
    try:
        context = av.CodecContext.create(encoding.codec, "w")
        _configure(context, encoding, info)
        context.open()
    except (av.error.FFmpegError, ValueError, KeyError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    return None


def _configure(context: Any, encoding: Encoding, info: VideoInfo) -> None:
    context.width, context.height = encoding.width, encoding.height
    context.pix_fmt = encoding.pix_fmt
    context.time_base = info.time_base
    context.framerate = info.rate
    context.sample_aspect_ratio = encoding.pixel_aspect
    context.max_b_frames = (
        0  # segments are joined as they are: a frame that waits for a later one could not be
    )
    context.color_primaries, context.color_trc = info.primaries, info.transfer
    context.colorspace, context.color_range = info.matrix, info.range
    context.options = {**encoding.options}


def write_segment(path: Path, frames: Iterable[Frame], encoding: Encoding, info: VideoInfo) -> int:
    """Encode frames into a file of their own, which takes its name when it is whole.

    Returns:
        How many there were.
    """
    temporary = path.with_suffix(".tmp")
    count = 0
    # NUT keeps any time base and any time stamp as they are; but transparency is Matroska's own.
    kind = "matroska" if encoding.matroska else "nut"
    with av.open(str(temporary), "w", format=kind) as container:
        stream: Any = container.add_stream(encoding.codec, rate=info.rate, options=encoding.options)
        _configure(stream.codec_context, encoding, info)
        stream.time_base = info.time_base
        for frame in frames:
            count += 1
            container.mux(stream.encode(_to_av(frame, encoding, info)))
        container.mux(stream.encode(None))
    temporary.replace(path)
    return count


def _to_av(frame: Frame, encoding: Encoding, info: VideoInfo) -> Any:
    pixels = frame.pixels
    if frame.alpha is not None and "a" in encoding.pix_fmt.replace("gray", ""):
        pixels = np.concatenate([pixels, frame.alpha[:, :, None]], axis=2)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.clip(0, 1) * 65535).astype(np.uint16)
    kind = {(1, 3): "rgb24", (1, 4): "rgba", (2, 3): "rgb48le", (2, 4): "rgba64le"}[
        pixels.itemsize, pixels.shape[2]
    ]
    source = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=kind)
    ranges = av.video.reformatter.ColorRange
    result: Any = source.reformat(
        format=encoding.pix_fmt,
        src_colorspace=info.swscale_matrix,
        dst_colorspace=info.swscale_matrix,
        src_color_range=ranges.JPEG,
        dst_color_range=ranges.JPEG if info.range == int(ranges.JPEG) else ranges.MPEG,
    )
    result.colorspace, result.color_range = info.matrix, info.range
    result.color_primaries, result.color_trc = info.primaries, info.transfer
    result.pts, result.time_base, result.duration = frame.pts, info.time_base, frame.duration
    return result


def join(
    segments: Sequence[Path], source: Path, out: Path, encoding: Encoding, span: tuple[float, float | None]
) -> None:
    """Write the segments' pictures and everything else of the source into one file, nothing encoded again.

    Args:
        segments: as `write_segment` wrote them, in order.
        source: the video that they were made from.
        out: the file to write.
        encoding: of the segments.
        span: seconds of the source that are taken, its end None for all.

    Raises:
        DataError: the output's format cannot hold a track of the source.
    """
    with (
        av.open(str(source), metadata_errors="replace") as original,
        av.open(str(segments[0])) as sample,
        av.open(str(out), "w", options=_muxer_options(out, original)) as target,
    ):
        pictures = original.streams.video[0]
        for key, value in original.metadata.items():
            if key not in ("major_brand", "minor_version", "compatible_brands"):
                target.metadata[key] = value
        others: dict[int, Any] = {}
        shown: Any = None
        for stream in original.streams:
            if stream.index == pictures.index:
                shown = target.add_stream_from_template(sample.streams.video[0])
                shown.time_base = pictures.time_base
                shown.codec_context.sample_aspect_ratio = encoding.pixel_aspect
                made: Any = shown
            elif stream.type in ("audio", "subtitle", "video"):
                try:
                    made = target.add_stream_from_template(stream)
                except (av.error.FFmpegError, ValueError) as error:
                    raise _cannot_hold(out, stream, error) from None
                made.time_base = stream.time_base
                others[stream.index] = made
            else:
                continue
            made.metadata.update(
                {key: value for key, value in stream.metadata.items() if key.lower() != "encoder"}
            )
            made.disposition = stream.disposition
        chapters = original.chapters()
        if chapters and span == (0.0, None):
            target.set_chapters(chapters)
        offset = Fraction(span[0]).limit_denominator(1_000_000)
        first_of_source = _start(pictures)
        try:
            for packet in heapq.merge(
                _pictures(segments, shown, offset),
                _others(original, others, offset, span, first_of_source),
                key=lambda packet: (
                    (packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base
                ),
            ):
                target.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) == 28:
                raise
            raise _cannot_hold(out, None, error) from None


def _muxer_options(out: Path, original: Any) -> dict[str, str]:
    if out.suffix.lower() not in _QUICKTIME:
        return {}
    # Where a track starts is written in ticks of the movie: they must divide those of every track.
    timescale = math.lcm(*(stream.time_base.denominator for stream in original.streams if stream.time_base))
    return {
        "movflags": "+faststart+use_metadata_tags",
        "movie_timescale": str(timescale if timescale <= _LARGEST_TIMESCALE else 90_000),
    }


def _cannot_hold(out: Path, stream: Any, error: Exception) -> DataError:
    what = "the tracks of the source" if stream is None else f"the source's {stream.type} track"
    return DataError(
        f"a {out.suffix} file cannot hold {what} as they are ({getattr(error, 'strerror', None) or error}): "
        "let the output end like the input, or in .mkv"
    )


def _start(stream: Any) -> float:
    return float((stream.start_time or 0) * stream.time_base)


def _pictures(segments: Sequence[Path], stream: Any, offset: Fraction) -> Iterator[Any]:
    for segment in segments:
        with av.open(str(segment)) as container:
            source = container.streams.video[0]
            for packet in container.demux(source):
                if packet.size == 0:
                    continue
                yield _moved(packet, stream, offset)


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
