"""Which files of two folders belong together: by name, number, order, a pattern, or a list."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from translatekit.datasets.layouts import listed
from translatekit.errors import DataError, OptionError
from translatekit_tools.prepare.options import By
from translatekit_tools.prepare.work import Source

Match = tuple[str, Path, Path]
"""The name of a pair, A and B."""


def stem_key(name: str, strip: Sequence[str]) -> str:
    """A name by which files are matched: without each of `strip` at its beginning or end."""
    folder, _, stem = name.rpartition("/")
    for part in strip:
        if stem != part:  # something must be left
            stem = stem.removesuffix(part)
            stem = stem.removeprefix(part) or stem
    return f"{folder}/{stem}" if folder else stem


def key_of(by: By, strip: Sequence[str], pattern: str | None) -> Callable[[str], str | None]:
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


def by_key(
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


def by_order(a: list[Source], b: list[Source], folder_a: Path, folder_b: Path) -> list[Match]:
    """The first of A with the first of B and so on, sorted as people count.

    Raises:
        DataError: they are not equally many.
    """
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
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part
    ]


def by_table(table: Path, a: Path, b: Path) -> list[Match]:
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
        if number == 1 and len(missing) == len(files):
            continue  # its heading
        if missing:
            raise DataError(f"line {number} of {table} names {missing[0]}, which is not there: mend the line")
        matches.append((Path(row[0].strip()).with_suffix("").as_posix(), files[0], files[1]))
    if not matches:
        raise DataError(f"{table} names no pair of files in {a} and {b}: give two columns, A and B")
    return matches
