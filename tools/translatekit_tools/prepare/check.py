"""What a careful person looks at before training: the files, the pairs, the classes, and a sheet of all of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from translatekit.datasets.layouts import find_images, listed, looks_side_by_side, no_images
from translatekit.datasets.palette import PALETTE_FILE, learn_palette, read_palette
from translatekit.datasets.remarks import find_remarks
from translatekit.errors import DataError
from translatekit.images import Picture, encode_picture, read_picture, resize
from translatekit.storage import write_atomically
from translatekit_tools.palette import Palette
from translatekit_tools.prepare.alignment import REACH, Shift, correlation, find_shift
from translatekit_tools.prepare.similar import NEAR, groups, near_pairs, perceptual_hash
from translatekit_tools.prepare.work import Output, Progress, attempt_all, read_bytes, to_rgb

Kind = Literal["auto", "pairs", "single", "unpaired"]
Item = tuple[Path, ...]

_SPLITS = ("train", "val", "test")
_SMALL = 64  # pixels: shorter sides are too small for most networks
_RARE = 0.001  # of all pixels: a class that is hardly learnt
_THUMBNAIL = 160  # pixels of a side
_COLUMNS, _ROWS = 6, 6  # of the contact sheet
_PALETTE_IMAGES = 24


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or looks so.

    Attributes:
        level: ``error``, or ``warning`` where only a person can tell.
        kind: a word for programs.
        text: one sentence.
        files: that it is about.
    """

    level: Literal["error", "warning"]
    kind: str
    text: str
    files: tuple[Path, ...] = ()


@dataclass(slots=True, kw_only=True)
class Report:
    """What a check has found.

    Attributes:
        kind: what the items were taken for.
        counts: items by split.
        sizes: how often each "WIDTHxHEIGHT" occurs, the most frequent first.
        classes: by side, each class's fraction of all pixels, where that side holds label maps.
        findings: the errors first.
        sheet: the contact sheet, if one was written.
    """

    kind: str
    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    sheet: Path | None = None

    @property
    def errors(self) -> list[Finding]:
        """Those of level ``error``."""
        return [finding for finding in self.findings if finding.level == "error"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        findings = [
            {"level": item.level, "kind": item.kind, "text": item.text, "files": list(map(str, item.files))}
            for item in self.findings
        ]
        return {
            "kind": self.kind,
            "counts": self.counts,
            "sizes": self.sizes,
            "classes": self.classes,
            "findings": findings,
            "sheet": str(self.sheet) if self.sheet else None,
        }


@dataclass(slots=True)
class _Looked:
    """What is kept of an item: nothing as large as its images."""

    split: str
    item: Item
    digest: bytes
    hashes: list[int]
    sizes: list[tuple[int, int]]
    correlation: np.ndarray | None
    counts: list[np.ndarray | None]
    thumbnail: np.ndarray


def check_data(
    data: Path,
    *,
    kind: Kind = "auto",
    near: int = NEAR,
    sheet: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Look at every image of a dataset.

    Errors are unreadable files, files without partner, pairs of two sizes, and images that are in two splits. Warnings
    are near-duplicates, sizes unlike the others', images that are small, pairs that do not align, rare classes, and
    what training says of images that it would take for something else than they are.

    Args:
        data: a folder as the datasets read it.
        kind: ``pairs`` (side by side, or in folders A and B), ``unpaired`` folders A and B, or ``single`` images;
            ``auto`` looks at folders and shapes.
        near: bits of 64 in which the perceptual hashes of near-duplicates differ at most; -1 to look for none.
        sheet: an image file for the contact sheet.
        force: replace the sheet.
        progress: is told how far it is.

    Raises:
        DataError: no images, or a sheet that may not be written.
    """
    data = data.expanduser()
    if not data.is_dir():
        raise DataError(f"there is no folder {data}: check the path")
    found, findings = _find(data, kind)
    halves = found.kind == "pairs" and not found.folders
    originals = [path for _, item in found.items for path in item]
    output = Output(sheet.parent, originals, force) if sheet is not None else None
    if output is not None and sheet is not None:
        output.check(sheet)
    palettes = _palettes(data, found, halves)

    def look(entry: tuple[str, Item]) -> _Looked:
        return _look(*entry, halves=halves, pairs=found.kind == "pairs", palettes=palettes)

    looked: list[_Looked] = []
    for (_, item), result, reason in attempt_all(found.items, look, progress):
        if result is None:
            findings.append(Finding("error", "unreadable", reason, item))
        else:
            looked.append(result)
    report = Report(kind=found.kind, findings=findings)
    report.counts = dict(Counter(split for split, _ in found.items))
    findings += _check_sizes(looked, report)
    findings += _check_copies(looked, near)
    if found.kind == "pairs":
        findings += _check_alignment(looked)
    findings += _check_classes(looked, palettes, report)
    findings += _check_meaning(found)
    findings.sort(key=lambda finding: finding.level)
    if output is not None and sheet is not None:
        write_atomically(sheet, encode_picture(Picture(_contact_sheet(looked, findings)), sheet.suffix))
        report.sheet = sheet
    return report


# Finding the items


@dataclass(slots=True)
class _Found:
    kind: str
    folders: bool  # whether the sides lie in folders of their own
    items: list[tuple[str, Item]]


def _find(data: Path, kind: Kind) -> tuple[_Found, list[Finding]]:
    sides: dict[str, tuple[Path, Path]] = {}
    singles: dict[str, list[Path]] = {}
    for split in _SPLITS:
        pair = _sides(data, split)
        if pair is not None:
            sides[split] = pair
        elif (data / split).is_dir():
            singles[split] = find_images(data / split)
    if not sides and not singles:
        singles["train"] = find_images(data)
    if sides and kind != "single":
        return _find_sides(sides, kind)
    if kind == "unpaired":
        raise DataError(f"{data} has no folders A and B, or trainA and trainB: put the two sets there")
    if sides:
        singles = {split: [*find_images(a), *find_images(b)] for split, (a, b) in sides.items()}
    items: list[tuple[str, Item]] = [(split, (path,)) for split, files in singles.items() for path in files]
    if not items:
        raise no_images(data, "the images there")
    if kind == "auto":
        kind = "pairs" if looks_side_by_side([item[0] for _, item in items]) else "single"
    return _Found(kind, False, items), []


def _find_sides(sides: dict[str, tuple[Path, Path]], kind: Kind) -> tuple[_Found, list[Finding]]:
    by_name = {
        split: [
            {path.relative_to(folder).with_suffix(""): path for path in find_images(folder)}
            for folder in pair
        ]
        for split, pair in sides.items()
    }
    if not any(files for pair in by_name.values() for files in pair):
        raise no_images(next(iter(sides.values()))[0], "the images there")
    shared = sum(len(a.keys() & b.keys()) for a, b in by_name.values())
    total = sum(len(a.keys() | b.keys()) for a, b in by_name.values())
    if kind == "auto":
        kind = "pairs" if shared > total / 2 else "unpaired"
    if kind == "unpaired":
        return (
            _Found(
                kind,
                True,
                [
                    (split, (path,))
                    for split, pair in by_name.items()
                    for files in pair
                    for _, path in sorted(files.items())
                ],
            ),
            [],
        )
    findings = []
    for a, b in by_name.values():
        lonely = [
            side[name] for side, other in ((a, b), (b, a)) for name in sorted(side.keys() - other.keys())
        ]
        findings += [
            Finding("error", "no_partner", f"{path} has no partner: add it, or remove the file", (path,))
            for path in lonely
        ]
    items: list[tuple[str, Item]] = [
        (split, (a[name], b[name]))
        for split, (a, b) in by_name.items()
        for name in sorted(a.keys() & b.keys())
    ]
    return _Found(kind, True, items), findings


def _sides(data: Path, split: str) -> tuple[Path, Path] | None:
    places = [
        (data / f"{split}A", data / f"{split}B"),
        (data / split / "A", data / split / "B"),
        (data / "A" / split, data / "B" / split),
    ]
    if split == "train":
        places.append((data / "A", data / "B"))
    return next(((a, b) for a, b in places if a.is_dir() and b.is_dir()), None)


# Looking at one item


def _images_of(item: Item, halves: bool) -> list[np.ndarray]:
    images = [to_rgb(read_picture(path, deep=False).pixels) for path in item]
    if not halves:
        return images
    width = images[0].shape[1] // 2
    if not width:
        raise DataError(f"{item[0]} is 1 pixel wide and cannot hold two halves: replace or remove it")
    return [images[0][:, :width], images[0][:, -width:]]


def _look(split: str, item: Item, halves: bool, pairs: bool, palettes: Sequence[Palette | None]) -> _Looked:
    digest = blake2b(digest_size=16)
    for path in item:
        digest.update(blake2b(read_bytes(path)).digest())
    images = _images_of(item, halves)
    aligned = pairs and images[0].shape == images[1].shape
    counts = [
        None
        if palette is None
        else np.bincount(palette.nearest(image).ravel(), minlength=len(palette.colors))
        for image, palette in zip(images, palettes, strict=False)
    ]
    thumbnails = [resize(image, (_THUMBNAIL, _THUMBNAIL)) for image in images]
    return _Looked(
        split=split,
        item=item,
        digest=digest.digest(),
        hashes=[perceptual_hash(image) for image in images],
        sizes=[image.shape[:2] for image in images],
        correlation=correlation(*images) if aligned else None,
        counts=counts,
        thumbnail=np.concatenate(thumbnails, axis=1),
    )


def _palettes(data: Path, found: _Found, halves: bool) -> list[Palette | None]:
    """The palette of each side that holds label maps, from its own file or learned from some of the images."""
    given = Palette.of(read_palette(data / PALETTE_FILE)) if (data / PALETTE_FILE).is_file() else None
    if found.kind == "unpaired":
        return [None]  # nobody paints from these
    chosen = np.unique(np.linspace(0, len(found.items) - 1, _PALETTE_IMAGES).astype(int))
    some = [
        images
        for _, images, _ in attempt_all(
            [found.items[number][1] for number in chosen], lambda item: _images_of(item, halves)
        )
        if images is not None
    ]
    palettes: list[Palette | None] = []
    for side in zip(*some, strict=True):
        learned = learn_palette(side)
        palettes.append(None if learned is None else given or Palette.of(learned))
    return palettes


# Looking at all of them


def _check_sizes(looked: list[_Looked], report: Report) -> list[Finding]:
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


def _check_copies(looked: list[_Looked], near: int) -> list[Finding]:
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


def _check_alignment(looked: list[_Looked]) -> list[Finding]:
    findings = []
    total = np.zeros((2 * REACH + 1, 2 * REACH + 1), np.float64)
    seen: list[tuple[_Looked, Shift]] = []
    for entry in looked:
        if entry.correlation is not None:
            total += entry.correlation
            seen.append((entry, find_shift(entry.correlation, entry.sizes[0])))
    if not seen:
        return []
    common = find_shift(total / len(seen), seen[0][0].sizes[0])
    if (
        len(seen) > 5
        and common.there > 1.5 * max(common.here, 0.02)
        and max(abs(common.x), abs(common.y)) > 3
    ):
        text = f"B lies {common} of A throughout, judging by the edges of all pairs: move it back"
        return [Finding("warning", "shifted", text)]
    for entry, shift in seen:
        if shift.is_off:
            text = (
                f"{entry.item[0]}: B seems to lie {shift} of A (correlation of edges {shift.there:.2f} there, "
                f"{shift.here:.2f} here): look at it"
            )
            findings.append(Finding("warning", "misaligned", text, entry.item))
    return findings


def _check_classes(
    looked: list[_Looked], palettes: Sequence[Palette | None], report: Report
) -> list[Finding]:
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


def _check_meaning(found: _Found) -> list[Finding]:
    """Images that training takes for something else than they are."""
    findings = []
    for split in dict.fromkeys(split for split, _ in found.items):
        for side in zip(*(item for name, item in found.items if name == split), strict=False):
            findings += [Finding("warning", "meaning", text) for text in find_remarks(side)]
    return findings


def _contact_sheet(looked: list[_Looked], findings: Sequence[Finding]) -> np.ndarray:
    """What is suspicious, framed in red or orange, and some of the rest, spread over the set."""
    color: dict[Item, tuple[int, int, int]] = {}
    for finding in reversed(findings):  # errors come first, and have the last word
        for entry in looked:
            if set(entry.item) & set(finding.files):
                color[entry.item] = (220, 30, 30) if finding.level == "error" else (240, 150, 20)
    suspicious = [entry for entry in looked if entry.item in color][: _COLUMNS * _ROWS * 2 // 3]
    rest = [entry for entry in looked if entry.item not in color]
    room = min(_COLUMNS * _ROWS - len(suspicious), len(rest))
    shown = suspicious + [rest[number] for number in np.linspace(0, len(rest) - 1, room).astype(int)]
    if not shown:
        return np.full((_THUMBNAIL, _THUMBNAIL, 3), 255, np.uint8)
    width, height, edge = shown[0].thumbnail.shape[1], _THUMBNAIL + 16, 4
    rows = -(-len(shown) // _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    sheet = Image.new("RGB", (columns * (width + 2 * edge), rows * (height + 2 * edge)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, entry in enumerate(shown):
        left = number % _COLUMNS * (width + 2 * edge)
        top = number // _COLUMNS * (height + 2 * edge)
        box = (left, top, left + width + 2 * edge - 1, top + _THUMBNAIL + 2 * edge - 1)
        draw.rectangle(box, fill=color.get(entry.item, (255, 255, 255)))
        sheet.paste(Image.fromarray(entry.thumbnail), (left + edge, top + edge))
        caption = f"{entry.split} {entry.item[0].name}".encode("ascii", "replace").decode()
        draw.text((left + edge, box[3] + 2), caption[: width // 6], fill="black")
    return np.asarray(sheet)


def _named(entries: Sequence[_Looked]) -> str:
    return listed([str(entry.item[0]) for entry in entries])


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
