"""The items of a dataset: pairs, or single images, of each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from translatekit.datasets.layouts import find_images, looks_side_by_side, no_images
from translatekit.errors import DataError
from translatekit_tools.prepare.check.report import Finding
from translatekit_tools.prepare.options import Kind

Item = tuple[Path, ...]

_SPLITS = ("train", "val", "test")


@dataclass(slots=True)
class Found:
    """The items of a dataset.

    Attributes:
        kind: ``pairs``, ``single`` or ``unpaired``.
        folders: whether the sides lie in folders of their own.
        items: each with its split.
    """

    kind: str
    folders: bool
    items: list[tuple[str, Item]]


def find_items(data: Path, kind: Kind) -> tuple[Found, list[Finding]]:
    """The items of a dataset, and what is wrong with their names.

    Raises:
        DataError: there are none, or no sides where `kind` asks for them.
    """
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
    return Found(kind, False, items), []


def side_of(path: Path) -> str:
    """A or B, by the folder of an unpaired image."""
    names = {f"{split}{side}": side for split in ("", *_SPLITS) for side in "AB"}
    return next((names[part] for part in reversed(path.parts[:-1]) if part in names), "")


def _find_sides(sides: dict[str, tuple[Path, Path]], kind: Kind) -> tuple[Found, list[Finding]]:
    found = {split: [find_images(folder) for folder in pair] for split, pair in sides.items()}
    by_name: dict[str, list[dict[Path, Path]]] = {}
    findings = []
    for split, pair in sides.items():
        by_name[split] = [{}, {}]
        for names, folder, files in zip(by_name[split], pair, found[split], strict=True):
            for path in files:
                first = names.setdefault(path.relative_to(folder).with_suffix(""), path)
                if first != path:
                    text = f"{first} and {path} have one name and would be one pair: rename or remove one"
                    findings.append(Finding("error", "same_name", text, (first, path)))
    if not any(files for pair in by_name.values() for files in pair):
        raise no_images(next(iter(sides.values()))[0], "the images there")
    shared = sum(len(a.keys() & b.keys()) for a, b in by_name.values())
    total = sum(len(a.keys() | b.keys()) for a, b in by_name.values())
    if kind == "auto":
        kind = "pairs" if shared > total / 2 else "unpaired"
    if kind == "unpaired":
        return (
            Found(
                kind,
                True,
                [(split, (path,)) for split, pair in found.items() for files in pair for path in files],
            ),
            [],
        )
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
    return Found(kind, True, items), findings


def _sides(data: Path, split: str) -> tuple[Path, Path] | None:
    places = [
        (data / f"{split}A", data / f"{split}B"),
        (data / split / "A", data / split / "B"),
        (data / "A" / split, data / "B" / split),
    ]
    if split == "train":
        places.append((data / "A", data / "B"))
    return next(((a, b) for a, b in places if a.is_dir() and b.is_dir()), None)
