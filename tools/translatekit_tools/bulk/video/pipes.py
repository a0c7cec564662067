"""Frames without a container: YUV4MPEG2, and raw samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange

from translatekit.errors import OptionError
from translatekit_tools.bulk.video.encoding import Encoding, to_av
from translatekit_tools.bulk.video.reader import Frame

_Y4M_COLORS = {
    **{"yuv420p": "420jpeg", "yuvj420p": "420jpeg", "yuv422p": "422", "yuv444p": "444", "gray": "mono"},
    **{"yuv420p10le": "420p10", "yuv422p10le": "422p10", "yuv444p10le": "444p10"},
}
"""From FFmpeg's pixel formats to what YUV4MPEG2 calls them."""


def write_raw(file: Any, frames: Iterable[Frame], encoding: Encoding, y4m: bool) -> int:
    """Write frames as their samples, plane after plane, row after row.

    Args:
        file: a binary file.
        frames: at the encoding's rate (see `at_constant_rate`).
        encoding: says the pixel format and the colours.
        y4m: with the headers of YUV4MPEG2.

    Returns:
        How many there were.

    Raises:
        OptionError: YUV4MPEG2 does not know the pixel format.
    """
    if y4m:
        colors = _Y4M_COLORS.get(encoding.pix_fmt)
        if colors is None:
            raise OptionError(
                f"y4m does not know the pixel format {encoding.pix_fmt}: "
                f"choose --pix-fmt among {', '.join(_Y4M_COLORS)}"
            )
        rate, aspect = encoding.rate, encoding.pixel_aspect
        values = "FULL" if encoding.range == ColorRange.JPEG else "LIMITED"
        header = (
            f"YUV4MPEG2 W{encoding.width} H{encoding.height} F{rate.numerator}:{rate.denominator} Ip "
            f"A{aspect.numerator}:{aspect.denominator} C{colors} XCOLORRANGE={values}\n"
        )
        file.write(header.encode())
    count = 0
    for frame in frames:
        if y4m:
            file.write(b"FRAME\n")
        file.write(samples(to_av(frame, encoding)))
        count += 1
    return count


def samples(frame: Any) -> bytes:
    """The samples of a frame of PyAV's, without what pads its rows."""
    parts = []
    kind = frame.format
    by_plane: dict[int, Any] = {component.plane: component for component in kind.components}
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height].reshape(plane.height, -1)
        inside = [component for component in kind.components if component.plane == index]
        if len(frame.planes) == 1:
            width = frame.width * kind.padded_bits_per_pixel // 8
        else:
            width = plane.width * len(inside) * -(-by_plane[index].bits // 8)
        parts.append(rows[:, :width].tobytes())
    return b"".join(parts)


def check_raw(pix_fmt: str) -> None:
    """Refuse what is no pixel format, or one whose pixels are no whole bytes.

    Raises:
        OptionError: it is.
    """
    try:
        kind: Any = av.VideoFormat(pix_fmt, 2, 2)
    except ValueError:
        raise OptionError(
            f"there is no pixel format {pix_fmt!r}: choose one such as rgb24 or yuv420p"
        ) from None
    if kind.has_palette or kind.is_bit_stream or not kind.components:
        raise OptionError(
            f"frames of the pixel format {pix_fmt} are not read or written: choose rgb24 or yuv420p"
        )


def at_constant_rate(frames: Iterable[Frame], encoding: Encoding, changes: list[int]) -> Iterator[Frame]:
    """Frames at equal distances: one is repeated until the next comes, and one that comes too soon is left out.

    Args:
        frames: with time stamps of the source.
        encoding: says the source's ticks, and the rate.
        changes: its two numbers become how many were repeated, and how many were left out.
    """
    step = 1 / encoding.rate / encoding.source_time_base
    first: Frame | None = None
    before: Frame | None = None
    place = 0
    for frame in frames:
        first = first or frame
        wanted = round((frame.pts - first.pts) / step)
        if wanted < place:
            changes[1] += 1
            continue
        for missing in range(place, wanted):
            assert before is not None
            changes[0] += 1
            yield replace(before, pts=first.pts + round(missing * step))
        yield replace(frame, pts=first.pts + round(wanted * step))
        before, place = frame, wanted + 1
