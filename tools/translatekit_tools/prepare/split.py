"""Training, validation and test images that have nothing to do with each other."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from translatekit.datasets.layouts import find_images, find_sides, listed, no_images
from translatekit.datasets.palette import PALETTE_FILE
from translatekit.errors import DataError, OptionError
from translatekit.images import read_image
from translatekit_tools.prepare.options import SplitOptions
from translatekit_tools.prepare.output import Output, make_folder, origins, read_bytes
from translatekit_tools.prepare.preview import preview_of
from translatekit_tools.prepare.similar import groups, near_pairs, perceptual_hash
from translatekit_tools.prepare.work import Progress, Summary, attempt_all

Item = tuple[Path, ...]
SPLITS = ("train", "val", "test")


def split_data(data: Path, out: Path, options: SplitOptions, progress: Progress | None = None) -> Summary:
    """Copy a dataset into the folders train, val and test.

    Where an image goes depends on the contents of the files and the seed, not on names or order. Near-duplicates go
    to one split together, and so do the two files of a pair.

    Args:
        data: a folder of images, of class folders, or with folders A and B; or with one of these in ``train``.
        out: the new dataset's folder.
        options: the fractions, what counts as a near-duplicate, and whether files are copied or linked.
        progress: is told how far it is.

    Returns:
        Its details: how many items are in each split, and how many groups of near-duplicates there are. Its notes say
        where images that `translatekit prepare` cut out of one source are in several splits.

    Raises:
        OptionError: fractions that leave nothing to train on.
        DataError: no images, or files of A and B without partner.
    """
    val, test = options.val, options.test
    if not 0 < val + test < 1:
        raise OptionError(
            f"--val and --test are fractions, together more than 0 and less than 1, not {val:g} and {test:g}"
        )
    data = data.expanduser()
    if os.path.realpath(out) == os.path.realpath(data):
        raise DataError(f"the output folder is {data} itself: choose another with -o")
    sets = _find(data, options.unpaired)
    output = Output(out, [path for _, items in sets for item in items for path in item], options.force)
    total = sum(len(items) for _, items in sets)
    summary = Summary(details={"splits": dict.fromkeys(SPLITS, 0), "near_duplicate_groups": 0})
    done = 0
    for root, items in sets:
        offset = done

        def tell(count: int, _: int, offset: int = offset) -> None:
            if progress is not None:
                progress(offset + count, total)

        assigned = _split_set(root, items, output, summary, options, tell)
        summary.notes += _torn_apart(data, assigned)
        done += len(items)
    if (data / PALETTE_FILE).is_file():
        path, new = output.write(PALETTE_FILE, read_bytes(data / PALETTE_FILE))
        summary.add([path], new)
    counts = summary.details["splits"]
    summary.notes.append(", ".join(f"{name} {counts[name]}" for name in SPLITS))
    return summary


def _split_set(
    root: Path,
    items: list[Item],
    output: Output,
    summary: Summary,
    options: SplitOptions,
    progress: Progress,
) -> dict[str, list[Item]]:
    """Copy the items of a set; returns those of each split."""
    good: list[Item] = []
    contents: list[bytes] = []
    hashes: list[list[int]] = []
    for item, found, reason in attempt_all(items, _look_at, progress):
        if found is None:
            summary.failed.append((item[0], reason))
        else:
            good.append(item)
            contents.append(found[0])
            hashes.append(found[1])
    together = groups(len(good), near_pairs(hashes, options.near))
    summary.details["near_duplicate_groups"] += sum(len(group) > 1 for group in together)
    assigned = _assign(together, contents, (options.val, options.test), options.seed)
    for split, numbers in assigned.items():
        for path in (path for number in numbers for path in good[number]):
            _refuse_other_split(output.root, split, path.relative_to(root))
    for split, numbers in assigned.items():
        for number in numbers:
            for path in good[number]:
                relative = f"{split}/{path.relative_to(root).as_posix()}"
                placed, new = _place(output, relative, path, options.link)
                summary.add([placed], new)
        summary.details["splits"][split] += len(numbers)
    return {split: [good[number] for number in numbers] for split, numbers in assigned.items()}


def _torn_apart(data: Path, assigned: dict[str, list[Item]]) -> Iterator[str]:
    """A sentence where images that were cut out of one, which need not look alike, are in several splits."""
    made_of = {**origins(data.parent), **origins(data)}
    splits: dict[str, set[str]] = defaultdict(set)
    for split, items in assigned.items():
        for source in {made_of[path] for item in items for path in item if path in made_of}:
            splits[source].add(split)
    torn = sorted(source for source, found in splits.items() if len(found) > 1)
    if torn:
        yield (
            f"images that were cut out of one file or volume are in more than one split ({listed(torn)}), so that a "
            "test is of what was trained on: split what they were cut out of, and prepare each split by itself"
        )


def _find(data: Path, unpaired: bool) -> list[tuple[Path, list[Item]]]:
    """The sets to be split, each with the folder that its names are relative to."""
    if not data.is_dir():
        raise DataError(f"there is no folder {data}: check the path")
    others = [name for name in ("val", "test", "valA", "testA") if (data / name).is_dir()]
    if others:
        raise DataError(f"{data} is split already, it has {listed(others)}: name the folder of one split")
    sides = find_sides(data, "train")
    if sides is None:
        if unpaired:
            raise DataError(f"{data} has no folders A and B: put the two sets there, or leave out --unpaired")
        root = data / "train" if (data / "train").is_dir() else data
        files = find_images(root)
        if not files:
            raise no_images(root, "the images there")
        return [(root, [(path,) for path in files])]
    renamed = {folder.name for folder in sides} != {"A", "B"}
    if renamed:
        raise DataError(f"{data} has {sides[0].name} and {sides[1].name}: rename them to A and B")
    root = sides[0].parent
    found = [find_images(folder) for folder in sides]
    if unpaired:
        return [(root, [(path,) for path in files]) for files in found]
    by_name: list[dict[Path, Path]] = []
    for folder, files in zip(sides, found, strict=True):
        names: dict[Path, Path] = {}
        for path in files:
            first = names.setdefault(path.relative_to(folder).with_suffix(""), path)
            if first != path:
                raise DataError(
                    f"{first} and {path} have one name and would be one pair: rename or remove one, or pass --unpaired"
                )
        by_name.append(names)
    lonely = by_name[0].keys() ^ by_name[1].keys()
    if lonely:
        raise DataError(
            f"{len(lonely)} files of {root} have no partner ({listed(sorted(map(str, lonely)))}): add or remove "
            "them, or pass --unpaired"
        )
    if not by_name[0]:
        raise no_images(sides[0], "one side of the pairs there")
    return [(root, [(by_name[0][name], by_name[1][name]) for name in sorted(by_name[0])])]


def _look_at(item: Item) -> tuple[bytes, list[int]]:
    """The hash of an item's contents, and the perceptual hash of each of its images."""
    content = blake2b(digest_size=16)
    hashes = []
    for path in item:
        data = read_bytes(path)
        content.update(blake2b(data).digest())
        hashes.append(perceptual_hash(preview_of(read_image(path))))
    return content.digest(), hashes


def _assign(
    together: list[list[int]], contents: Sequence[bytes], fractions: tuple[float, float], seed: int
) -> dict[str, list[int]]:
    """The numbers of the items of each split; a group that is too large for what is left goes to ``train``."""
    key = str(seed).encode()

    def draw(group: list[int]) -> bytes:
        return blake2b(min(contents[number] for number in group), key=key).digest()

    total = sum(map(len, together))
    room = dict(zip(("val", "test"), (round(total * fraction) for fraction in fractions), strict=True))
    assigned: dict[str, list[int]] = {name: [] for name in SPLITS}
    for group in sorted(together, key=draw):
        split = next((name for name, left in room.items() if len(group) <= left), "train")
        if split != "train":
            room[split] -= len(group)
        assigned[split] += group
    return {split: sorted(numbers) for split, numbers in assigned.items()}


def _refuse_other_split(out: Path, split: str, relative: Path) -> None:
    """An image that is in another split already would be trained on and tested with."""
    for other in SPLITS:
        if other != split and os.path.lexists(out / other / relative):
            raise DataError(
                f"{out / other / relative} is there from another split of these images: choose another folder with -o"
            )


def _place(output: Output, relative: str, path: Path, link: bool) -> tuple[Path, bool]:
    """Where a file is now, and whether that is new."""
    if not link:
        return output.write(relative, read_bytes(path))
    target = output.root / relative
    if target.is_symlink() and target.resolve() == path.resolve():
        return target, False
    output.check(target)
    make_folder(target.parent)
    try:
        target.unlink(missing_ok=True)
        target.symlink_to(path.resolve())
    except OSError as error:
        raise DataError(
            f"no link {target} can be made ({error.strerror}): leave out --link to copy"
        ) from None
    return target, True
