"""What a place is that holds objects by name: one that is read, and one that is written too."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from translatekit.errors import StorageError
from translatekit.storage.uris import joined

if TYPE_CHECKING:
    from translatekit.storage.logs import AppendLog


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a place.

    Attributes:
        name: below the place, with forward slashes.
        size: in bytes; None where the store does not say.
        stamp: changes when the content does: the store's entity tag, ``"size-mtime"`` of a local file; "" where there
            is none.
    """

    name: str
    size: int | None
    stamp: str


class Source(ABC):
    """A place that is read: a folder, a prefix in a bucket, an archive, one file.

    It can be pickled, and used by several threads and processes at once.

    Attributes:
        uri: its address or path, as people may see it: no password, no signature.
        path: the local folder or file; None elsewhere.
    """

    uri: str
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether its objects are files of this machine."""
        return self.path is not None

    def uri_of(self, item: Item | str) -> str:
        """The address of an object, as people may see it."""
        return joined(self.uri, item.name if isinstance(item, Item) else item)

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Item]:
        """All objects at any depth, as the store lists them: the first comes before the last is known.

        Sorted by name within what the store gives at once. Temporary files of translatekit are left out.

        Args:
            prefix: only those whose names begin with this.

        Raises:
            StorageError: the place cannot be listed.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """All bytes of one object; tried again where the store fails for a moment.

        Raises:
            StorageError: it is not there or cannot be read.
        """

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """The bytes of one object from `start` to before `end`.

        Raises:
            StorageError: it is not there, cannot be read, or ends before.
        """
        with self.open(name) as file:
            file.seek(start)
            data = file.read(end - start)
        if len(data) != end - start:
            raise StorageError(f"{self.uri_of(name)} ends before byte {end}: copy it again")
        return data

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """One object as a file in which can be sought; elsewhere than locally, it is read by range, as it is needed.

        Raises:
            StorageError: it is not there or cannot be read; from its methods, too.
        """

    @abstractmethod
    def stat(self, name: str) -> Item | None:
        """What is known of one object without reading it; None where there is none.

        Raises:
            StorageError: the store cannot be asked.
        """


class Sink(Source):
    """A place that is written, too."""

    @abstractmethod
    def commit(self, name: str, data: bytes | BinaryIO | Path) -> Item:
        """Write one object, whole or not at all; an older one of the name is replaced.

        Args:
            name: below the place, with forward slashes.
            data: its bytes, a file to read to its end, or the path of one.

        Raises:
            StorageError: it cannot be written; nothing is left behind.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove one object; nothing happens where there is none.

        Raises:
            StorageError: it cannot be removed.
        """

    @abstractmethod
    def append_log(self, name: str) -> AppendLog:
        """A journal that one writer owns: records are appended to what an earlier run wrote there.

        Args:
            name: ends in ``.jsonl``.

        Raises:
            StorageError: it cannot be written.
        """

    @abstractmethod
    def read_log(self, name: str) -> Iterator[dict[str, Any]]:
        """The records of a journal, one after the other; none where there is no such journal.

        A line that was cut off when its writer was killed is left out.

        Raises:
            StorageError: it cannot be read.
        """


def checked_name(name: str, place: str) -> str:
    """The name of an object, which stays below its place.

    Raises:
        StorageError: it is empty, absolute, or leads out of the place.
    """
    parts = name.split("/")
    foreign = os.name == "nt" and ("\\" in name or ":" in name)
    if {"", ".", ".."} & set(parts) or "\0" in name or foreign:
        raise StorageError(f"{name!r} is no name of a file below {place}: rename it where it comes from")
    return name
