"""An object of a store as a file: read by range, block by block, and sought in."""

from __future__ import annotations

import io
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

BLOCK = 2**22
"""Bytes that are read at once."""

BLOCKS = 8
"""How many blocks are kept: a container is read in a few places in turn."""


class Ranged(Protocol):
    """What gives the bytes of an object from `start` to before `end`."""

    def get(self, path: str, start: int, end: int) -> bytes: ...  # noqa: D102


class RangeFile(io.RawIOBase):
    """A file whose blocks are fetched when they are read, and the next one while they are.

    Args:
        store: holds it.
        path: in the store.
        size: in bytes.
    """

    def __init__(self, store: Ranged, path: str, size: int) -> None:
        self._store = store
        self._path = path
        self._size = size
        self._at = 0
        self._last = -1
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="translatekit-range")

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Choose where the next byte is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"there is no place {base + offset} in a file")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as the block goes that the file is at."""
        if self._at >= self._size:
            return 0
        number, start = divmod(self._at, BLOCK)
        wanted = self._fetching(number)
        if number == self._last + 1 and (number + 1) * BLOCK < self._size:  # read one after the other
            self._fetching(number + 1)
        self._last = number
        try:
            data = wanted.result()
        except BaseException:
            self._blocks.pop(number, None)  # it may be read another time
            raise
        data = data[start : start + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _fetching(self, number: int) -> Future[bytes]:
        if number not in self._blocks:
            start, end = number * BLOCK, min((number + 1) * BLOCK, self._size)
            self._blocks[number] = self._pool.submit(self._store.get, self._path, start, end)
        self._blocks.move_to_end(number)
        while len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return self._blocks[number]

    def close(self) -> None:
        """Drop what was fetched."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._blocks.clear()
        super().close()
