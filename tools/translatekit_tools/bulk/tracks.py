"""Which tracks of a video are translated, copied and left out, and when its clock begins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from translatekit.errors import OptionError

_COPIED = ("audio", "subtitle", "video")
_ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC; whoever only checks options need not load FFmpeg
_DISCONTINUOUS = 0x0200  # AVFMT_TS_DISCONT: formats whose clock may jump, and begins anywhere
_LETTERS = {"v": "video", "a": "audio", "s": "subtitle"}
_TERM = re.compile(r"(?P<kind>[vas])(?::(?:(?P<number>\d{1,3})|(?P<language>[a-z]{2,3})))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the user wants of a video's tracks.

    Attributes:
        map: terms such as ``v:1,a:0,s``, or None for all.
        audio: whether audio is copied at all.
    """

    map: str | None = None
    audio: bool = True

    def terms(self) -> list[tuple[str, int | None, str | None]]:
        """Kind, number and language of each term.

        Raises:
            OptionError: one cannot be read.
        """
        terms = []
        for text in (self.map or "").replace(" ", "").split(","):
            match = _TERM.fullmatch(text)
            if match is None:
                raise OptionError(
                    f"--map takes tracks such as v:1,a:0,s or a:eng (v, a or s; a number or a language), got {text!r}"
                )
            number = None if match["number"] is None else int(match["number"])
            terms.append((_LETTERS[match["kind"].lower()], number, match["language"]))
        return terms

    def video_stream(self, container: Any) -> Any:
        """The stream that is translated, which is no cover of an album; None where there is none.

        Raises:
            OptionError: the one that was named is not there.
        """
        streams = [stream for stream in container.streams.video if not is_cover(stream)]
        for kind, number, language in self.terms() if self.map else ():
            if kind != "video":
                continue
            named = [
                stream
                for index, stream in enumerate(streams)
                if (number is None or index == number) and _speaks(stream, language)
            ]
            if not named:
                raise OptionError(
                    f"--map {self.map} names a video track that is not there: {_listed(container)}"
                )
            return named[0]
        return streams[0] if streams else None

    def copied_streams(self, container: Any) -> list[Any]:
        """The streams that are copied as they are: audio, subtitles, further video.

        Raises:
            OptionError: one that was named is not there.
        """
        video_stream = self.video_stream(container)
        others = [
            stream for stream in container.streams if stream.type in _COPIED and stream is not video_stream
        ]
        if self.map:
            wanted: list[Any] = []
            for kind, number, language in self.terms():
                if kind == "video":
                    continue
                named = [
                    stream
                    for index, stream in enumerate(stream for stream in others if stream.type == kind)
                    if (number is None or index == number) and _speaks(stream, language)
                ]
                if not named:
                    raise OptionError(
                        f"--map {self.map} names a track that is not there: {_listed(container)}"
                    )
                wanted += named
            others = [stream for stream in others if stream in wanted]
        return [stream for stream in others if self.audio or stream.type != "audio"]


EVERYTHING = Selection()


def is_cover(stream: Any) -> bool:
    """Whether a stream is the cover of an album."""
    return bool(int(stream.disposition) & _ATTACHED_PICTURE)


def _speaks(stream: Any, language: str | None) -> bool:
    return language is None or (stream.language or "und").lower().startswith(language.lower())


def _listed(container: Any) -> str:
    """The tracks of a file, as `Selection.map` names them."""

    def names() -> Iterator[str]:
        for letter, kind in _LETTERS.items():
            streams = [stream for stream in container.streams if stream.type == kind and not is_cover(stream)]
            for number, stream in enumerate(streams):
                yield f"{letter}:{number}" + (f" ({stream.language})" if stream.language else "")

    return "it has " + (", ".join(names()) or "none")


def origin(container: Any, streams: list[Any], start: Fraction) -> Fraction:
    """The time in seconds that becomes 0 in a copy.

    A recording of a broadcast keeps the time of the sender's clock, and some files begin below zero, where no player
    shows anything: all tracks are moved by the same time. A start above zero in other files is one that somebody has
    set, and stays.

    Args:
        container: open for reading.
        streams: those that are copied.
        start: of the video, in seconds.
    """
    timed = [stream for stream in streams if stream.start_time is not None and not is_cover(stream)]
    starts = [start, *(stream.start_time * stream.time_base for stream in timed)]
    runs = bool(container.format.flags & _DISCONTINUOUS)
    return min(starts) if runs or min(starts) < 0 else Fraction(0)


def timecode(container: Any, video_stream: Any) -> str | None:
    """The time code of the first frame, where the file has one: a camera's stands in a track of its own."""
    for place in (
        video_stream,
        *(stream for stream in container.streams if stream.type == "data"),
        container,
    ):
        for key, value in place.metadata.items():
            if key.lower() == "timecode":
                return str(value)
    return None


def moved_timecode(text: str, frames: int, rate: Fraction) -> str:
    """A time code some frames later; drop-frame ones (``01:00:00;00``) leave out two numbers in nine of ten minutes.

    See SMPTE ST 12-1. One that cannot be read stays as it is.
    """
    match = re.fullmatch(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", text)
    whole = round(rate)
    if match is None or whole < 1:
        return text
    hours, minutes, seconds, number = (int(match[index]) for index in (1, 2, 3, 5))
    drops = match[4] in ";." and whole % 30 == 0
    left_out = whole // 15 if drops else 0
    total_minutes = hours * 60 + minutes
    count = (total_minutes * 60 + seconds) * whole + number
    count += frames - left_out * (total_minutes - total_minutes // 10)
    if drops:
        ten = whole * 600 - 9 * left_out
        tens, rest = divmod(count, ten)
        if rest >= left_out:
            rest += left_out * ((rest - left_out) // (whole * 60 - left_out))
        count = tens * whole * 600 + rest
    seconds, number = divmod(count, whole)
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{match[4]}{number:02}"
