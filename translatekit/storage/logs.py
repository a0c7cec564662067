"""Journals: JSON objects, one a line, that are only ever appended to, and that one writer owns."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from translatekit.storage.files import write_error

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)

ROWS, SECONDS = 1000, 10.0
"""How many records, and how long, wait before an object store is given a segment of a journal."""


class AppendLog:
    """A journal that is being written.

    A local one is written record by record. An object cannot be appended to, so that an object store is given a
    segment for some records at a time: a killed writer loses what it appended since the last one.

    Args:
        write: appends lines, complete with their line ends.
        rows, seconds: how many records, and how long, wait to be written together.
    """

    def __init__(self, write: Callable[[bytes], None], *, rows: int = 1, seconds: float = 0.0) -> None:
        self._write = write
        self._rows = rows
        self._seconds = seconds
        self._waiting: list[bytes] = []
        self._since = 0.0
        self._lock = threading.Lock()

    def append(self, record: dict[str, Any]) -> None:
        """Add a record, and write what waits where it is time.

        Raises:
            StorageError: it cannot be written.
        """
        line = json.dumps(record).encode() + b"\n"
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append(line)
            if len(self._waiting) >= self._rows or time.monotonic() - self._since >= self._seconds:
                self._flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            StorageError: it cannot be written; it goes on waiting.
        """
        with self._lock:
            self._flush()

    close = flush

    def _flush(self) -> None:
        if self._waiting:
            self._write(b"".join(self._waiting))
            self._waiting.clear()

    def __enter__(self) -> AppendLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def local_writer(path: Path) -> Callable[[bytes], None]:
    """Appends to a file; behind a line that was cut off, it starts anew."""
    torn = ends_torn(path)

    def write(lines: bytes) -> None:
        nonlocal torn
        try:
            file = os.open(path, _APPEND, 0o666)  # every time: somebody may have removed it
            try:
                data = b"\n" + lines if torn else lines
                torn = True
                if os.write(file, data) == len(data):
                    torn = False
                    return
            finally:
                os.close(file)
            raise OSError(
                28, "No space left on device"
            )  # only a disk that ran full writes less than it is given
        except OSError as error:
            raise write_error(error, path) from None

    return write


def ends_torn(path: Path) -> bool:
    """Whether a file's last line was cut off."""
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except OSError:
        return False


def records_of(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The records of a journal's lines, without those that were cut off."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
