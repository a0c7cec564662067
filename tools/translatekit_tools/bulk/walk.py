"""The images and videos below folders of this machine, folder by folder."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from translatekit_tools.bulk.manifest import Manifest, is_manifest
from translatekit_tools.bulk.naming import NO_IMAGES, Names


class LeftOut:
    """What is left out of folders, counted.

    Args:
        tells_apart: whether the same file may be come upon twice, which counts once; else no name is kept.
    """

    def __init__(self, tells_apart: bool = True) -> None:
        self._unread: Counter[str] = Counter()
        self._earlier = 0
        self._places: set[str] | None = set() if tells_apart else None
        self._place_of = Places().of

    def add_unread(self, path: str | Path, suffix: str) -> None:
        """A file that nothing reads, and that is no hidden file, side-car or note either."""
        if self._is_new(path):
            self._unread[suffix.lower()] += 1

    def add_earlier(self, path: str | Path) -> None:
        """A file that an earlier run has written."""
        if self._is_new(path):
            self._earlier += 1

    def _is_new(self, path: str | Path) -> bool:
        if self._places is None:
            return True
        before = len(self._places)
        self._places.add(self._place_of(path))
        return len(self._places) > before

    @property
    def unread(self) -> dict[str, int]:
        """How many files nothing reads, by suffix (in lower case, with the dot; or empty), the most frequent first."""
        return dict(sorted(self._unread.items(), key=lambda item: (-item[1], item[0] == "", item[0])))

    def describe(self) -> str:
        """What nothing reads, such as ``3 .psd, 1 .svg``."""
        return ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in self.unread.items())

    def notes(self) -> Iterator[str]:
        """What a user should know of it, a sentence each."""
        if self._unread:
            yield f"Left out {self.describe()}: not images or videos that can be read."
        if self._earlier:
            yield f"Left out {self._earlier} that an earlier run has written."


@dataclass(slots=True)
class Listed:
    """One folder.

    Attributes:
        path: of it.
        names: of the images and videos in it, sorted, but for those of a series.
        is_series: whether it is, beside them, one image itself.
    """

    path: Path
    names: list[str]
    is_series: bool = False


@dataclass(slots=True)
class _Entries:
    names: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    has_manifest: bool = False


class Walk:
    """Walks folders, and enters each once, by whatever names and links it is come upon.

    Args:
        out: the folder of the outputs, which is not entered from outside.
        names: tell what can be read.
        left_out: told of what is left out.
    """

    def __init__(self, out: Path | None, names: Names, left_out: LeftOut) -> None:
        self._out, self._names, self._left_out = out, names, left_out
        self._entered: set[tuple[int, int]] = set()

    def folders(self, root: Path, problems: list[OSError]) -> Iterator[Listed]:
        """The folders below one, and it itself, each before those in it, sorted by name.

        Links to folders come after all folders that are there by themselves, which keep their own names. Of a folder,
        the names are in memory while it is gone through, and of the others those of their subfolders.

        Args:
            root: the folder.
            problems: given what cannot be listed.
        """
        not_in = None if self._out is None or is_within(root, self._out) else os.path.realpath(self._out)
        earlier: dict[Path, Manifest] = {}  # of earlier runs, by folder
        roots = deque([root])
        while roots:
            pending = [roots.popleft()]
            while pending:
                path = pending.pop()
                try:
                    if not self._enter(path, not_in):
                        continue
                    entries = self._entries(path)
                except OSError as error:
                    problems.append(error)
                    continue
                roots += entries.links
                pending += reversed(entries.folders)
                if entries.has_manifest:
                    earlier[path] = Manifest(path)
                listed = self._with_series(path, entries.names)
                if earlier:
                    self._leave_out_earlier(listed, root, earlier)
                yield listed

    def readable(self, paths: Iterable[Path]) -> Iterator[Path]:
        """The images and videos among some paths."""
        for path in paths:
            if self._is_readable(path.name, path, path.is_file(), path.is_symlink()):
                yield path

    def _enter(self, path: Path, not_in: str | None) -> bool:
        """Whether a folder was not entered before: a link may lead back to where it is."""
        status = path.stat()
        place = (status.st_dev, status.st_ino)
        if place in self._entered or (not_in is not None and is_within(path, not_in)):
            return False
        self._entered.add(place)
        return True

    def _entries(self, path: Path) -> _Entries:
        made = _Entries()
        with os.scandir(path) as found:
            for entry in found:
                name, is_link = entry.name, entry.is_symlink()
                at: os.DirEntry[str] | Path = (
                    Path(entry.path) if is_link else entry
                )  # a link may lead nowhere
                if name.startswith("."):
                    made.has_manifest |= is_manifest(name)
                elif at.is_dir():
                    (made.links if is_link else made.folders).append(path / name)
                elif self._is_readable(name, entry.path, at.is_file(), is_link):
                    made.names.append(name)
        made.names.sort()
        made.folders.sort()
        made.links.sort()
        return made

    def _is_readable(self, name: str, path: str | Path, is_file: bool, is_link: bool) -> bool:
        """By the name; pipes and the like are not, a broken link is one that cannot be read."""
        if name.startswith(".") or not (is_file or is_link):
            return False
        suffix = self._names.suffix(name)
        if self._names.kind(suffix).is_readable:
            return True
        if is_file and suffix.lower() not in NO_IMAGES:
            self._left_out.add_unread(path, suffix)
        return False

    def _with_series(self, path: Path, names: list[str]) -> Listed:
        """The files of one folder; those of a series are one, which is the folder itself."""
        names_of = self._names
        slices = [name for name in names if names_of.kind(names_of.suffix(name)).is_slice]
        if len(slices) < 2 or _are_apart([path / name for name in slices]):
            return Listed(path, names)
        of_series = set(slices)
        return Listed(path, [name for name in names if name not in of_series], is_series=True)

    def _leave_out_earlier(self, listed: Listed, root: Path, earlier: dict[Path, Manifest]) -> None:
        """What earlier runs have written into the folder, or into those that it is in."""
        manifests = [(at, earlier[at]) for at in (listed.path, *listed.path.parents) if at in earlier]

        def is_output(path: Path) -> bool:
            sources = ((at, manifest.source_of(path)) for at, manifest in manifests)
            # A folder of outputs may be translated in its turn; what lies beside its own source is no input of it.
            return any(
                source is not None and (at != root or is_within(source, root)) for at, source in sources
            )

        if not manifests:
            return
        outputs = [name for name in listed.names if is_output(listed.path / name)]
        for name in outputs:
            self._left_out.add_earlier(listed.path / name)
        if outputs:
            written = set(outputs)
            listed.names = [name for name in listed.names if name not in written]
        if listed.is_series and is_output(listed.path):
            self._left_out.add_earlier(listed.path)
            listed.is_series = False


def _are_apart(slices: list[Path]) -> bool:
    """Whether DICOM files are images of their own, as radiographs are, and no slices of one volume."""
    try:
        from translatekit.images.dicom import are_apart

        return are_apart(slices)
    except Exception:  # pydicom raises nearly anything on damaged files, and may not be installed
        return False  # whoever reads them says what is wrong


def is_within(path: Path, folder: Path | str) -> bool:
    """Whether a path is a folder or lies below it, links resolved."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


class Places:
    """Which directory entries paths mean: links in their folders are resolved, once each, but not they themselves."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str | Path) -> str:
        """That of a path."""
        parent, name = os.path.split(path)
        if (real := self._folders.get(parent)) is None:
            real = self._folders[parent] = os.path.realpath(parent)
        return os.path.join(real, name)  # noqa: PTH118


def place_of(path: str | Path) -> str:
    """Which directory entry a path means."""
    return Places().of(path)
