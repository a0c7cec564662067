"""Which files are videos, animations and multi-page images, told without loading a decoder of videos."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import BinaryIO

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


def is_multipage(source: Path, output: Path) -> bool:
    """Whether a file (or the folder of a series) holds several pages or slices, and its output can."""
    return may_hold_pages(source) and may_hold_pages(output) and has_several_frames(source)


def has_several_frames(source: Path) -> bool:
    """Whether an image file has several frames, pages or slices."""
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return False
    if not may_hold_pages(source):
        return is_animation(source)
    from translatekit.errors import TranslatekitError
    from translatekit.images import count_pages

    try:
        return count_pages(source) > 1
    except TranslatekitError:
        return False  # whoever reads it says what is wrong with it


def may_hold_pages(path: Path) -> bool:
    """Whether the format of a file, by its name, is one of several pages; a folder is a series."""
    from translatekit.images.formats import format_named, image_suffixes, suffix_of

    suffix = suffix_of(path)
    return not suffix or (suffix in image_suffixes() and format_named(suffix).volumes)


def is_slice(path: Path) -> bool:
    """Whether a file, by its name, may be a slice of a series, which its folder is then."""
    from translatekit.images.formats import format_named, image_suffixes, suffix_of

    suffix = suffix_of(path)
    return suffix in image_suffixes() and format_named(suffix).folders


def volume_suffix(output: Path) -> str:
    """The suffix of the format that a volume is written in; a folder without one is a series."""
    from translatekit.images.formats import suffix_of

    return suffix_of(output) or SERIES_SUFFIX


def is_video(source: Path, output: Path) -> bool:
    """Whether a file is translated frame by frame, and not as one image."""
    if source.suffix.lower() in VIDEO_SUFFIXES or is_sequence(source):
        return True
    written = output.suffix.lower() in ANIMATION_SUFFIXES | WRITABLE_VIDEO_SUFFIXES
    return written and is_animation(source)
