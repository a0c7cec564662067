"""Folders and image files that lie elsewhere than on a disk of this machine, as paths are used.

The names below an address are listed once; what is a folder and what lies in it follows from them. A file that is
handed to a dataset knows no more than its address, so that it can be sent to a process that reads it.
"""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath

from translatekit.storage import Source, open_source
from translatekit.storage.archives import Archive


class Stored(ABC):
    """An image file that lies in a store, an archive or a shard.

    Attributes:
        stamp: changes when its contents do.
    """

    __slots__ = ("stamp",)

    stamp: str

    @property
    @abstractmethod
    def address(self) -> str:
        """Tells it from all others; known without reading it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Without the folders."""

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """What its name ends in, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    @abstractmethod
    def parent(self) -> str:
        """The address of what it lies in."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Its contents.

        Raises:
            StorageError: it cannot be read.
        """


class StoredFile(Stored):
    """A file of a source.

    Args:
        source: where it lies.
        relative: its name there, with folders.
        stamp: changes when its contents do.
    """

    __slots__ = ("relative", "source")

    def __init__(self, source: Source, relative: str, stamp: str = "") -> None:
        self.source, self.relative, self.stamp = source, relative, stamp

    @property
    def address(self) -> str:
        """Where it lies."""
        return self.source.uri_of(self.relative)

    @property
    def name(self) -> str:
        """Without the folders."""
        return self.relative.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The address of its folder."""
        return self.address.rpartition("/")[0]

    def read_bytes(self) -> bytes:
        """Its contents."""
        return self.source.read(self.relative)

    def __str__(self) -> str:
        return self.address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredFile) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)


class Listing:
    """What lies in a source, asked for once, when it is first needed.

    Args:
        source: the place.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    @cached_property
    def stamps(self) -> dict[str, str]:
        """The stamps of all objects by name, in the order of the names."""
        return {item.name: item.stamp for item in sorted(self.source.list(), key=lambda item: item.name)}

    @cached_property
    def names(self) -> list[str]:
        """Their names, sorted."""
        return list(self.stamps)

    def below(self, folder: str) -> list[str]:
        """The names that begin with this, which ends in a slash or is empty."""
        first = bisect.bisect_left(self.names, folder)
        last = (
            bisect.bisect_left(self.names, folder[:-1] + "0") if folder else len(self.names)
        )  # "0" follows "/"
        return self.names[first:last]


class StoredPath:
    """What is at a name in a listing: a folder, a file or nothing. It does what `pathlib.Path` does by these names.

    Args:
        listing: of the source.
        relative: the name there, with folders; empty for the source itself.
    """

    def __init__(self, listing: Listing, relative: str = "") -> None:
        self._listing, self.relative = listing, relative

    @property
    def source(self) -> Source:
        """Where it lies."""
        return self._listing.source

    @property
    def name(self) -> str:
        """The last part."""
        return (self.relative or self.source.uri).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """What the name ends in, with the dot."""
        return PurePosixPath(self.name).suffix

    def __str__(self) -> str:
        return self.source.uri_of(self.relative) if self.relative else self.source.uri

    def __truediv__(self, name: str) -> StoredPath:
        return StoredPath(self._listing, f"{self.relative}/{name}" if self.relative else name)

    def is_file(self) -> bool:
        """Whether it is a file; known without a listing."""
        return bool(self.relative) and self.source.stat(self.relative) is not None

    def is_dir(self) -> bool:
        """Whether files lie below it."""
        return bool(self._listing.below(self._prefix))

    def exists(self) -> bool:
        """Whether there is a file or folder of the name."""
        return self.is_dir() or self.relative in self._listing.stamps

    def iterdir(self) -> Iterator[StoredPath]:
        """What lies in the folder."""
        start = len(self._prefix)
        found = dict.fromkeys(name[start:].partition("/")[0] for name in self._listing.below(self._prefix))
        return (self / name for name in found)

    def glob(self, pattern: str) -> Iterator[StoredPath]:
        """What lies in the folder and has a name of the pattern."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    def files(self, recursive: bool = True) -> Iterator[StoredFile]:
        """The files below the folder, in the order of their names; those in hidden folders left out."""
        for name in self._listing.below(self._prefix):
            *folders, _ = name[len(self._prefix) :].split("/")
            if not any(folder.startswith((".", "__MACOSX")) for folder in folders) and (
                recursive or not folders
            ):
                yield StoredFile(self.source, name, self._listing.stamps[name])

    def read_bytes(self) -> bytes:
        """The contents of the file.

        Raises:
            StorageError: it cannot be read.
        """
        return self.source.read(self.relative)

    @property
    def _prefix(self) -> str:
        return f"{self.relative}/" if self.relative else ""


Place = Path | StoredPath
"""A folder of images, wherever it is."""


def place_of(root: str | Path) -> Place:
    """A folder, an archive, or an address.

    Raises:
        StorageError: there is no such kind of address.
        PluginError: the library for it is not installed.
    """
    source = open_source(root)
    if source.path is not None:
        return source.path
    place = StoredPath(Listing(source))
    return _unpacked(place) if isinstance(source, Archive) else place


def _unpacked(archive: StoredPath) -> StoredPath:
    """The folder that an archive was made of, where that alone lies in it."""
    inside = list(archive.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name not in _PARTS:
        return inside[0]
    return archive


_PARTS = frozenset({"train", "val", "test", "A", "B"})


def name_below(path: Path | Stored, folder: Place) -> str:
    """The name of a file below a folder, with forward slashes."""
    if isinstance(path, StoredFile):
        assert isinstance(folder, StoredPath)
        return path.relative[len(folder.relative) + 1 if folder.relative else 0 :]
    assert isinstance(folder, Path)
    assert isinstance(path, Path)
    return path.relative_to(folder).as_posix()
