"""What every preparation shares: finding files, working on them in parallel, and writing without overwriting."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from translatekit.datasets.layouts import find_images, no_images
from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import WRITABLE_SUFFIXES, Picture, encode_picture
from translatekit.model_file import write_atomically
from translatekit_tools.bulk.stages import ordered_map

THREADS = min(8, os.cpu_count() or 1)
AHEAD = 2 * THREADS  # files being worked on, or done and waiting for their turn

Format = Literal["keep", "png", "jpg", "webp", "tiff"]
Layout = Literal["side-by-side", "folders", "single"]
Progress = Callable[[int, int], None]
"""Is told how many files are done, of how many."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a preparation has done.

    Attributes:
        written: the files it wrote, in the order of their sources.
        failed: sources that could not be used, with the reason, one sentence each.
        notes: what else is worth knowing, one sentence each.
        details: figures of the command at hand, as JSON has them.
    """

    written: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "written": [str(path) for path in self.written],
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
    """

    path: Path
    name: str


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
    """A folder that is written to: whole files only, each once, and never over an original.

    Args:
        root: the folder; it is made when the first file is written.
        sources: the originals.
        force: replace what is there already.

    Raises:
        DataError: it is a file.
    """

    def __init__(self, root: Path, sources: Iterable[Path], force: bool = False) -> None:
        self.root = root.expanduser()
        self.force = force
        self._originals = {os.path.realpath(path) for path in sources}
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"the output {root} is a file: name a folder with -o")

    def check(self, path: Path) -> None:
        """Find out whether a file may be written.

        Raises:
            DataError: it is an original, or is there and `force` is not given.
        """
        if os.path.realpath(path) in self._originals:
            raise DataError(f"{path} would overwrite an original: choose another folder with -o")
        if not self.force and os.path.lexists(path):
            raise DataError(
                f"{path} exists already: pass --force to replace it, or choose another folder with -o"
            )

    def write(self, relative: str, data: bytes) -> Path:
        """Write a file, by its path below the folder.

        Raises:
            TranslatekitError: it may not or cannot be written.
        """
        path = self.root / relative
        self.check(path)
        make_folder(path.parent)
        write_atomically(path, data)
        return path

    def write_image(self, relative: str, pixels: np.ndarray | Picture, quality: int = 95) -> Path:
        """Write an image in the format that the path ends in."""
        picture = pixels if isinstance(pixels, Picture) else Picture(pixels)
        path = self.root / relative
        self.check(path)  # before the work of encoding it
        return self.write(relative, encode_picture(picture, path.suffix, quality=quality))


class PairWriter:
    """Writes images that belong together as `translatekit.datasets.aligned.Aligned` reads them.

    Args:
        output: the dataset's folder.
        layout: A and B in the halves of one file; in folders A and B; or A alone.
        split: the subfolder, such as ``train``; none where it is empty.
        suffix: of what is encoded, with the dot.
    """

    def __init__(self, output: Output, layout: Layout, split: str, suffix: str) -> None:
        check_name(split)
        self.output, self.layout, self.suffix = output, layout, suffix
        self._folder = f"{split}/" if split else ""

    def write(
        self,
        name: str,
        a: np.ndarray,
        b: np.ndarray,
        a_file: Path | None = None,
        b_file: Path | None = None,
    ) -> list[Path]:
        """Write a pair.

        Args:
            name: without a suffix.
            a: (H, W, C) uint8.
            b: (H, W, C) uint8.
            a_file: a file that holds just `a`, to be copied where A and B are not joined.
            b_file: the same of `b`.
        """
        if self.layout == "side-by-side":
            pair = np.concatenate([to_rgb(a), to_rgb(b)], axis=1)
            return [self.output.write_image(f"{self._folder}{name}{self.suffix}", pair)]
        if self.layout == "single":
            return [self.output.write_image(f"{self._folder}{name}{self.suffix}", a)]
        places = [
            (f"{self._folder}{side}/{name}{file.suffix if file else self.suffix}", pixels, file)
            for side, pixels, file in (("A", a, a_file), ("B", b, b_file))
        ]
        for path, _, _ in places:
            self.output.check(self.output.root / path)  # both or none
        return [
            self.output.write(path, read_bytes(file)) if file else self.output.write_image(path, pixels)
            for path, pixels, file in places
        ]


def work_on(
    sources: Sequence[Source], work: Callable[[Source], list[Path]], progress: Progress | None = None
) -> Summary:
    """Call `work` with each source, in parallel; it returns the files it wrote.

    A source that fails, or whose name is another's but for the suffix, is noted with the reason; the rest goes on.
    """
    names = Counter(source.name for source in sources)

    def guarded(source: Source) -> list[Path]:
        if names[source.name] > 1:
            raise DataError("another file has the same name but for its suffix: rename one")
        return work(source)

    summary = Summary()
    for source, written, reason in attempt_all(sources, guarded, progress):
        if written is None:
            summary.failed.append((source.path, reason))
        else:
            summary.written += written
    return summary


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
