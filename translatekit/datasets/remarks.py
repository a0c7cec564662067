"""What images look like that are surely not meant so, and what to do about it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.datasets.layouts import listed
from translatekit.datasets.slices import File, Slice
from translatekit.datasets.stored import Stored
from translatekit.errors import TranslatekitError
from translatekit.images import count_pages, read_levels

_DECODED, _COUNTED = 6, 50  # files that are looked at, spread over the set
_MAX_CLASSES = 200
_FLAT = 0.9  # of neighbours that are equal: a label map's, and hardly a photograph's
_TIFF = frozenset({".tif", ".tiff"})


def find_remarks(files: Sequence[File]) -> list[str]:
    """Sentences about image files that training would take for something else than they are.

    Args:
        files: of one side of a data set; slices of volumes are what they are meant to be.

    Returns:
        One sentence for each kind of problem, with the remedy; mostly none.
    """
    found = []
    chosen = _evenly_spaced(files, _DECODED)
    if any(isinstance(file, Slice) for file in chosen):
        return []
    top = _highest_class(chosen)
    if top is not None:
        found.append(
            f"{chosen[0].parent} seems to hold label maps whose gray levels are class numbers (0 to {top}), and they "
            "are trained on as near-black images: name their side by --labels, or turn them into colours by "
            "translatekit prepare labels"
        )
    if isinstance(chosen[0], Path):
        tiffs = [path for path in files if isinstance(path, Path) and path.suffix.lower() in _TIFF]
        looked_at = _evenly_spaced(tiffs, _COUNTED)
    else:  # to look at more of them would take as long as to read them
        looked_at = [path for path in chosen if path.suffix.lower() in _TIFF]
    several = [path for path in looked_at if _pages(path) > 1]
    if several:
        found.append(
            f"files in {several[0].parent} have several pages ({listed([path.name for path in several])}), of which "
            "training takes the first: save each page as a file to train on all"
        )
    return found


def _evenly_spaced(files: Sequence[Any], count: int) -> list[Any]:
    places = np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)
    return [files[place] for place in places]


def _pages(path: Path | Stored) -> int:
    with contextlib.suppress(TranslatekitError):
        return count_pages(path)
    return 0  # whoever reads it says what is wrong with it


def _highest_class(files: Sequence[Path | Stored]) -> int | None:
    """The highest number in images of class numbers; None where they are something else.

    Class numbers are small, dense and in flat regions; 255 often stands for none of them.
    """
    seen: set[int] = set()
    equal = pairs = 0
    is_varied = False  # an empty slice of one value says nothing
    for path in files:
        try:
            pixels = read_levels(path).pixels
        except TranslatekitError:
            continue
        if pixels.shape[2] != 1:
            return None
        white = 255 if pixels.dtype == np.uint8 else 65535
        values = pixels[:, :, 0].astype(np.int64) if white == 255 else np.rint(pixels[:, :, 0] * white)
        found = np.unique(values)
        is_varied |= len(found) > 1
        seen |= {int(value) for value in found} - {white}
        if max(seen, default=0) > _MAX_CLASSES:
            return None
        across, down = np.diff(values, axis=1) == 0, np.diff(values, axis=0) == 0
        equal += int(across.sum() + down.sum())
        pairs += across.size + down.size
    top = max(seen, default=0)
    is_labels = is_varied and top > 0 and len(seen) * 4 >= top and equal >= _FLAT * max(pairs, 1)
    return top if is_labels else None
