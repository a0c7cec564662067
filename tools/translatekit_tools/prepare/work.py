"""What every preparation shares: finding its sources, and working on them in parallel."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from translatekit.datasets.layouts import find_images, no_images
from translatekit.errors import DataError, TranslatekitError
from translatekit.inference.stages import ordered_map
from translatekit.storage import hash_file
from translatekit_tools.prepare.output import PART, Made, Output, read_bytes, refuse_inside

THREADS = min(8, os.cpu_count() or 1)
AHEAD = 2 * THREADS  # files being worked on, or done and waiting for their turn

_MAX_FAILED = 10  # parts, after which a source is given up

Progress = Callable[[int, int], None]
"""Is told how many files are done, of how many."""

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
    if out is not None:
        refuse_inside(out, place)
    files = find_images(place)
    if not files:
        raise no_images(place, "the images there")
    return [Source(file, file.relative_to(place).with_suffix("").as_posix()) for file in files]


@dataclass(frozen=True, kw_only=True)
class Making:
    """Makes the files of a source, and leaves alone what an earlier run has made likewise. Other processes can have it.

    Attributes:
        output: where to.
        make: the files of one source.
        recipe: the options that the files depend on, as JSON has them.
        ambiguous: names that several sources have.
    """

    output: Output
    make: Callable[[Source], Made]
    recipe: Mapping[str, Any]
    ambiguous: frozenset[str]

    def __call__(self, source: Source) -> tuple[list[Path], bool]:
        """Its files, and whether they are new.

        Raises:
            TranslatekitError: they cannot be made or written.
        """
        if source.name in self.ambiguous:
            raise _same_name()
        made_from = hash_recipe(self.recipe, source)
        place = os.path.relpath(source.path, self.output.root)
        done = self.output.done(place, made_from)
        if done is not None:
            return done, False
        return self.output.commit(place, made_from, self.make(source)), True

    def of_worker(self, name: str) -> Making:
        """The same, for one of several processes that work at the same time."""
        return replace(self, output=self.output.of_worker(name))


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
    making = Making(output=output, make=make, recipe=recipe, ambiguous=_ambiguous(sources))
    summary = Summary()
    for source, result, reason in _attempts.get()(sources, making, progress):
        if result is None:
            summary.failed.append((source.path, reason))
        else:
            summary.add(*result)
    return summary


def _ambiguous(sources: Sequence[Source]) -> frozenset[str]:
    """The names that several sources have, which would write the same files."""
    names = Counter(source.name for source in sources)
    return frozenset(name for name, count in names.items() if count > 1)


def _same_name() -> DataError:
    return DataError("another file has the same name but for its suffix: rename one")


@dataclass(frozen=True, slots=True)
class Part:
    """One of many things that a source becomes, such as a slice or a tile.

    Attributes:
        name: different from those of the source's other parts.
        make: its files; none where there is nothing in it, so that it is left out.
    """

    name: str
    make: Callable[[], Made]


def work_on_parts(
    output: Output,
    sources: Sequence[Source],
    originals: Callable[[Source], Iterable[Path]],
    opened: Callable[[Source], AbstractContextManager[Sequence[Part]]],
    recipe: Mapping[str, Any],
    progress: Progress | None = None,
) -> Summary:
    """Write the parts of large sources, one source after the other and the parts of one in parallel.

    A part is whole or not there; a rerun makes those that are missing, and does not open a source that is done. A
    source that fails, or whose name is another's but for the suffix, is noted with the reason; the rest goes on.

    Args:
        output: where to.
        sources: volumes, slides and so on.
        originals: the files of a source, whose contents decide whether it is done.
        opened: opens a source; what its parts are is known then.
        recipe: the options that the files depend on, as JSON has them.
        progress: is told how far it is.

    Returns:
        Its details: how many ``parts`` there are, and how many of them were ``left_out``.
    """
    summary = Summary(details={"parts": 0, "left_out": 0})
    ambiguous = _ambiguous(sources)
    for number, source in enumerate(sources):
        before = summary.details["parts"]

        def tell(done: int, total: int, before: int = before, left: int = len(sources) - number) -> None:
            if progress is not None:
                progress(before + done, before + total * left)

        try:
            if source.name in ambiguous:
                raise _same_name()
            _work_on_source(output, source, list(originals(source)), opened, recipe, summary, tell)
        except TranslatekitError as error:
            summary.failed.append((source.path, str(error)))
        except MemoryError:
            summary.failed.append((source.path, "it does not fit into memory: cut it up"))
    return summary


def _work_on_source(
    output: Output,
    source: Source,
    originals: Sequence[Path],
    opened: Callable[[Source], AbstractContextManager[Sequence[Part]]],
    recipe: Mapping[str, Any],
    summary: Summary,
    tell: Progress,
) -> None:
    digest = blake2b(json.dumps([recipe, source.name], sort_keys=True).encode(), digest_size=16)
    for path in originals:
        try:
            digest.update(hash_file(path).encode())
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): check it and its permissions"
            ) from None
    made_from = digest.hexdigest()
    place = os.path.relpath(source.path, output.root)
    if output.done(place, made_from) is not None:
        earlier = {name: output.done(name, made_from) for name in output.parts_of(place)}
        if all(paths is not None for paths in earlier.values()):
            for paths in earlier.values():
                _count(summary, paths or [], new=False)
            return
    with opened(source) as parts:
        names = {f"{place}{PART}{part.name}" for part in parts}
        gone = [name for name in output.parts_of(place) if name not in names]
        stale = [path for name in gone for path in output.own_files(name)]
        output.refuse_mixture(stale)

        def attempt(part: Part) -> tuple[list[Path], bool]:
            name = f"{place}{PART}{part.name}"
            done = output.done(name, made_from)
            return (done, False) if done is not None else (output.commit(name, made_from, part.make()), True)

        reasons: list[str] = []
        with_files = 0
        for _, result, reason in attempt_all(parts, attempt, tell):
            if result is None:
                reasons.append(reason)
                if len(reasons) == _MAX_FAILED:
                    break
            else:
                _count(summary, *result)
                with_files += bool(result[0])
    if reasons:
        more = f" ({len(reasons)} of its parts failed)" if len(reasons) > 1 else ""
        raise DataError(f"{reasons[0]}{more}")
    if not with_files:
        raise DataError(f"all of its {len(parts)} parts are empty: see whether it is what it should be")
    for path in stale:
        path.unlink(missing_ok=True)
    output.commit(place, made_from, {})


def _count(summary: Summary, paths: list[Path], new: bool) -> None:
    summary.add(paths, new)
    summary.details["parts"] += 1
    summary.details["left_out"] += not paths


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


Attempted = tuple[Source, tuple[list[Path], bool] | None, str]
"""A source, its files and whether they are new, or None and why it failed."""

Attempts = Callable[[Sequence[Source], Making, Progress | None], Iterable[Attempted]]
"""Makes the files of all sources, in their order, as `attempt_all` does."""

_attempts: ContextVar[Attempts] = ContextVar("attempts", default=attempt_all)


@contextmanager
def attempted_by(attempts: Attempts) -> Iterator[None]:
    """Within, what makes the files of all sources is this, such as a cluster, and not the threads of this process."""
    token = _attempts.set(attempts)
    try:
        yield
    finally:
        _attempts.reset(token)
