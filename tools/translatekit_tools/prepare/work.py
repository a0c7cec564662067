"""What every preparation shares: finding files, working on them in parallel, and writing without overwriting."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from translatekit.datasets.layouts import find_images, no_images
from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import WRITABLE_SUFFIXES, Picture, encode_picture
from translatekit.inference.stages import ordered_map
from translatekit.storage import hash_bytes, hash_file, write_atomically
from translatekit_tools.journal import Journal

JOURNAL_NAME = ".translatekit-prepare.jsonl"

THREADS = min(8, os.cpu_count() or 1)
AHEAD = 2 * THREADS  # files being worked on, or done and waiting for their turn

Format = Literal["keep", "png", "jpg", "webp", "tiff"]
Layout = Literal["side-by-side", "folders", "single"]
Progress = Callable[[int, int], None]
"""Is told how many files are done, of how many."""
Made = dict[str, bytes]
"""What a source becomes: the contents of files by their paths below the output folder."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a preparation has done.

    Attributes:
        written: the files it wrote, in the order of their sources.
        skipped: the files that an earlier run wrote, of the same sources with the same options.
        failed: sources that could not be used, with the reason, one sentence each.
        notes: what else is worth knowing, one sentence each.
        details: figures of the command at hand, as JSON has them.
    """

    written: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, paths: list[Path], new: bool) -> None:
        """Note files that are written, or were there already."""
        (self.written if new else self.skipped).extend(paths)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "written": [str(path) for path in self.written],
            "skipped": [str(path) for path in self.skipped],
            "failed": [{"file": str(path), "reason": reason} for path, reason in self.failed],
            "notes": self.notes,
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """An image to work on.

    Attributes:
        path: the file.
        name: its path below the folder that was given, without the suffix, with ``/``.
        partner: the other file of a pair, where that is a file of its own.
    """

    path: Path
    name: str
    partner: Path | None = None


def find_sources(place: Path, out: Path | None = None) -> list[Source]:
    """The images of a folder and its subfolders, or the one image that is given, in the order of their names.

    Raises:
        DataError: there are none, or `out` lies among them, so that a second run would take its own outputs.
    """
    place = place.expanduser()
    if place.is_file():
        return [Source(place, place.stem)]
    if not place.exists():
        raise DataError(f"there is no file or folder {place}: check the path")
    if out is not None and _real(out).is_relative_to(_real(place)):
        raise DataError(
            f"the output folder {out} lies in {place}, whose images are read: choose one beside it"
        )
    files = find_images(place)
    if not files:
        raise no_images(place, "the images there")
    return [Source(file, file.relative_to(place).with_suffix("").as_posix()) for file in files]


class Output:
    """A folder that is written to: whole files only, and never over an original or over what others wrote.

    A hidden journal in the folder says what each file was made from. A rerun leaves alone what is there already, and
    does again what was made with other options.

    Args:
        root: the folder; it is made when the first file is written.
        sources: the originals.
        force: replace what is there already, whoever wrote it.

    Raises:
        DataError: it is a file, or its journal cannot be read.
    """

    def __init__(self, root: Path, sources: Iterable[Path], force: bool = False) -> None:
        self.root = root.expanduser()
        self.force = force
        self._originals = {os.path.realpath(path) for path in sources}
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"the output {root} is a file: name a folder with -o")
        self._journal = Journal(self.root / JOURNAL_NAME)
        self._made: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)  # source, made from, path: hash
        for record in self._journal.records:
            try:
                self._made[record["source"]][record["made_from"]] = dict(record["outputs"])
            except (KeyError, TypeError, ValueError):
                continue
        made = [outputs for ways in self._made.values() for outputs in ways.values()]
        self._own = {item for outputs in made for item in outputs.items()}

    def check(self, path: Path) -> None:
        """Find out whether a file may be written.

        Raises:
            DataError: it is an original, or is there, was not written here as it is, and `force` is not given.
        """
        if os.path.realpath(path) in self._originals:
            raise DataError(f"{path} would overwrite an original: choose another folder with -o")
        if os.path.lexists(path) and not self.force and not self._is_own(path):
            raise DataError(
                f"{path} exists already: pass --force to replace it, or choose another folder with -o"
            )

    def done(self, source: str, made_from: str) -> list[Path]:
        """The files that an earlier run made of a source in the same way, if all are there as it left them."""
        if self.force or source not in self._made:
            return []
        paths = [self.root / relative for relative in self._made[source].get(made_from, ())]
        return paths if all(map(self._is_own, paths)) else []

    def commit(self, source: str, made_from: str, made: Made) -> list[Path]:
        """Write what a source became, all of it or nothing.

        The journal is told first: whatever the moment a run is killed, every file that is there is known.

        Raises:
            TranslatekitError: something may not or cannot be written.
        """
        paths = {self.root / relative: data for relative, data in made.items()}
        for path in paths:
            self.check(path)
        earlier = {relative for outputs in self._made.get(source, {}).values() for relative in outputs}
        stale = [
            path for path in map(self.root.joinpath, sorted(earlier - made.keys())) if self._is_own(path)
        ]
        if stale and not self.force:
            raise DataError(
                f"{stale[0]} was made of it with other options and would stay among the new files: "
                "pass --force to replace it, or choose another folder with -o"
            )
        for path in paths:
            make_folder(path.parent)
        outputs = {relative: hash_bytes(data) for relative, data in made.items()}
        try:
            self._journal.append({"source": source, "made_from": made_from, "outputs": outputs})
        except OSError as error:
            raise DataError(
                f"{self._journal.path} cannot be written ({error.strerror}): free some space, "
                "or choose another folder with -o"
            ) from None
        for path, data in paths.items():
            write_atomically(path, data)
        for path in stale:
            path.unlink(missing_ok=True)
        return list(paths)

    def write(self, relative: str, data: bytes) -> tuple[Path, bool]:
        """Write one file; where it is there already with just these contents, it stays.

        Returns:
            Its path, and whether it is new.

        Raises:
            TranslatekitError: it may not or cannot be written.
        """
        path = self.root / relative
        if path.is_file() and read_bytes(path) == data and os.path.realpath(path) not in self._originals:
            return path, False
        return self.commit(relative, "", {relative: data})[0], True

    def _is_own(self, path: Path) -> bool:
        """Whether a file is one that was written here, as it was written."""
        return path.is_file() and (path.relative_to(self.root).as_posix(), hash_file(path)) in self._own


def encoded(relative: str, pixels: np.ndarray | Picture, quality: int = 95) -> Made:
    """An image in the format that its path ends in."""
    picture = pixels if isinstance(pixels, Picture) else Picture(pixels)
    return {relative: encode_picture(picture, Path(relative).suffix, quality=quality)}


@dataclass(frozen=True, slots=True)
class PairLayout:
    """How images that belong together lie, as `translatekit.datasets.aligned.Aligned` reads them.

    Attributes:
        layout: A and B in the halves of one file; in folders A and B; or A alone.
        split: the subfolder, such as ``train``; none where it is empty.
        suffix: of what is encoded, with the dot.
    """

    layout: Layout
    split: str
    suffix: str

    def __post_init__(self) -> None:
        check_name(self.split)

    def encode(
        self,
        name: str,
        a: np.ndarray,
        b: np.ndarray,
        a_file: Path | None = None,
        b_file: Path | None = None,
    ) -> Made:
        """The files of a pair.

        Args:
            name: without a suffix.
            a: (H, W, C) uint8.
            b: (H, W, C) uint8.
            a_file: a file that holds just `a`, to be copied where A and B are not joined.
            b_file: the same of `b`.
        """
        folder = f"{self.split}/" if self.split else ""
        if self.layout == "side-by-side":
            pair = np.concatenate([to_rgb(a), to_rgb(b)], axis=1)
            return encoded(f"{folder}{name}{self.suffix}", pair)
        if self.layout == "single":
            return encoded(f"{folder}{name}{self.suffix}", a)
        made: Made = {}
        for side, pixels, file in (("A", a, a_file), ("B", b, b_file)):
            place = f"{folder}{side}/{name}"
            made |= (
                {f"{place}{file.suffix}": read_bytes(file)}
                if file
                else encoded(f"{place}{self.suffix}", pixels)
            )
        return made


def work_on(
    output: Output,
    sources: Sequence[Source],
    make: Callable[[Source], Made],
    recipe: Mapping[str, Any],
    progress: Progress | None = None,
) -> Summary:
    """Write what `make` makes of each source, in parallel; leave alone what an earlier run has made likewise.

    A source that fails, or whose name is another's but for the suffix, is noted with the reason; the rest goes on.

    Args:
        output: where to.
        sources: the originals.
        make: the files of one source.
        recipe: the options that the files depend on, as JSON has them.
        progress: is told how far it is.
    """
    names = Counter(source.name for source in sources)

    def guarded(source: Source) -> tuple[list[Path], bool]:
        """Its files, and whether they are new."""
        if names[source.name] > 1:
            raise DataError("another file has the same name but for its suffix: rename one")
        made_from = hash_recipe(recipe, source)
        place = os.path.relpath(source.path, output.root)
        done = output.done(place, made_from)
        return (done, False) if done else (output.commit(place, made_from, make(source)), True)

    summary = Summary()
    for source, result, reason in attempt_all(sources, guarded, progress):
        if result is None:
            summary.failed.append((source.path, reason))
        else:
            summary.add(*result)
    return summary


def hash_recipe(recipe: Mapping[str, Any], source: Source) -> str:
    """What the files of a source follow from: the contents of its files, and the options.

    Raises:
        DataError: one of its files cannot be read.
    """
    digest = blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=16)
    for path in (source.path, source.partner):
        if path is not None:
            digest.update(blake2b(read_bytes(path)).digest())
    return digest.hexdigest()


def attempt_all(
    items: Sequence[T], work: Callable[[T], R], progress: Progress | None = None
) -> Iterable[tuple[T, R | None, str]]:
    """`work` of each item, computed in parallel, in order: (item, result, ""), or (item, None, why it failed)."""

    def attempt(item: T) -> tuple[T, R | None, str]:
        try:
            return item, work(item), ""
        except TranslatekitError as error:
            return item, None, str(error)
        except MemoryError:
            return item, None, "the image does not fit into memory: cut it up"

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="prepare")
    try:
        for number, result in enumerate(ordered_map(attempt, items, pool, AHEAD), 1):
            yield result
            if progress is not None:
                progress(number, len(items))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        DataError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be made ({error.strerror}): choose another with -o"
        ) from None


def read_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check it and its permissions") from None


def suffix_for(path: Path, format: Format) -> str:
    """The suffix of the output of a file; formats that cannot be written become PNG."""
    if format != "keep":
        return f".{format}"
    return path.suffix if path.suffix.lower() in WRITABLE_SUFFIXES else ".png"


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) of (H, W, 1) or (H, W, 3)."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def resize_nearest(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to a height and width without mixing colours, as label maps need it."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip(size, pixels.shape[:2], strict=True)
    )
    return pixels[rows[:, None], columns]


def check_name(split: str) -> None:
    """Refuse a split's name that is not one folder's.

    Raises:
        OptionError: it has parts, or is hidden.
    """
    if split.startswith(".") or "/" in split or "\\" in split:
        raise OptionError(f"--split must be the name of a folder, such as train, not {split!r}")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
