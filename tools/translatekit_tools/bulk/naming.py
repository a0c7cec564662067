"""What outputs are called, by the names of their inputs wherever these tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from translatekit.images import image_suffixes, suffix_of, writable_suffixes
from translatekit.images.formats import format_named
from translatekit_tools.bulk.kinds import ANIMATION_SUFFIXES, KEPT_VIDEO_SUFFIXES, VIDEO_SUFFIXES, is_slice
from translatekit_tools.bulk.options import SUFFIXES, RunOptions

DEFAULT_SUFFIX = "-translated"
"""Added to the name of an output, or of an output folder, that lands beside its input."""


NO_IMAGES = frozenset(
    {
        *(
            ".aae",
            ".bak",
            ".cfg",
            ".csv",
            ".css",
            ".db",
            ".html",
            ".ini",
            ".json",
            ".jsonl",
            ".js",
            ".log",
            ".md",
        ),
        *(
            ".md5",
            ".onnx",
            ".bin",
            ".pickle",
            ".pp3",
            ".py",
            ".rst",
            ".safetensors",
            ".sh",
            ".sha256",
            ".srt",
        ),
        *(".thm", ".tmp", ".toml", ".tsv", ".txt", ".url", ".vtt", ".xml", ".xmp", ".yaml", ".yml"),
    }
)
"""Suffixes of what lies beside images and is none: notes, side-cars, an image viewer's own files."""


_MOST_KINDS = 1000  # that are remembered: what nothing reads may end in anything


@dataclass(frozen=True, slots=True)
class NameKind:
    """What is known of all names that end alike.

    Attributes:
        is_readable: whether they are images or videos.
        is_slice: whether they may be slices of a series.
        still, moving: what the names of outputs end in, of one frame and of an animation.
    """

    is_readable: bool
    is_slice: bool
    still: str
    moving: str


class Names:
    """What outputs are called; made for a million names.

    Args:
        options: say what is added to names, and which formats are written.
    """

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._readable = image_suffixes() | VIDEO_SUFFIXES
        self._double = tuple(suffix for suffix in self._readable if suffix.count(".") > 1)
        self._kinds: dict[str, NameKind] = {}

    def suffix(self, name: str) -> str:
        """The suffix of a name with forward slashes, with the letters that it has: ``.nii.gz`` is one."""
        base = name[name.rfind("/") + 1 :]
        if self._double and base.lower().endswith(self._double):
            return base[-len(suffix_of(base)) :]
        at = base.rfind(".")
        return base[at:] if 0 < at < len(base) - 1 else ""

    def kind(self, suffix: str) -> NameKind:
        """What is known of names with a suffix."""
        if (found := self._kinds.get(suffix)) is not None:
            return found
        still, moving = (output_suffix(suffix, self._options, moves) for moves in (False, True))
        if suffix.lower() not in ANIMATION_SUFFIXES:
            moving = still
        kind = NameKind(suffix.lower() in self._readable, is_slice(Path(f"x{suffix}")), still, moving)
        if len(self._kinds) < _MOST_KINDS:
            self._kinds[suffix] = kind
        return kind

    def output(self, name: str, moves: Callable[[], bool], default_suffix: str = "") -> str:
        """The name of the output of a file, below the place that it goes to.

        Args:
            name: of the file, below the place that is mirrored.
            moves: whether the file is an animation; asked where the name does not tell.
            default_suffix: added to the name where the options say none.
        """
        suffix = self.suffix(name)
        kind = self.kind(suffix)
        made = kind.moving if kind.still != kind.moving and moves() else kind.still
        return name[: len(name) - len(suffix)] + (self._options.suffix or default_suffix) + made

    def output_of_frames(self, name: str, default_suffix: str = "") -> str:
        """The name of the video that numbered images become."""
        stem = name[: len(name) - len(self.suffix(name))]
        return stem + (self._options.suffix or default_suffix) + f".{self._options.container or 'mp4'}"

    def output_of_folder(self, name: str, default_suffix: str = "") -> str:
        """The name of the output of a series: a folder like it, or a file of a format."""
        made = "" if self._options.format == "keep" else SUFFIXES[self._options.format]
        return name + (self._options.suffix or default_suffix) + made


def output_suffix(suffix: str, options: RunOptions, moves: bool) -> str:
    """The suffix of a file's translation.

    Args:
        suffix: of the file, with the letters that it has.
        options: say what format is wanted.
        moves: whether it is an animation.
    """
    lower = suffix.lower()
    if lower in VIDEO_SUFFIXES:
        if options.container is not None:
            return f".{options.container}"
        return suffix if lower in KEPT_VIDEO_SUFFIXES else ".mp4"
    if lower not in image_suffixes():
        return f".{options.container or 'mp4'}"
    if options.format != "keep":
        return SUFFIXES[options.format]
    return suffix if moves or _holds_any_image(lower) else ".png"


def _holds_any_image(suffix: str) -> bool:
    """Whether files of a suffix are written, be they gray or RGB: which of them a model gives is not known yet."""
    return suffix in writable_suffixes() and {1, 3} <= set(format_named(suffix).channels or (1, 3))
