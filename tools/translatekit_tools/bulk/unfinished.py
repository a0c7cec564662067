"""Which files were in progress when a run ended abruptly: killed, out of memory, crashed."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

from translatekit.errors import DataError, StorageError
from translatekit.storage import AppendLog
from translatekit.storage.logs import local_writer, records_of

JOURNAL_NAME = ".translatekit-unfinished.jsonl"

MAX_ATTEMPTS = 3
"""A file that was in progress in so many runs that ended abruptly is not tried again."""


class Unfinished:
    """A journal in an output folder: a line when a file is started, a line when it is finished; gone when the run ends.

    It is a help and no promise: where it cannot be written, the run goes on without.

    Attributes:
        attempts: how many times each file was in progress when a run ended, by the name it was started by.
    """

    def __init__(self, folder: Path, name: str = JOURNAL_NAME) -> None:
        """Read what earlier runs have left.

        Args:
            folder: that it lies in.
            name: of its file; each of several writers has its own.

        Raises:
            DataError: it is there and cannot be read.
        """
        self._path = folder / name
        self._log = AppendLog(local_writer(self._path))
        self.attempts: Counter[str] = Counter()
        self._is_open = False
        try:
            with self._path.open("rb") as file:
                for record in records_of(file):
                    if isinstance(started := record.get("started"), str):
                        self.attempts[started] += 1
                    elif isinstance(finished := record.get("finished"), str):
                        del self.attempts[finished]
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise DataError(
                f"{self._path} cannot be read ({error.strerror}): mend or delete it, or choose another folder with -o"
            ) from None
        self._left = Counter(self.attempts)

    def start(self, name: str) -> None:
        """A file is started."""
        self._note("started", name)

    def finish(self, name: str) -> None:
        """A file that was started is finished, well or not."""
        del self._left[name]
        self._note("finished", name)

    def _note(self, what: str, name: str) -> None:
        with contextlib.suppress(OSError, StorageError):
            if not self._is_open:  # what is about to be written makes the folder, and comes later
                self._path.parent.mkdir(parents=True, exist_ok=True)
            self._log.append({what: name})
            self._is_open = True

    def close(self) -> None:
        """The run ends and knows it; only what earlier runs have left, and this one has not finished, is kept."""
        with contextlib.suppress(OSError, StorageError):
            if self._is_open or (self.attempts and not self._left):
                self._path.unlink(missing_ok=True)
                for name in self._left.elements():
                    self._log.append({"started": name})
