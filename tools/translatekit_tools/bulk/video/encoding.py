"""How frames are encoded: the encoder, its pixel format and options, and what the file says of its colours."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from translatekit.errors import OptionError
from translatekit_tools.bulk.encoding import Encoding
from translatekit_tools.bulk.kinds import CONSTANT_RATE_SUFFIXES
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.video.hdr import encoder_options
from translatekit_tools.bulk.video.reader import MATRICES, RGB, UNSPECIFIED, Frame, VideoInfo, swscale_matrix

_MATROSKA = (".mkv", ".webm")
_DEFAULT_CODECS = {
    ".webm": "libvpx-vp9",
    **dict.fromkeys((".mpg", ".mpeg", ".vob", ".mxf"), "mpeg2video"),
    ".wmv": "wmv2",
}
"""Of suffixes that libx264 is not the first choice for."""
_IN_BAND = (".ts", ".mts", ".m2ts", ".avi", ".flv")
"""Suffixes of formats that players join in the middle: an H.264 or H.265 stream says what it is at each key frame."""
_HDR_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".ts", ".mts", ".m2ts")
_FINE_QUANTIZER = {"flags": "+qscale", "global_quality": "354"}  # a quantizer of 3, times FF_QP2LAMBDA
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
"""The most widely played come first."""
_DESCRIBING = (
    *("libx264", "libx265", "h264", "hevc", "libsvtav1", "libaom", "librav1e", "av1", "libvpx-vp9"),
    *("vp9", "mpeg2", "prores"),
)
"""Beginnings of encoders' names whose streams say what matrix their samples are of. Matroska says it of all others."""
_BT601 = 5
"""A matrix of ISO/IEC 23091-2: that of all streams of JPEG and VP8."""
_MAX_TRIES = 8
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def choose_encoding(
    info: VideoInfo,
    size: tuple[int, int],
    suffix: str,
    options: RunOptions,
    say: Callable[[str], None],
    rate: Fraction | None = None,
) -> Encoding:
    """The encoder that the user asked for, or what fits the file's suffix, the bit depth and the size.

    Args:
        info: of the source.
        size: height and width of what is encoded, in pixels.
        suffix: of the output.
        options: ``codec``, ``crf``, ``preset``, ``pix_fmt`` and ``every`` are looked at.
        say: told when another encoder is used than the one asked for, and what of the source is lost.
        rate: frames a second of a format that knows no other time.

    Raises:
        OptionError: there is no such encoder, or it does not take the options.
    """
    asked = options.codec or default_codec(info, suffix)
    asked = _SOFTWARE.get(asked, asked)
    made_for = replace(info, rate=(rate or info.rate) / options.every)
    encoding, problem = _first_that_opens(asked, made_for, size, suffix, options)
    family = next((name for name in _SOFTWARE if asked.startswith(name)), None)
    if encoding is None and family is not None:
        fallback = _SOFTWARE[family]  # a preset is one encoder's own word
        encoding, _ = _first_that_opens(fallback, made_for, size, suffix, replace(options, preset=None))
        if encoding is not None:
            say(f"the encoder {asked} does not open here ({problem}): {fallback} is used instead")
    if encoding is None:
        raise OptionError(
            f"the encoder {asked} does not take {size[1]}x{size[0]} pixels with these options ({problem}): "
            "change --codec, --pix-fmt, --crf or --preset"
        )
    for lost in _losses(info, encoding):
        say(lost)
    return encoding


def raw_encoding(
    info: VideoInfo, size: tuple[int, int], suffix: str, options: RunOptions, say: Callable[[str], None]
) -> Encoding:
    """Frames that are not encoded, as `choose_encoding` has those that are."""
    depth = "yuv420p10le" if info.deep else "yuv420p"
    if suffix == ".raw":
        depth = "rgb48le" if info.deep else "rgb24"
    made_for = replace(info, rate=info.rate / options.every)
    encoding = _encoding("rawvideo", options.pix_fmt or depth, {}, made_for, size, suffix)
    for lost in _losses(info, encoding):
        say(lost)
    return encoding


def default_codec(info: VideoInfo, suffix: str) -> str:
    """The encoder for a suffix where the user names none."""
    default = _DEFAULT_CODECS.get(suffix, "libx264")
    if info.alpha and suffix in _ALPHA_CODECS:
        return _ALPHA_CODECS[suffix]
    if info.deep and default == "libvpx-vp9" and not _takes_deep(default):  # a matter of how libvpx was built
        return "libsvtav1"
    if info.is_hdr and suffix in _HDR_SUFFIXES:  # what HDR is played from: H.265 Main 10
        return "libx265"
    return default


def _takes_deep(codec: str) -> bool:
    return any(_bits(kind) > 8 for kind in av.Codec(codec, "w").video_formats or [])


def _bits(kind: Any) -> int:
    return max(component.bits for component in kind.components)


def _losses(info: VideoInfo, encoding: Encoding) -> Iterator[str]:
    """What the source has and the output has not, a sentence each."""
    if info.alpha and not encoding.alpha:
        yield (
            f"{encoding.codec} with {encoding.pix_fmt} has no transparency, and that of the input is left out: "
            "let the output end in .webm or .mov to keep it"
        )
    kind: Any = av.VideoFormat(encoding.pix_fmt, 2, 2)
    if info.deep and _bits(kind) <= 8:
        yield (
            f"{encoding.codec} with {encoding.pix_fmt} has 8 bits a channel, and the input more: "
            "choose --codec libx265, libx264 or libsvtav1 to keep 10"
        )
    if info.hdr.dynamic:
        yield (
            f"the metadata that each frame has of its own ({' and '.join(info.hdr.dynamic)}) are left out: "
            "no encoder here writes them"
        )
    if (info.hdr.primaries or info.hdr.levels) and encoder_options(info.hdr, encoding.codec) is None:
        yield (
            f"{encoding.codec} does not write the mastering display and light levels of the input, "
            "and they are left out: choose --codec libx265 to keep them"
        )


def _first_that_opens(
    codec: str, info: VideoInfo, size: tuple[int, int], suffix: str, options: RunOptions
) -> tuple[Encoding | None, str]:
    """An encoding, or None and what is wrong with the best one."""
    problem = ""
    try:
        formats = [options.pix_fmt] if options.pix_fmt is not None else _pixel_formats(codec, info, size)
        settings = _settings(codec, options, info, suffix)
        for pix_fmt in formats[:_MAX_TRIES]:
            encoding = _encoding(codec, pix_fmt, settings, info, size, suffix)
            try:
                context: Any = av.CodecContext.create(codec, "w")
                configure(context, encoding)
                open_encoder(context)
                return encoding, ""
            except (av.error.FFmpegError, ValueError) as error:
                problem = problem or reason_of(error)
    except (av.error.FFmpegError, ValueError) as error:
        return None, reason_of(error)
    return None, problem or "none of its pixel formats is known"


def reason_of(error: Exception) -> str:
    """What PyAV says is wrong."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _settings(codec: str, options: RunOptions, info: VideoInfo, suffix: str) -> dict[str, str]:
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
        **{codec: dict(_FINE_QUANTIZER) for codec in ("mpeg4", "mpeg2video", "wmv2", "mjpeg")},
    }.get(codec, {})
    extra = dict(encoder_options(info.hdr, codec) or {})
    if codec in ("libx264", "libx265") and suffix in _IN_BAND:
        extra.setdefault(f"{codec[3:]}-params", "")
        extra[f"{codec[3:]}-params"] += ":repeat-headers=1"
    for key, more in extra.items():
        settings[key] = f"{settings.get(key, '')}:{more}".strip(":").replace("::", ":")
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
    codec: str, pix_fmt: str, settings: dict[str, str], info: VideoInfo, size: tuple[int, int], suffix: str
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
        known = matrix in MATRICES or matrix == UNSPECIFIED
        if not known or swscale_matrix(matrix, width, height) != conversion:
            # What the source does not say, or what holds no more, is said: players would take it for another.
            matrix = 1 if conversion == Colorspace.ITU709 else 6
        if codec.startswith(("mjpeg", "vp8")) or codec == "libvpx":
            conversion, matrix = int(Colorspace.ITU601), _BT601
            values = int(ColorRange.JPEG if codec.startswith("mjpeg") else ColorRange.MPEG)
        elif codec.startswith(("mpeg2", "prores")):  # their streams know no other range
            values = int(ColorRange.MPEG)
        elif not codec.startswith(_DESCRIBING) and suffix not in _MATROSKA:
            # Nobody is told: the samples are what players assume.
            conversion = swscale_matrix(UNSPECIFIED, width, height)
            matrix = 1 if conversion == Colorspace.ITU709 else 6
            values = values if suffix == ".y4m" else int(ColorRange.MPEG)
        if pix_fmt.startswith("yuvj"):
            values = int(ColorRange.JPEG)
    return Encoding(
        codec=codec,
        pix_fmt=pix_fmt,
        options=settings,
        width=width,
        height=height,
        pixel_aspect=info.pixel_aspect,
        time_base=1 / info.rate if suffix in CONSTANT_RATE_SUFFIXES else info.time_base,
        source_time_base=info.time_base,
        start=info.start,
        rate=info.rate,
        alpha=info.alpha and any(component.is_alpha for component in kind.components),
        conversion=conversion,
        primaries=info.primaries,
        transfer=info.transfer,
        matrix=matrix,
        range=values,
        matroska=suffix in _MATROSKA,
    )


def configure(context: Any, encoding: Encoding) -> None:
    """Make an encoder's context what an encoding says."""
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


def open_encoder(context: Any) -> None:
    """Open an encoder without a change of how this process and the encoder's threads are scheduled.

    SVT-AV1, where it runs as root, makes the thread that opens it and its own threads real-time ones: they and every
    process started from there would come before all else on the machine.
    """
    if context.codec.name != "libsvtav1" or not Path("/proc/self/task").is_dir():
        context.open(strict=False)
        return
    before = _scheduling()
    try:
        context.open(strict=False)
    finally:
        for thread, policy in _scheduling().items():
            wanted = before.get(thread, os.SCHED_OTHER)
            if policy != wanted:
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    os.sched_setscheduler(thread, wanted, os.sched_param(0))


def _scheduling() -> dict[int, int]:
    """How each thread of this process is scheduled."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            found[int(task.name)] = os.sched_getscheduler(int(task.name))
    return found


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
    options = {"video_track_timescale": str(encoding.time_base.denominator)} if kind == "mov" else {}
    with (
        explained_encoder(encoding.codec),
        av.open(str(path), "w", format=kind, options=options) as container,
    ):
        stream: Any = container.add_stream(encoding.codec, rate=encoding.rate, options=encoding.options)
        configure(stream.codec_context, encoding)
        stream.time_base = encoding.time_base

        def counted() -> Iterator[Frame]:
            nonlocal count
            for frame in frames:
                count += 1
                yield frame

        for packet in encoded(counted(), stream, encoding):
            container.mux(packet)
    return count


def encoded(frames: Iterable[Frame], stream: Any, encoding: Encoding) -> Iterator[Any]:
    """The packets of frames."""
    open_encoder(stream.codec_context)
    for frame in chain(frames, [None]):
        for packet in stream.encode(None if frame is None else to_av(frame, encoding)):
            packet.dts = packet.pts  # none waits for a later one; some encoders allow for it all the same
            yield packet


def _holds(kind: str, codec: str) -> bool:
    """Whether a format knows a codec."""
    with av.open(io.BytesIO(), "w", format=kind) as container:
        try:
            container.add_stream(codec)
        except ValueError:
            return False
    return True


@contextlib.contextmanager
def explained_encoder(codec: str) -> Iterator[None]:
    """Turn what an encoder raises into one sentence; a full disk is for the caller to explain."""
    try:
        yield
    except av.error.FFmpegError as error:
        if error.errno in NO_SPACE:
            raise
        raise OptionError(
            f"the encoder {codec} failed ({reason_of(error)}): choose another with --codec"
        ) from None


def to_av(frame: Frame, encoding: Encoding) -> Any:
    """A frame as the encoder takes it."""
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
    scale = encoding.source_time_base / encoding.time_base
    result.pts = round((frame.pts - encoding.start) * scale)
    result.duration = round(frame.duration * scale)
    result.time_base = encoding.time_base
    return result
