"""How images lie in files and folders: pairs as training reads them, and the formats they are written in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translatekit.errors import OptionError
from translatekit.images import encode_image, image_of, writable_suffixes
from translatekit_tools.prepare.options import DatasetOptions, FormatOrKeep, Layout, PairsOptions
from translatekit_tools.prepare.output import Made, read_bytes


def encoded(relative: str, pixels: np.ndarray, quality: int = 95) -> Made:
    """An image in the format that its path ends in."""
    return {relative: encode_image(image_of(pixels), Path(relative).suffix, quality=quality)}


@dataclass(frozen=True, slots=True)
class PairLayout:
    """How images that belong together lie, as `translatekit.datasets.aligned.Aligned` reads them.

    Attributes:
        layout: A and B in the halves of one file; in folders A and B; or A alone.
        split: the subfolder, such as ``train``; none where it is empty.
        suffix: of what is encoded, with the dot.
    """

    layout: Layout
    split: str
    suffix: str

    @classmethod
    def of(cls, options: DatasetOptions | PairsOptions) -> PairLayout:
        """As a command's options say."""
        return cls(options.layout, options.split, f".{options.format}")

    def __post_init__(self) -> None:
        check_name(self.split)

    @property
    def deep(self) -> bool:
        """Whether what is encoded can have 16 bits a channel."""
        return self.suffix == ".png"

    def encode(
        self,
        name: str,
        a: np.ndarray,
        b: np.ndarray,
        a_file: Path | None = None,
        b_file: Path | None = None,
    ) -> Made:
        """The files of a pair.

        Args:
            name: without a suffix.
            a: (H, W, C) uint8, or float32 in [0, 1] where it is to have 16 bits.
            b: the same; where one side has 16 bits, a file of both has.
            a_file: a file that holds just `a`, to be copied where A and B are not joined.
            b_file: the same of `b`.
        """
        folder = f"{self.split}/" if self.split else ""
        if self.layout == "side-by-side":
            sides = [to_rgb(a), to_rgb(b)]
            if a.dtype != b.dtype:
                sides = [side / np.float32(255) if side.dtype == np.uint8 else side for side in sides]
            pair = np.concatenate(sides, axis=1)
            return encoded(f"{folder}{name}{self.suffix}", pair)
        if self.layout == "single":
            return encoded(f"{folder}{name}{self.suffix}", a)
        made: Made = {}
        for side, pixels, file in (("A", a, a_file), ("B", b, b_file)):
            place = f"{folder}{side}/{name}"
            made |= (
                {f"{place}{file.suffix}": read_bytes(file)}
                if file
                else encoded(f"{place}{self.suffix}", pixels)
            )
        return made


def suffix_for(path: Path, format: FormatOrKeep) -> str:
    """The suffix of the output of a file; formats that cannot be written become PNG."""
    if format != "keep":
        return f".{format}"
    return path.suffix if path.suffix.lower() in writable_suffixes() else ".png"


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) of (H, W, 1) or (H, W, 3)."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def resize_nearest(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to a height and width without mixing colours, as label maps need it."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, pixels.shape[:2], strict=True)
    )
    return pixels[rows[:, None], columns]


def check_name(split: str) -> None:
    """Refuse a split's name that is not one folder's.

    Raises:
        OptionError: it has parts, or is hidden.
    """
    if split.startswith(".") or "/" in split or "\\" in split:
        raise OptionError(f"--split must be the name of a folder, such as train, not {split!r}")
