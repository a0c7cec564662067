"""Pairs from two folders: files that belong together by name, number, order, a pattern, or a list."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from translatekit.datasets.layouts import listed
from translatekit.errors import DataError, OptionError
from translatekit.images import read_levels, resize
from translatekit_tools.prepare.layout import PairLayout, resize_nearest, to_rgb
from translatekit_tools.prepare.matching import by_key, by_order, by_table, key_of
from translatekit_tools.prepare.options import PairsOptions
from translatekit_tools.prepare.output import Made, Output
from translatekit_tools.prepare.work import Progress, Source, Summary, find_sources, work_on


def make_pairs(
    a: Path,
    b: Path,
    out: Path,
    options: PairsOptions,
    progress: Progress | None = None,
) -> Summary:
    """Match the images of two folders, and write them as an aligned dataset.

    Pairs are called after the file of A; where names are compared, after what they have in common.

    Args:
        a: the folder of A.
        b: the folder of B.
        out: the dataset's folder.
        options: how files are matched (see below), and what is written. Where ``resize_b`` is ``no``, pairs of two
            sizes are refused; in folders, files that need no change are copied as they are.
        progress: is told how far it is.

    Files are matched ``by`` ``name``: equal stems, without what ``strip`` takes off their beginning or end; by
    ``number``: the last number in each stem, so ``frame_012`` goes with ``12-label``; by ``order``: the first of A with
    the first of B and so on, sorted as people count, 2 before 10. Or they match whose groups of the ``pattern``, a
    regular expression that is searched in each path below A and B without its suffix, are equal (or whose whole match,
    where it has no group). Or a ``table`` names them: a CSV file whose first two columns are A and B, relative to `a`
    and `b`; a first row that names no file is its heading.

    Returns:
        Its details: ``pairs``, and ``unmatched``, the files without partner.

    Raises:
        OptionError: two ways to match, or an expression that is none.
        DataError: a folder is missing or empty, nothing matches, or in order they are not equally many.
    """
    by, strip, pattern, table = options.by, options.strip, options.pattern, options.table
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
        matches = by_table(table, a, b)
    elif by == "order":
        matches = by_order(*sides, a, b)
    else:
        key = key_of(by, strip, pattern)
        matches, ambiguous = by_key(
            *sides, key, f"no file of {a} has a partner in {b}", named=by == "name" and not pattern
        )
    paired = {path for _, *files in matches for path in files} | {path for path, _ in ambiguous}
    originals = [source.path for side in sides for source in side]
    unmatched = [path for path in originals if path not in paired]
    pairs = PairLayout.of(options)

    def make(source: Source) -> Made:
        assert source.partner is not None
        return _make_pair(pairs, source.name, source.path, source.partner, options.resize_b)

    output = Output(out, [*originals, *paired], options.force)
    recipe = {"pairs": options.resize_b, **asdict(pairs)}
    summary = work_on(
        output, [Source(first, name, second) for name, first, second in matches], make, recipe, progress
    )
    made = len(matches) - len(summary.failed)
    summary.failed += ambiguous
    if unmatched:
        files, verb = ("file", "has") if len(unmatched) == 1 else ("files", "have")
        summary.notes.append(
            f"{len(unmatched)} {files} {verb} no partner: {listed([str(path) for path in unmatched])}"
        )
    summary.details = {
        "pairs": made,
        "unmatched": [str(path) for path in unmatched],
    }
    return summary


def _make_pair(pairs: PairLayout, name: str, a_file: Path, b_file: Path, resize_b: str) -> Made:
    a, b = (to_rgb(read_levels(path, deep=pairs.deep).pixels) for path in (a_file, b_file))
    fits = a.shape == b.shape
    if not fits and resize_b == "no":
        raise DataError(
            f"it is {a.shape[1]}x{a.shape[0]} and its partner {b_file} is {b.shape[1]}x{b.shape[0]}: "
            "pass --resize-b bicubic (or nearest, for label maps), or mend one"
        )
    if not fits:
        b = resize_nearest(b, a.shape[:2]) if resize_b == "nearest" else resize(b, a.shape[:2])
    return pairs.encode(name, a, b, a_file, b_file if fits else None)
