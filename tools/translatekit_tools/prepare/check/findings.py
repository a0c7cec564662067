"""Looking at all items together: sizes, copies, alignment, classes, and what training would take them for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from translatekit.datasets.layouts import listed
from translatekit.datasets.palette import Palette
from translatekit.datasets.remarks import find_remarks
from translatekit_tools.prepare.alignment import REACH, Shift, find_shift
from translatekit_tools.prepare.check.items import Found
from translatekit_tools.prepare.check.look import Looked
from translatekit_tools.prepare.check.report import Finding, Report
from translatekit_tools.prepare.similar import groups, near_pairs

_SMALL = 64  # pixels: shorter sides are too small for most networks
_RARE = 0.001  # of all pixels: a class that is hardly learnt


def check_sizes(looked: list[Looked], report: Report) -> list[Finding]:
    """Pairs of two sizes, and sizes that are too small or unlike the others."""
    findings = []
    sizes = Counter(size for entry in looked for size in set(entry.sizes))
    report.sizes = {_shown(size): count for size, count in sizes.most_common()}
    usual, often = sizes.most_common(1)[0] if sizes else ((0, 0), 0)
    for entry in looked:
        name, size = entry.item[0], entry.sizes[0]
        if len(set(entry.sizes)) > 1:
            both = " and ".join(map(_shown, entry.sizes))
            text = f"{name} and its partner are of two sizes, {both}: resize one"
            findings.append(Finding("error", "pair_sizes", text, entry.item))
        elif min(size) < _SMALL:
            text = f"{name} is {_shown(size)}: networks need {_SMALL} pixels or more to see anything"
            findings.append(Finding("warning", "small", text, entry.item))
        elif size != usual and often > 0.9 * len(looked):
            text = f"{name} is {_shown(size)} and nearly all others {_shown(usual)}: see whether it belongs"
            findings.append(Finding("warning", "size", text, entry.item))
    return findings


def check_copies(looked: list[Looked], near: int) -> list[Finding]:
    """Items that are the same, or nearly so, in one split or across splits."""
    findings = []
    copies = defaultdict(list)
    for entry in looked:
        copies[entry.digest].append(entry)
    for entries in copies.values():
        if len(entries) > 1:
            across = len({entry.split for entry in entries}) > 1
            where = ", in more than one split: remove all but one" if across else ": remove all but one"
            text = f"{_named(entries)} are the same{where}"
            files = tuple(path for entry in entries for path in entry.item)
            findings.append(Finding("error" if across else "warning", "duplicate", text, files))
    firsts = [entries[0] for entries in copies.values()]
    for group in groups(len(firsts), near_pairs([entry.hashes for entry in firsts], near)):
        if len(group) > 1:
            entries = [firsts[number] for number in group]
            across = len({entry.split for entry in entries}) > 1
            text = f"{_named(entries)} look nearly the same" + (
                ", in more than one split: prepare split keeps such together" if across else ""
            )
            files = tuple(path for entry in entries for path in entry.item)
            findings.append(
                Finding("warning", "near_duplicate_across" if across else "near_duplicate", text, files)
            )
    return findings


def check_alignment(looked: list[Looked]) -> list[Finding]:
    """Pairs whose sides show the same at different places."""
    findings = []
    total = np.zeros((2 * REACH + 1, 2 * REACH + 1), np.float64)
    seen: list[tuple[Looked, Shift]] = []
    for entry in looked:
        if entry.misplaced:
            text = f"{entry.item[1]} {entry.misplaced}: cut both from one grid, as prepare tiles does"
            findings.append(Finding("error", "misregistered", text, entry.item))
        elif entry.correlation is not None:
            total += entry.correlation
            seen.append((entry, find_shift(entry.correlation, entry.sizes[0])))
    if not seen:
        return findings
    common = find_shift(total / len(seen), seen[0][0].sizes[0])
    if (
        len(seen) > 5
        and common.there > 1.5 * max(common.here, 0.02)
        and max(abs(common.x), abs(common.y)) > 3
    ):
        text = f"B lies {common} of A throughout, judging by the edges of all pairs: move it back"
        return [*findings, Finding("warning", "shifted", text)]
    for entry, shift in seen:
        if shift.is_off:
            text = (
                f"{entry.item[0]}: B seems to lie {shift} of A (correlation of edges {shift.there:.2f} there, "
                f"{shift.here:.2f} here): look at it"
            )
            findings.append(Finding("warning", "misaligned", text, entry.item))
    return findings


def check_classes(looked: list[Looked], palettes: Sequence[Palette | None], report: Report) -> list[Finding]:
    """Classes that hardly occur."""
    findings = []
    for side, palette in enumerate(palettes):
        if palette is None or not looked:
            continue
        counts = np.sum([c for entry in looked if (c := entry.counts[side]) is not None], axis=0)
        fractions = counts / counts.sum()
        name = "AB"[side] if len(palettes) > 1 else "images"
        report.classes[name] = {
            label: round(float(part), 5) for label, part in zip(palette.names, fractions, strict=True)
        }
        for label, part in zip(palette.names, fractions, strict=True):
            if part < _RARE:
                text = f"class {label!r} of {name} covers {100 * part:.2f}% of all pixels: it will hardly be learnt"
                findings.append(Finding("warning", "rare_class", text))
    return findings


def check_meaning(found: Found) -> list[Finding]:
    """Images that training takes for something else than they are."""
    findings = []
    for split in dict.fromkeys(split for split, _ in found.items):
        for side in zip(*(item for name, item in found.items if name == split), strict=False):
            findings += [Finding("warning", "meaning", text) for text in find_remarks(side)]
    return findings


def _named(entries: Sequence[Looked]) -> str:
    return listed([str(entry.item[0]) for entry in entries])


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
