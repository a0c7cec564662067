"""Pairs from two folders: files that belong together by name, number, order, a pattern, or a list."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from translatekit.datasets.layouts import listed
from translatekit.errors import DataError, OptionError
from translatekit.images import read_picture, resize
from translatekit_tools.prepare.work import (
    Layout,
    Made,
    Output,
    PairLayout,
    Progress,
    Source,
    Summary,
    find_sources,
    resize_nearest,
    to_rgb,
    work_on,
)

By = Literal["name", "number", "order"]
Match = tuple[str, Path, Path]
"""The name of a pair, A and B."""


def make_pairs(
    a: Path,
    b: Path,
    out: Path,
    *,
    by: By = "name",
    strip: Sequence[str] = (),
    pattern: str | None = None,
    table: Path | None = None,
    layout: Layout = "side-by-side",
    split: str = "train",
    format: str = "png",
    resize_b: Literal["no", "bicubic", "nearest"] = "no",
    force: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Match the images of two folders, and write them as an aligned dataset.

    Pairs are called after the file of A; where names are compared, after what they have in common.

    Args:
        a: the folder of A.
        b: the folder of B.
        out: the dataset's folder.
        by: ``name``: equal stems. ``number``: the last number in each stem, so ``frame_012`` goes with ``12-label``.
            ``order``: the first of A with the first of B and so on, sorted as people count, 2 before 10.
        strip: what is taken off the beginning or the end of a stem before it is compared, such as ``_label``.
        pattern: a regular expression, searched in each path below A and B without its suffix; files match whose groups
            (or whose whole match, where it has no group) are equal.
        table: a CSV file whose first two columns name A and B, relative to `a` and `b`; a first row that names no
            file is its heading.
        layout: ``side-by-side`` or ``folders``; in folders, files that need no change are copied as they are.
        split: the subfolder.
        format: of what is encoded.
        resize_b: the filter to give B the size of A where they differ; ``no`` refuses such pairs.
        force: replace what is there.
        progress: is told how far it is.

    Returns:
        Its details: ``pairs``, and ``unmatched``, the files without partner.

    Raises:
        OptionError: two ways to match, or an expression that is none.
        DataError: a folder is missing or empty, nothing matches, or in order they are not equally many.
    """
    ways = [
        flag
        for flag, given in (
            (f"--by {by}", by != "name"),
            ("--strip", bool(strip)),
            ("--pattern", pattern is not None),
            ("--table", table is not None),
        )
        if given
    ]
    if len(ways) > 1:
        raise OptionError(f"{' and '.join(ways)} are different ways to match: pass one of them")
    sides = find_sources(a, out), find_sources(b, out)
    ambiguous: list[tuple[Path, str]] = []
    if table is not None:
        matches = _by_table(table, a, b)
    elif by == "order":
        matches = _by_order(*sides, a, b)
    else:
        key = _key(by, strip, pattern)
        matches, ambiguous = _by_key(
            *sides, key, f"no file of {a} has a partner in {b}", named=by == "name" and not pattern
        )
    paired = {path for _, *files in matches for path in files} | {path for path, _ in ambiguous}
    originals = [source.path for side in sides for source in side]
    unmatched = [path for path in originals if path not in paired]
    pairs = PairLayout(layout, split, f".{format}")

    def make(source: Source) -> Made:
        assert source.partner is not None
        return _make_pair(pairs, source.name, source.path, source.partner, resize_b)

    output = Output(out, [*originals, *paired], force)
    recipe = {"pairs": resize_b, **asdict(pairs)}
    summary = work_on(
        output, [Source(first, name, second) for name, first, second in matches], make, recipe, progress
    )
    summary.failed += ambiguous
    if unmatched:
        files, verb = ("file", "has") if len(unmatched) == 1 else ("files", "have")
        summary.notes.append(
            f"{len(unmatched)} {files} {verb} no partner: {listed([str(path) for path in unmatched])}"
        )
    summary.details = {
        "pairs": len(matches) - len(summary.failed),
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


def _key(by: By, strip: Sequence[str], pattern: str | None) -> Callable[[str], str | None]:
    """From a name to what it is matched by; None for one that has no such thing."""
    if pattern is not None:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise OptionError(
                f"--pattern {pattern!r} is no regular expression ({error}): mend it, such as '(\\d+)_view'"
            ) from None

        def by_pattern(name: str) -> str | None:
            found = expression.search(name)
            return None if found is None else "\0".join(part or "" for part in found.groups() or (found[0],))

        return by_pattern
    if by == "number":

        def by_number(name: str) -> str | None:
            numbers = re.findall(r"\d+", name.rpartition("/")[2])
            return str(int(numbers[-1])) if numbers else None

        return by_number
    return lambda name: stem_key(name, strip)


def _by_key(
    a: list[Source], b: list[Source], key: Callable[[str], str | None], nothing: str, named: bool
) -> tuple[list[Match], list[tuple[Path, str]]]:
    """The pairs whose keys are equal, in the order of A; and the files that share a key, with a sentence each.

    Raises:
        DataError: there are none.
    """
    found: tuple[dict[str, list[Source]], dict[str, list[Source]]] = defaultdict(list), defaultdict(list)
    for side, sources in zip(found, (a, b), strict=True):
        for source in sources:
            value = key(source.name)
            if value is not None:
                side[value].append(source)
    shared = [value for value in found[0] if value in found[1]]
    if not shared:
        examples = " and ".join(repr(source.name) for source in (a[0], b[0]))
        raise DataError(
            f"{nothing}: their names are like {examples}; name what differs with --strip, or match "
            "--by number or order, by a --pattern, or by a --table"
        )
    matches: list[Match] = []
    ambiguous: list[tuple[Path, str]] = []
    for value in shared:
        a_side, b_side = found[0][value], found[1][value]
        if len(a_side) == len(b_side) == 1:
            matches.append((value if named else a_side[0].name, a_side[0].path, b_side[0].path))
            continue
        several = a_side if len(a_side) > 1 else b_side
        reason = (
            f"{listed([str(source.path) for source in several])} would all be one side of a pair: rename or remove "
            "all but one, or match them by a --pattern or a --table"
        )
        ambiguous += [(source.path, reason) for source in several]
    return matches, ambiguous


def _by_order(a: list[Source], b: list[Source], folder_a: Path, folder_b: Path) -> list[Match]:
    if len(a) != len(b):
        raise DataError(
            f"{folder_a} holds {len(a)} images and {folder_b} {len(b)}: in order, they must be equally many; "
            "remove those without partner, or match --by number, a --pattern or a --table"
        )
    ordered = (sorted(side, key=lambda source: _counted(source.name)) for side in (a, b))
    return [(first.name, first.path, second.path) for first, second in zip(*ordered, strict=True)]


def _counted(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people count: 2 before 10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part
    ]


def _by_table(table: Path, a: Path, b: Path) -> list[Match]:
    """The pairs of a CSV file, in its order.

    Raises:
        DataError: it cannot be read, holds no pair, or names a file that is not there or twice.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
        dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t") if text.strip() else csv.excel
        rows = [row for row in csv.reader(text.splitlines(), dialect) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{table} cannot be read as CSV ({reason}): give two columns, A and B") from None
    matches: list[Match] = []
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise DataError(f"line {number} of {table} has one column: give two, A and B")
        files = [folder / cell.strip() for folder, cell in zip((a, b), row, strict=False)]
        missing = [file for file in files if not file.is_file()]
        if missing and number == 1:
            continue  # its heading
        if missing:
            raise DataError(f"line {number} of {table} names {missing[0]}, which is not there: mend the line")
        matches.append((Path(row[0].strip()).with_suffix("").as_posix(), files[0], files[1]))
    if not matches:
        raise DataError(f"{table} names no pair of files in {a} and {b}: give two columns, A and B")
    return matches


def _make_pair(pairs: PairLayout, name: str, a_file: Path, b_file: Path, resize_b: str) -> Made:
    a, b = (to_rgb(read_picture(path, deep=False).pixels) for path in (a_file, b_file))
    fits = a.shape == b.shape
    if not fits and resize_b == "no":
        raise DataError(
            f"it is {a.shape[1]}x{a.shape[0]} and its partner {b_file} is {b.shape[1]}x{b.shape[0]}: "
            "pass --resize-b bicubic (or nearest, for label maps), or mend one"
        )
    if not fits:
        b = resize_nearest(b, a.shape[:2]) if resize_b == "nearest" else resize(b, a.shape[:2])
    return pairs.encode(name, a, b, a_file, b_file if fits else None)
