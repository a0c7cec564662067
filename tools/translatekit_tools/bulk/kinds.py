"""What files are: images, videos, animations, pages; told without loading a decoder of videos."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from translatekit_tools.bulk.addresses import is_sequence

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"),
        *(".3gp", ".3g2", ".ogv", ".mts", ".m2ts", ".vob", ".mxf", ".y4m", ".nut"),
    }
)
"""Suffixes of the files that are read as videos, in lower case, with the dot."""

KEPT_VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Suffixes that an output takes from its input; those of other videos become MP4 where nobody says otherwise."""

CONSTANT_RATE_SUFFIXES = frozenset({".avi", ".mxf", ".mpg", ".mpeg", ".vob", ".y4m", ".raw"})
"""Suffixes of the formats that count frames, and know no other time."""

WRITABLE_VIDEO_SUFFIXES = (
    KEPT_VIDEO_SUFFIXES
    | CONSTANT_RATE_SUFFIXES - {".raw"}
    | {".ts", ".mts", ".m2ts", ".flv", ".wmv", ".3gp", ".nut"}
)
"""Suffixes of the videos that can be written."""

ANIMATION_SUFFIXES = frozenset({".gif", ".webp", ".png", ".apng", ".avif"})
"""Suffixes of images that may be animated, and of those that can be written so."""


STREAMED = ("mkv", "webm", "ts", "nut", "mp4", "mov", "flv", "y4m", "raw")
"""Formats that can be written where nothing can be sought in, as ``--container`` names them."""

RAW_SUFFIXES = frozenset({".y4m", ".raw"})
"""Suffixes of frames as they are, without anything else."""

SERIES_SUFFIX = ".dcm"
"""Of the files in a folder that is a volume."""


def is_animation(path: Path, file: BinaryIO | None = None) -> bool:
    """Whether a file is a GIF, WebP, PNG or AVIF of several frames.

    Args:
        path: of the file.
        file: it, open, where it is none of this machine.
    """
    if path.suffix.lower() not in ANIMATION_SUFFIXES:
        return False
    try:
        with path.open("rb") if file is None else contextlib.nullcontext(file) as opened:
            if not _may_be_animated(opened):
                return False
            from PIL import Image

            opened.seek(0)
            with Image.open(opened) as image:
                return bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise nearly anything on damaged files
        return False  # whoever reads it says what is wrong with it


def _may_be_animated(file: BinaryIO) -> bool:
    """Whether the start of a file leaves it open that there are several frames, which takes no decoder to tell."""
    head = file.read(64)
    if head.startswith(b"\x89PNG"):  # acTL comes before the first IDAT
        place = 8
        while len(chunk := _read_at(file, place, 8)) == 8 and chunk[4:] not in (b"IDAT", b"IEND"):
            if chunk[4:] == b"acTL":
                return True
            place += 12 + int.from_bytes(chunk[:4], "big")
        return False
    if head[4:8] == b"ftyp":
        return b"avis" in head
    if head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and bool(head[20] & 2)
    return True


def _read_at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a file is translated.

    Attributes:
        way: as one image, frame by frame, page by page, or (an image of more than `MAX_PIXELS`) by parts.
        drops_frames: whether it has several frames or pages, of which its output's format holds one.
    """

    way: Literal["image", "video", "pages", "large"]
    drops_frames: bool = False


def kind_of(source: Path, output: Path) -> Kind:
    """What a file is: by its name where that tells, else by its header, which is looked at once.

    Args:
        source: the file, or the folder of a series.
        output: what is written; only its name is looked at.
    """
    from translatekit.images.formats import suffix_of

    given, made = _traits(suffix_of(source)), _traits(suffix_of(output))
    if given.is_video or is_sequence(source):
        return Kind("video")
    moves = given.may_move and is_animation(source)
    if moves and (made.may_move or made.is_written_video):
        return Kind("video")
    pages, is_large = 1, False
    if given.may_hold_pages or made.is_tiff:
        pages, is_large = _pages_and_size(source)
    if not given.may_hold_pages:
        pages = 1
    if pages > 1 and made.may_hold_pages:
        return Kind("pages")
    return Kind("large") if is_large else Kind("image", drops_frames=moves or pages > 1)


def _pages_and_size(source: Path) -> tuple[int, bool]:
    """How many pages there are; and whether it is one image of more than `MAX_PIXELS`, parts of which can be read."""
    from translatekit.errors import TranslatekitError
    from translatekit.images import MAX_PIXELS
    from translatekit.images.formats import open_image

    try:
        with open_image(source) as image:
            header = image.header()
            is_large = image.has_regions and header.pages == 1 and header.height * header.width > MAX_PIXELS
            return header.pages, is_large and source.is_file()
    except TranslatekitError:
        return 1, False  # whoever reads it says what is wrong with it


@dataclass(frozen=True, slots=True)
class _Traits:
    """What the suffix of a file says of it.

    Attributes:
        is_video, is_written_video: whether it is a video, and one that can be written.
        may_move: whether it may be an animation.
        may_hold_pages: whether its format is one of several pages; a folder is a series.
        is_slice: whether it may be a slice of a series, which its folder is then.
        is_tiff: whether it is one that large images are written in.
    """

    is_video: bool
    is_written_video: bool
    may_move: bool
    may_hold_pages: bool
    is_slice: bool
    is_tiff: bool


def _traits(suffix: str) -> _Traits:
    from translatekit.registry import registry

    return _traits_of(registry("format"), suffix)


@lru_cache(maxsize=256)
def _traits_of(known: object, suffix: str) -> _Traits:
    from translatekit.images.formats import format_named, image_suffixes

    spec = format_named(suffix) if suffix in image_suffixes() else None
    return _Traits(
        is_video=suffix in VIDEO_SUFFIXES,
        is_written_video=suffix in WRITABLE_VIDEO_SUFFIXES,
        may_move=suffix in ANIMATION_SUFFIXES,
        may_hold_pages=not suffix or (spec is not None and spec.volumes),
        is_slice=spec is not None and spec.folders,
        is_tiff=suffix in (".tif", ".tiff"),
    )


def may_be_many(path: Path) -> bool:
    """Whether a file, by its name, may hold several frames or pages; a folder is a series."""
    from translatekit.images.formats import suffix_of

    traits = _traits(suffix_of(path))
    return traits.may_move or traits.may_hold_pages


def is_slice(path: Path) -> bool:
    """Whether a file, by its name, may be a slice of a series, which its folder is then."""
    from translatekit.images.formats import suffix_of

    return _traits(suffix_of(path)).is_slice


def volume_suffix(output: Path) -> str:
    """The suffix of the format that a volume is written in; a folder without one is a series."""
    from translatekit.images.formats import suffix_of

    return suffix_of(output) or SERIES_SUFFIX
