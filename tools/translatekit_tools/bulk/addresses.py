"""Inputs of videos that are no single file: standard input, a URL, numbered images; told without loading a decoder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from translatekit.errors import DataError, OptionError

STANDARD = "-"
"""Standard input, or standard output."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NUMBER = re.compile(r"%(?:0(\d))?d")
_RATE = re.compile(r"(\d{1,9})(?:/(\d{1,9})|(\.\d{1,6}))?")
_RAW = re.compile(r"(?P<width>[1-9]\d{0,5})x(?P<height>[1-9]\d{0,5})(?::(?P<pix_fmt>[a-z0-9_]{2,20}))?")


def is_stream(text: str) -> bool:
    """Whether an input comes as it is read: standard input or a URL."""
    return text == STANDARD or _URL.match(text) is not None


def is_sequence(path: Path) -> bool:
    """Whether a path is the pattern of numbered images, such as ``frames/%06d.png``, and no file itself."""
    return _NUMBER.search(path.name) is not None and not path.exists()


def shown(address: str) -> str:
    """An address to be read by people: a URL without the password in it."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", r"\1", address, flags=re.IGNORECASE)


def name_of(address: str) -> str:
    """What a stream's output is called where nobody says: the last part of a URL's path."""
    if address == STANDARD:
        return "stdin"
    name = PurePosixPath(unquote(urlsplit(address).path)).name
    return re.sub(r"[/\\\0]", "_", name).lstrip(".") or "video"


def check_url(address: str) -> None:
    """Refuse what is not fetched over HTTP.

    Raises:
        DataError: it is not.
    """
    if address != STANDARD and urlsplit(address).scheme.lower() not in ("http", "https"):
        raise DataError(
            f"{shown(address)} is not read: only http and https are; pipe others in, such as with "
            "ffmpeg -i URL -c copy -f matroska - | translatekit run - ..."
        )


def sequence_files(pattern: Path) -> dict[int, Path]:
    """The images that a pattern means, by their numbers, which rise.

    Raises:
        DataError: there is none.
    """
    match = _NUMBER.search(pattern.name)
    assert match is not None
    digits = rf"\d{{{match[1]},}}" if match[1] else r"0|[1-9]\d*"
    before, after = pattern.name[: match.start()], pattern.name[match.end() :]
    name = re.compile(f"{re.escape(before)}({digits}){re.escape(after)}")
    try:
        found = {int(at[1]): path for path in pattern.parent.iterdir() if (at := name.fullmatch(path.name))}
    except OSError as error:
        raise DataError(
            f"the folder {pattern.parent} cannot be listed ({error.strerror}): check the path"
        ) from None
    if not found:
        raise DataError(f"no image is named like {pattern}, such as {pattern.name % 1}: check the path")
    return dict(sorted(found.items()))


def parse_rate(text: str) -> Fraction:
    """Frames a second: ``25``, ``30000/1001``, or ``29.97``, which stands for that.

    Raises:
        OptionError: it is none.
    """
    match = _RATE.fullmatch(text.strip())
    rate = Fraction(0)
    if match is not None and match[2] != "0" * len(match[2] or "x"):
        rate = Fraction(int(match[1]), int(match[2] or 1)) + Fraction(match[3] or 0)
        near = Fraction(round(rate) * 1000, 1001)
        if match[3] and abs(rate - near) < Fraction(1, 100):  # NTSC's rates are written short
            rate = near
    if not 0 < rate <= 1000:
        raise OptionError(f"--fps takes frames a second, such as 25, 29.97 or 30000/1001, got {text!r}")
    return rate


@dataclass(frozen=True, slots=True)
class RawFrames:
    """What frames without a header are.

    Attributes:
        width, height: in pixels.
        pix_fmt: FFmpeg's name of the pixel format.
    """

    width: int
    height: int
    pix_fmt: str = "rgb24"

    @classmethod
    def parse(cls, text: str) -> RawFrames:
        """Read ``WIDTHxHEIGHT`` or ``WIDTHxHEIGHT:PIX_FMT``.

        Raises:
            OptionError: it is neither.
        """
        match = _RAW.fullmatch(text.strip().lower())
        if match is None:
            raise OptionError(f"--raw takes WIDTHxHEIGHT[:PIX_FMT], such as 640x480:rgb24, got {text!r}")
        return cls(int(match["width"]), int(match["height"]), match["pix_fmt"] or "rgb24")
