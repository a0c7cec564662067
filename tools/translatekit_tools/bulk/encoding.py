"""What is said of an encoder: to whoever encodes a part of a video, it may be sent."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        pix_fmt: FFmpeg's name of the pixel format.
        options: of the encoder.
        width, height: in pixels.
        pixel_aspect: width of a pixel over its height.
        time_base: seconds of a tick; of one frame where the format knows no other time.
        source_time_base: likewise, of the frames before they are encoded.
        start: the tick of the source that is encoded as 0: no format need hold a time below.
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
    source_time_base: Fraction
    start: int
    rate: Fraction
    alpha: bool
    conversion: int
    primaries: int
    transfer: int
    matrix: int
    range: int
    matroska: bool
