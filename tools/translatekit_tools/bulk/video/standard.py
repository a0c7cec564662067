"""Standard input and output, as PyAV reads and writes files."""

from __future__ import annotations

import os
import select
import sys
import threading

_POLL_SECONDS = 0.2  # seconds between looks at whether anybody still waits for the input

_peeked = b""


def peek_input(size: int) -> bytes:
    """The first bytes of standard input, or all where there are fewer; the next `StandardInput` reads them again."""
    global _peeked
    file = sys.stdin.buffer.fileno()
    while len(_peeked) < size and (data := os.read(file, size - len(_peeked))):
        _peeked += data
    return _peeked


class StandardInput:
    """Standard input as PyAV reads a file; a read that waits ends when it is closed.

    Attributes:
        failure: what ended a read, such as Ctrl-C: FFmpeg may take that for the end of the input.
    """

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self._file = sys.stdin.buffer.fileno()
        self._closed = threading.Event()

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        global _peeked
        if _peeked:
            data, _peeked = _peeked[:size], _peeked[size:]
            return data
        try:
            while not self._closed.is_set():
                if not hasattr(select, "poll") or select.select([self._file], [], [], _POLL_SECONDS)[0]:
                    return os.read(self._file, size)
        except BaseException as error:
            self.failure = error
            self.close()
            raise
        return b""

    def close(self) -> None:
        """Let whoever reads go on."""
        self._closed.set()


class StandardOutput:
    """Standard output as PyAV writes a file: it cannot be sought in.

    Attributes:
        failure: why a write failed, which PyAV does not hand on.
    """

    def __init__(self) -> None:
        self.failure: OSError | None = None
        sys.stdout.flush()
        self._file = sys.stdout.buffer.fileno()

    def write(self, data: bytes) -> int:
        """Write all of it."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self.failure = error
            raise
        return len(data)
