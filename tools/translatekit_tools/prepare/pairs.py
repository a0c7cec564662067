"""Pairs from two folders whose files belong together by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from translatekit.datasets.layouts import listed
from translatekit.errors import DataError
from translatekit.images import read_picture, resize
from translatekit_tools.prepare.work import (
    Layout,
    Output,
    PairWriter,
    Progress,
    Source,
    Summary,
    find_sources,
    resize_nearest,
    to_rgb,
    work_on,
)


def make_pairs(
    a: Path,
    b: Path,
    out: Path,
    *,
    strip: Sequence[str] = (),
    layout: Layout = "side-by-side",
    split: str = "train",
    format: str = "png",
    resize_b: Literal["no", "bicubic", "nearest"] = "no",
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Match the images of two folders by their names, and write them as an aligned dataset.

    Args:
        a: the folder of A.
        b: the folder of B.
        out: the dataset's folder.
        strip: what is taken off the beginning or the end of a stem before it is compared, such as ``_label``.
        layout: ``side-by-side`` or ``folders``; in folders, files that need no change are copied as they are.
        split: the subfolder.
        format: of what is encoded.
        resize_b: the filter to give B the size of A where they differ; ``no`` refuses such pairs.
        force: replace what is there.
        progress: is told how far it is.

    Returns:
        Its details: ``pairs``, and ``unmatched``, the files without partner.

    Raises:
        DataError: a folder is missing or empty, or nothing matches.
    """
    sides = [_by_key(find_sources(folder, out), strip) for folder in (a, b)]
    keys = sorted(sides[0].keys() & sides[1].keys())
    if not keys:
        examples = " and ".join(repr(min(side)) for side in sides)
        raise DataError(
            f"no file of {a} has a partner in {b}: their names are like {examples}; "
            "name the part that differs with --strip"
        )
    unmatched = [
        source.path
        for side, other in (sides, sides[::-1])
        for key in sorted(side.keys() - other.keys())
        for source in side[key]
    ]
    originals = [source.path for side in sides for sources in side.values() for source in sources]
    writer = PairWriter(Output(out, originals, force), layout, split, f".{format}")

    def write(source: Source) -> list[Path]:
        first, second = sides[0][source.name], sides[1][source.name]
        if len(first) > 1 or len(second) > 1:
            several = first if len(first) > 1 else second
            raise DataError(
                f"{listed([str(item.path) for item in several])} would all be {source.name!r}: "
                "rename or remove all but one"
            )
        return _write_pair(writer, source.name, first[0].path, second[0].path, resize_b)

    summary = work_on([Source(sides[0][key][0].path, key) for key in keys], write, progress)
    if unmatched:
        verb = "has" if len(unmatched) == 1 else "have"
        summary.notes.append(
            f"{len(unmatched)} files {verb} no partner: {listed([str(p) for p in unmatched])}"
        )
    summary.details = {
        "pairs": len(keys) - len(summary.failed),
        "unmatched": [str(path) for path in unmatched],
    }
    return summary


def stem_key(name: str, strip: Sequence[str]) -> str:
    """A name by which files are matched: without each of `strip` at its beginning or end."""
    folder, _, stem = name.rpartition("/")
    for part in strip:
        if stem != part:  # something must be left
            stem = stem.removesuffix(part)
            stem = stem.removeprefix(part) or stem
    return f"{folder}/{stem}" if folder else stem


def _by_key(sources: list[Source], strip: Sequence[str]) -> dict[str, list[Source]]:
    found = defaultdict(list)
    for source in sources:
        found[stem_key(source.name, strip)].append(source)
    return dict(found)


def _write_pair(writer: PairWriter, name: str, a_file: Path, b_file: Path, resize_b: str) -> list[Path]:
    a, b = (to_rgb(read_picture(path, deep=False).pixels) for path in (a_file, b_file))
    fits = a.shape == b.shape
    if not fits and resize_b == "no":
        raise DataError(
            f"it is {a.shape[1]}x{a.shape[0]} and its partner {b_file} is {b.shape[1]}x{b.shape[0]}: "
            "pass --resize-b bicubic (or nearest, for label maps), or mend one"
        )
    if not fits:
        b = resize_nearest(b, a.shape[:2]) if resize_b == "nearest" else resize(b, a.shape[:2])
    return writer.write(name, a, b, a_file, b_file if fits else None)
