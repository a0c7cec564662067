"""A video in parts, which are made by several workers, and joined by one."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.storage import Item
from translatekit_tools.bulk.encoding import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A frame of a video, and from where it can be decoded.

    Attributes:
        number: of the frame in the video, counted from 0.
        pts: its time stamp, in ticks.
        before: that of the frame before; None of the first.
        kept: how many frames before it the user wants.
        keys: time stamps of the key frames at or before it, the nearest first; those further away are tried where a
            file says that a frame is a key frame and it is none.
    """

    number: int
    pts: int
    before: int | None
    kept: int
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some segments of a video, one after the other.

    Attributes:
        split: of which video.
        segment: the number of the first.
        place: of its first frame.
        frames: how many it has, in all of its segments.
        lasts: the time stamp of the last frame of each segment, in ticks.
    """

    split: Split
    segment: int
    place: Place
    frames: int
    lasts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What the workers that share a video must know alike.

    Attributes:
        item: the video.
        output: the name of its output.
        input_hash: of the video's bytes.
        folder: that the segments are in until they are joined, below the place of the output.
        encoding: of the frames.
        libraries: that encode them, with their versions.
        segments: how many there are.
        frames: in all of them.
        last: where the last segment begins.
    """

    item: Item
    output: str
    input_hash: str
    folder: str
    encoding: Encoding
    libraries: str
    segments: int
    frames: int
    last: Place

    def name(self, segment: int) -> str:
        """Of a segment, below the place of the output."""
        return f"{self.folder}/{segment:06d}.segment"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is to be done of a video that is split: those of its parts that no earlier run has made."""

    split: Split
    missing: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a part.

    Attributes:
        part: it.
        reason: one sentence, where it could not be made.
        is_misplaced: whether that is because its frames are not where the file says: the video can only be translated
            from its beginning.
        remarks: what the user should know.
    """

    part: Part
    reason: str = ""
    is_misplaced: bool = False
    remarks: tuple[str, ...] = ()
