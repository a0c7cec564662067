"""What is asked of a store, and how any file system of fsspec answers."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from translatekit.requirements import require
from translatekit.storage.places import Item
from translatekit.storage.retries import Remedies, ShortReadError, attempt
from translatekit.storage.uris import shown

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PART = 2**24
"""Bytes of a part of an object that is written in several."""

SINGLE = 2**26
"""Up to so many bytes, an object is written by one request."""

T = TypeVar("T")

_connected: list[AbstractFileSystem] = []
"""What a process has connected. A process that is forked inherits it and must not close it, which would take the
connections out of the event loop that both share, and leave the parent waiting for answers for ever."""


class Store:
    """Requests to one kind of store. A path is an address without its scheme: ``bucket/photos/1.png``.

    Each method that asks the store does so through `attempt`, which tries again and words errors. Subclasses replace
    what fsspec does with more requests than are needed, or with all names in memory.

    Args:
        scheme: of its addresses.
        options: of the file system of fsspec.
    """

    requirements: tuple[str, ...] = ("fsspec=translatekit[s3]",)
    remedies = Remedies(credentials="set them as its library expects")

    def __init__(self, scheme: str, **options: Any) -> None:
        require(f"an address that begins with {scheme}://", self.requirements)
        self.scheme = scheme
        self._options = options
        self._system: tuple[int, AbstractFileSystem] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (type(self), self.scheme, self._options)

    @property
    def system(self) -> AbstractFileSystem:
        """The file system of fsspec, made by each process for itself: its connections cannot be shared."""
        with self._lock:
            if self._system is None or self._system[0] != os.getpid():
                self._system = os.getpid(), self.connect()
                _connected.append(self._system[1])
            return self._system[1]

    def connect(self) -> AbstractFileSystem:
        """A new file system that keeps no listings, since others may write what is listed."""
        import fsspec

        system: AbstractFileSystem = fsspec.filesystem(self.scheme, use_listings_cache=False, **self._options)
        return system

    def attempt(self, call: Callable[[], T], path: str, doing: str) -> T:
        """What `call` returns, tried again and its errors worded."""
        return attempt(call, shown(f"{self.scheme}://{path}"), doing, self.remedies)

    def items(self, prefix: str) -> Iterator[Item]:
        """All objects whose paths begin with `prefix`, as they are listed; their names are whole paths."""
        pending = [prefix.rpartition("/")[0]]
        while pending:
            folder = pending.pop()
            entries = self.attempt(partial(self._entries, folder), folder, "listed")
            names = [entry["name"].strip("/") + "/" for entry in entries if entry["type"] == "directory"]
            pending += [
                name[:-1] for name in reversed(names) if name.startswith(prefix) or prefix.startswith(name)
            ]
            files = (self.item_of(entry) for entry in entries if entry["type"] == "file")
            yield from (item for item in files if item.name.startswith(prefix))

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        try:
            return sorted(self.system.ls(folder, detail=True), key=lambda entry: entry["name"])
        except FileNotFoundError:
            return []

    def item_of(self, info: dict[str, Any]) -> Item:
        """An item of what fsspec says of a file."""
        known = (
            info.get(name)
            for name in ("ETag", "etag", "generation", "xet_hash", "blob_id", "mtime", "created")
        )
        stamp = next((value for value in known if value), "")
        if isinstance(stamp, datetime):
            stamp = stamp.timestamp()
        return Item(info["name"].lstrip("/"), info.get("size"), str(stamp).strip('"'))

    def stat(self, path: str) -> Item | None:
        """An object, without reading it; None where there is none."""
        return self.attempt(lambda: self._stat(path), path, "read")

    def _stat(self, path: str) -> Item | None:
        try:
            info = self.system.info(path)
        except FileNotFoundError:
            return None
        return self.item_of(info) if info["type"] == "file" else None

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of an object, or those from `start` to before `end`."""

        def call() -> bytes:
            data: bytes = self.system.cat_file(path, start=start, end=end)
            if start is not None and end is not None and len(data) != end - start:
                raise ShortReadError(f"{len(data)} bytes came instead of {end - start}")
            return data

        return self.attempt(call, path, "read")

    def put(self, path: str, data: bytes) -> str | None:
        """Write an object by one request, whole or not at all; its stamp, where the answer says it."""
        self.attempt(lambda: self.system.pipe_file(path, data), path, "written")
        return None

    def upload(self, path: str, file: BinaryIO, size: int) -> str | None:
        """Write a large object in parts; it is there when the last one is. Its stamp, where the answer says it."""
        return self.put(path, file.read())

    def delete(self, path: str) -> None:
        """Remove an object, or nothing."""

        def call() -> None:
            try:
                self.system.rm_file(path)
            except FileNotFoundError:
                return

        self.attempt(call, path, "removed")


def part_size(size: int, max_parts: int) -> int:
    """Bytes of each part of an object, so that there are no more parts than a store takes."""
    smallest = -(-size // max_parts)
    return PART if smallest <= PART else -(-smallest // 2**18) * 2**18  # Google's are multiples of 256 KiB


def parts_of(file: BinaryIO, size: int) -> Iterator[bytes]:
    """What is left of a file, in parts of one size, the last shorter."""
    while part := file.read(size):
        yield part


def upload_parts(upload: Callable[[int, bytes], T], parts: Iterable[bytes]) -> list[T]:
    """What `upload` returns for each part and its number from 1 on; four are under way, so that memory is bounded."""
    with ThreadPoolExecutor(4, thread_name_prefix="translatekit-upload") as pool:
        under_way: deque[Future[T]] = deque()
        done = []
        for number, part in enumerate(parts, start=1):
            if len(under_way) == 4:
                done.append(under_way.popleft().result())
            under_way.append(pool.submit(upload, number, part))
        return done + [future.result() for future in under_way]


def _made(kind: type[Store], scheme: str, options: dict[str, Any]) -> Store:
    return kind(scheme, **options)
