"""Objects of a store below an address: a prefix in a bucket, or one object."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

from translatekit.errors import StorageError
from translatekit.storage.files import TEMPORARY
from translatekit.storage.logs import ROWS, SECONDS, AppendLog, records_of
from translatekit.storage.places import Item, Sink, checked_name
from translatekit.storage.ranges import BLOCK, RangeFile
from translatekit.storage.stores.base import SINGLE
from translatekit.storage.stores.known import store_of
from translatekit.storage.uris import joined, shown, without_slash


class ObjectPlace(Sink):
    """What a store holds below an address.

    Args:
        uri: the address; one that ends in a slash is a folder for certain.
        writable: it is to be written to.

    Raises:
        StorageError: there is no such kind of address.
        PluginError: its library is not installed.
    """

    def __init__(self, uri: str, *, writable: bool = False) -> None:
        self.uri = shown(without_slash(uri))
        self._store, self._root = store_of(uri)
        self._is_folder = writable or uri.endswith("/") or "/" not in self._root

    @cached_property
    def _single(self) -> Item | None:
        """The object that the address itself names; None where it is a folder's."""
        if self._is_folder:
            return None
        item = self._store.stat(self._root)
        return None if item is None else Item(self._root.rpartition("/")[2], item.size, item.stamp)

    @property
    def _base(self) -> str:
        """The path that names are below."""
        return self._root if self._single is None else self._root.rpartition("/")[0]

    def uri_of(self, item: Item | str) -> str:
        """The address of an object."""
        name = item.name if isinstance(item, Item) else item
        return self.uri if self._single is not None else joined(self.uri, name)

    def list(self, prefix: str = "") -> Iterator[Item]:
        """All objects, page by page."""
        if self._single is not None:
            if self._single.name.startswith(prefix):
                yield self._single
            return
        base = f"{self._base}/"
        for item in self._store.items(base + prefix):
            name = item.name[len(base) :]
            if name and not name.endswith("/") and not fnmatch(name.rpartition("/")[2], TEMPORARY):
                yield Item(name, item.size, item.stamp)

    def read(self, name: str) -> bytes:
        """All bytes of an object, by one request."""
        return self._store.get(self._path_of(name))

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """A part of an object, by one request."""
        return self._store.get(self._path_of(name), start, end)

    def open(self, name: str) -> BinaryIO:
        """An object, read by ranges of 4 MiB, of which the last eight are kept."""
        item = self.stat(name)
        if item is None:
            raise StorageError(f"there is no {self.uri_of(name)}: check the address")
        if item.size is None:  # a server that says no length gives no ranges either
            return io.BytesIO(self.read(name))
        file = RangeFile(self._store, self._path_of(name), item.size)
        return cast("BinaryIO", io.BufferedReader(file, min(BLOCK, 2**16)))

    def stat(self, name: str) -> Item | None:
        """An object, by one request."""
        found = self._store.stat(self._path_of(name))
        return None if found is None else Item(name, found.size, found.stamp)

    def commit(self, name: str, data: bytes | BinaryIO | Path) -> Item:
        """Write an object by one request, or in parts that become it when the last is there."""
        path = self._path_of(checked_name(name, self.uri))
        if isinstance(data, bytes):
            size = len(data)
            stamp = (
                self._store.put(path, data)
                if size <= SINGLE
                else self._store.upload(path, io.BytesIO(data), size)
            )
        elif isinstance(data, Path):
            try:
                with data.open("rb") as file:
                    return self.commit(name, file)
            except OSError as error:
                raise StorageError(
                    f"{data} cannot be read ({error.strerror}): check the path and its permissions"
                ) from None
        elif not data.seekable():  # a store wants to know the size first
            with tempfile.TemporaryFile() as spooled:
                shutil.copyfileobj(data, spooled)
                spooled.seek(0)
                return self.commit(name, cast("BinaryIO", spooled))
        else:
            start = data.tell()
            size = data.seek(0, os.SEEK_END) - start
            data.seek(start)
            if size <= SINGLE:
                return self.commit(name, data.read())
            stamp = self._store.upload(path, data, size)
        if stamp is not None:
            return Item(name, size, stamp)
        item = self.stat(name)
        if item is None:
            raise StorageError(
                f"{self.uri_of(name)} was written and is not there: check who else removes objects"
            )
        return item

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._store.delete(self._path_of(checked_name(name, self.uri)))

    def append_log(self, name: str) -> AppendLog:
        """Segments, ``name.0001.jsonl`` and so on, one for each thousand records or ten seconds."""
        stem, _, suffix = checked_name(name, self.uri).rpartition(".")
        number = max((_number(item.name, stem, suffix) for item in self._segments(name)), default=0)

        def write(lines: bytes) -> None:
            nonlocal number
            self.commit(f"{stem}.{number + 1:04d}.{suffix}", lines)
            number += 1

        return AppendLog(write, rows=ROWS, seconds=SECONDS)

    def read_log(self, name: str) -> Iterator[dict[str, Any]]:
        """The records of all segments, in order."""
        stem, _, suffix = name.rpartition(".")
        for item in sorted(self._segments(name), key=lambda item: _number(item.name, stem, suffix)):
            yield from records_of(self.read(item.name).splitlines())

    def _segments(self, name: str) -> Iterator[Item]:
        stem, _, suffix = name.rpartition(".")
        return (item for item in self.list(f"{stem}.") if _number(item.name, stem, suffix))

    def _path_of(self, name: str) -> str:
        return f"{self._base}/{name}"


def _number(name: str, stem: str, suffix: str) -> int:
    """Which segment of a journal a name is; 0 where it is none."""
    middle = name[len(stem) + 1 : -len(suffix) - 1]
    return int(middle) if name == f"{stem}.{middle}.{suffix}" and middle.isdecimal() else 0
