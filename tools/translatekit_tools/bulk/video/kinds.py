"""Which files move, told without loading a decoder of videos."""

from __future__ import annotations

from pathlib import Path

from translatekit_tools.bulk.video.addresses import is_sequence

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

ANIMATION_SUFFIXES = frozenset({".gif", ".webp"})
"""Suffixes of images that may move, and of those that can be written moving."""


STREAMED = ("mkv", "webm", "ts", "nut", "mp4", "mov", "flv", "y4m", "raw")
"""Formats that can be written where nothing can be sought in, as ``--container`` names them."""

RAW_SUFFIXES = frozenset({".y4m", ".raw"})
"""Suffixes of frames as they are, without anything else."""


def is_animation(path: Path) -> bool:
    """Whether a file is a GIF or WebP of several frames."""
    if path.suffix.lower() not in ANIMATION_SUFFIXES:
        return False
    from PIL import Image

    try:
        with Image.open(path) as image:
            return bool(getattr(image, "is_animated", False))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False  # whoever reads it says what is wrong with it


def moves(source: Path, output: Path) -> bool:
    """Whether a file is translated frame by frame, and not as one picture."""
    if source.suffix.lower() in VIDEO_SUFFIXES or is_sequence(source):
        return True
    written = output.suffix.lower() in ANIMATION_SUFFIXES | WRITABLE_VIDEO_SUFFIXES
    return written and is_animation(source)
