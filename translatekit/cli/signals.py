"""Stopping a command from outside: Ctrl-C, SIGTERM and a terminal that closes are one thing to it."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from translatekit.errors import Stopped


@contextlib.contextmanager
def stops_on_signals() -> Iterator[None]:
    """Within, the first SIGINT, SIGTERM or SIGHUP raises `Stopped` in the main thread; the second ends the process.

    A signal that whoever started the program ignores (``nohup``, a shell's background job) stays ignored. Where this
    is not the main thread, nothing changes.
    """
    stopped = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            _end_at_once(number)
        stopped = True
        _say("Stopping when what has begun is finished; a second time stops at once.\n")
        raise Stopped(number)

    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {}
    with contextlib.suppress(ValueError):  # not the main thread
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_line() -> str:
    """The command that started this program, to be typed again."""
    program = sys.argv[0]
    if Path(program).name == "__main__.py":
        words = [sys.executable, "-m", "translatekit"]
    else:
        name = Path(program).name
        words = [name if shutil.which(name) == program else program]
    return shlex.join([*words, *sys.argv[1:]])


def _end_at_once(number: int) -> NoReturn:
    """Without waiting for threads, which may be in the middle of an image."""
    _say("\x1b[?25h" if sys.stderr.isatty() else "")  # a progress bar has hidden the cursor
    os._exit(128 + number)


def _say(text: str) -> None:
    """Write to stderr what a signal's handler has to say: a buffered stream may be in the middle of a write."""
    clear = "\r\x1b[2K" if sys.stderr.isatty() else ""  # the progress bar, which is drawn again below
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), (clear + text).encode())
