"""A file of JSON objects, one a line, that is only ever appended to."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

from translatekit.errors import DataError


class Journal:
    """What has been done, so that a rerun does only what is missing.

    A line that was cut off when a run was killed is ignored, and later lines start anew.

    Args:
        path: the file; it is made at the first `append`.

    Attributes:
        records: the objects that the file held when it was opened.

    Raises:
        DataError: the file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            data = b""
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): mend or delete it, or choose another folder with -o"
            ) from None
        self._torn = bool(data) and not data.endswith(b"\n")
        for line in data.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                self.records.append(record)

    def append(self, record: dict[str, Any]) -> None:
        """Write one object as a line.

        Raises:
            OSError: it cannot be written.
        """
        line = json.dumps(record).encode() + b"\n"
        with self._lock, self.path.open("ab", buffering=0) as file:
            if self._torn:
                line = b"\n" + line
            self._torn = True
            if file.write(line) == len(line):
                self._torn = False
            else:  # only a disk that ran full writes less than it was given
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
