"""Images into shards: tar files of many samples each, and an index of where each sample starts."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.datasets.aligned import matched
from translatekit.datasets.labelled import class_folders
from translatekit.datasets.layouts import MissingSplitError, find_images, find_sides, find_split
from translatekit.datasets.palette import PALETTE_FILE
from translatekit.datasets.shards import (
    INDEX,
    Kind,
    SampleSet,
    Shard,
    ShardIndex,
    key_of,
    starts_name,
)
from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images import read_header, suffix_of
from translatekit.images.formats import format_of
from translatekit.storage import hash_file
from translatekit_tools.prepare.options import ShardsOptions
from translatekit_tools.prepare.output import Output, read_bytes, refuse_inside
from translatekit_tools.prepare.work import Progress, Summary, attempt_all

_SPLITS = ("train", "val", "test")
_SHUFFLED = "train"  # classes and scenes mostly lie together; what is read together should not


@dataclass(frozen=True, slots=True)
class Item:
    """A sample that is to go into a shard.

    Attributes:
        key: of its files.
        files: by their part of the sample, such as ``a``, or an empty text where there is one.
        label: the number of its class, or None.
    """

    key: str
    files: tuple[tuple[str, Path], ...]
    label: int | None = None

    def members(self) -> list[tuple[str, bytes]]:
        """The names and the contents of its files in a shard.

        Raises:
            DataError: one cannot be read.
        """
        made = [(f"{self.key}.{_extension(part, path)}", read_bytes(path)) for part, path in self.files]
        return made if self.label is None else [*made, (f"{self.key}.cls", str(self.label).encode())]

    def size(self) -> int:
        """Bytes that it takes in a shard, about."""
        return sum(512 + -(-path.stat().st_size // 512) * 512 for _, path in self.files) + 1024 * (
            self.label is not None
        )


def make_shards(
    data: Path, b: Path | None, out: Path, options: ShardsOptions, progress: Progress | None = None
) -> Summary:
    """Write a dataset as shards: the files as they are, byte for byte.

    Args:
        data: a folder as training takes it: of pairs, of two sets, of class folders, or of images, with splits or
            without; of A, where there is another of B.
        b: the folder of B.
        out: the folder of the shards.
        options: what the samples are, and how large a shard becomes.
        progress: is told how far it is.

    Returns:
        Its details: the ``kind``, and the ``sets`` with their numbers of ``samples`` and ``shards``.

    Raises:
        DataError: no images, files without partner, or an output among the images.
    """
    data, b = data.expanduser(), None if b is None else b.expanduser()
    for place in (data, b):
        if place is not None:
            refuse_inside(out, place)
            if not place.is_dir():
                raise DataError(f"there is no folder {place}: check the path")
    kind, classes, sets = _find(data, b, options)
    originals = [path for items in sets.values() for item in items for _, path in item.files]
    output = Output(out, originals, options.force)
    if (out / INDEX).exists():
        output.check(out / INDEX)
    summary = Summary(details={"kind": kind, "sets": {}})
    done, total = 0, 2 * sum(map(len, sets.values()))
    found: dict[str, SampleSet] = {}
    specs: dict[str, Any] = {}
    for name, items in sets.items():

        def tell(count: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + count, total)

        good, smallest = _looked_at(items, specs, summary, tell)
        done += len(items)
        if not good:
            raise DataError(f"none of the images of {name} can be read: check that they are images")
        shards, starts = [], []
        for number, chosen in enumerate(_shares(good, options.size)):
            shard, places = _write(output, f"{name}-{number:06d}.tar", chosen, summary)
            shards.append(shard)
            starts += places
            tell(done - len(items) + len(starts) + (len(items) - len(good)), total)
        done += len(items)
        found[name] = SampleSet(tuple(shards), smallest)
        buffer = io.BytesIO()
        np.save(buffer, np.array(starts, np.int64))
        path, new = output.write(starts_name(name), buffer.getvalue())
        summary.add([path], new)
        summary.details["sets"][name] = {"samples": len(good), "shards": len(shards)}
    if (data / PALETTE_FILE).is_file():
        path, new = output.write(PALETTE_FILE, read_bytes(data / PALETTE_FILE))
        summary.add([path], new)
    # The index comes last: without it, there are no shards yet.
    path, new = output.write(INDEX, ShardIndex(kind, classes, found, specs).to_json().encode())
    summary.add([path], new)
    for name, counts in summary.details["sets"].items():
        summary.notes.append(f"{name}: {counts['samples']} samples in {counts['shards']} shards")
    return summary


def _find(
    data: Path, b: Path | None, options: ShardsOptions
) -> tuple[Kind, tuple[str, ...], dict[str, list[Item]]]:
    """The kind of samples, their classes, and the samples of each set, in the order in which they are written."""
    sets: dict[str, list[Item]] = {}
    classes: tuple[str, ...] = ()
    if options.kind == "labelled":
        kind: Kind = "labelled"
        for split in _splits(data, lambda split: class_folders(data, split)[0]):
            folder: Any  # of this machine, as `data` is
            folder, classes = class_folders(data, split)
            sets[split] = [
                item
                for label, name in enumerate(classes)
                if (folder / name).is_dir()
                for item in _single(folder, find_images(folder / name), label)
            ]
    elif options.kind != "images" and (b is not None or find_sides(data, "train") is not None):
        kind = "unpaired" if options.kind == "unpaired" else "pairs"
        for split in _splits(data, lambda split: find_sides(data, split, b)):
            sides = find_sides(data, split, b)
            assert sides is not None
            if kind == "unpaired":
                sets |= {
                    f"{split}{side}": _single(folder, find_images(folder))
                    for side, folder in zip("AB", sides, strict=True)
                }
            else:
                pairs: Sequence[Any] = matched(*sides, series=False)
                sets[split] = [
                    Item(_key(first, sides[0]), (("a", first), ("b", second))) for first, second in pairs
                ]
    elif options.kind not in ("auto", "images"):
        raise DataError(
            f"{data} has no folders A and B, or trainA and trainB: put the two sides there, or name both folders"
        )
    else:
        kind = "images"
        for split in _splits(data, lambda split: find_split(data, split, "images there")):
            root = data / split if (data / split).is_dir() else data
            sets[split] = _single(root, find_split(data, split, f"images into {data}/{split}"))
    for name, items in sets.items():
        if name.startswith(_SHUFFLED):
            order = np.random.default_rng(options.seed).permutation(len(items))
            sets[name] = [items[place] for place in order]
    return kind, classes, sets


def _splits(data: Path, place_of: Any) -> list[str]:
    """The splits that there are; test, where it only stands in for val, is no val."""
    places = {}
    for split in _SPLITS:
        try:
            place = place_of(split)
        except MissingSplitError:
            continue
        if place is not None:
            places[split] = place
    if "test" in places and places.get("val") == places["test"]:
        del places["val"]
    return list(places)


def _single(folder: Path, files: Sequence[Path], label: int | None = None) -> list[Item]:
    return [Item(_key(path, folder), (("", path),), label) for path in files]


def _key(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    return key_of(name[: len(name) - len(suffix_of(name))])


def _extension(part: str, path: Path) -> str:
    suffix = path.name[len(path.name) - len(suffix_of(path)) :]
    return f"{part}{suffix}" if part else suffix[1:]


def _looked_at(
    items: Sequence[Item], specs: dict[str, Any], summary: Summary, tell: Progress
) -> tuple[list[Item], tuple[int, int]]:
    """Those whose files can be read by their headers, and the least height and width among them."""
    names = Counter(item.key for item in items)

    def look(item: Item) -> list[tuple[str, ImageSpec, int, int]]:
        if names[item.key] > 1:
            raise DataError("another file has the same name but for its suffix: rename one")
        seen = []
        for part, path in item.files:
            if format_of(path).volumes and suffix_of(path) not in (".tif", ".tiff"):
                raise DataError(
                    f"{path} holds a volume: make slices of it by translatekit prepare volume first"
                )
            header = read_header(path)
            seen.append((part or "image", header.spec, header.height, header.width))
        return seen

    good, height, width = [], 2**31, 2**31
    for item, seen, reason in attempt_all(items, look, tell):
        if seen is None:
            summary.failed.append((item.files[0][1], reason))
            continue
        good.append(item)
        for part, spec, *size in seen:
            specs.setdefault(part, spec.to_fields())
            height, width = min(height, size[0]), min(width, size[1])
    return good, (height, width)


def _shares(items: Sequence[Item], size: int) -> list[list[Item]]:
    """The samples of each shard, which grows until the next sample would make it larger than `size`."""
    shares: list[list[Item]] = [[]]
    filled = 0
    for item in items:
        more = item.size()
        if shares[-1] and filled + more > size:
            shares.append([])
            filled = 0
        shares[-1].append(item)
        filled += more
    return shares


def _write(output: Output, name: str, items: Sequence[Item], summary: Summary) -> tuple[Shard, list[int]]:
    """A shard, unless an earlier run has written it of the same files, and where its samples start."""
    about = [
        [item.key, item.label, *((part, str(path), *_stat(path)) for part, path in item.files)]
        for item in items
    ]
    made_from = blake2b(json.dumps(about).encode(), digest_size=16).hexdigest()
    path = output.root / name
    earlier = output.done(name, made_from)
    if earlier is None:
        if path.exists():
            (output.root / INDEX).unlink(missing_ok=True)  # which is of the shards that were there
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for item in items:
                for member, data in item.members():
                    header = tarfile.TarInfo(
                        member
                    )  # of no owner and no time: the same files give the same shard
                    header.size = len(data)
                    tar.addfile(header, io.BytesIO(data))
        output.commit(name, made_from, {name: buffer.getvalue()})
    summary.add([path], earlier is None)
    with tarfile.open(path) as tar:
        members = [(member.name, member.offset) for member in tar]
    starts = [next(group)[1] for _, group in groupby(members, lambda member: _key_of_member(member[0]))]
    return Shard(name, len(items), path.stat().st_size, hash_file(path)), starts


def _key_of_member(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _stat(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns
