"""Ending a run from outside: the first signal saves and stops it, the second ends it at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from translatekit.errors import Stopped

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_GRACE = 2.0  # seconds to tidy up in, before the process ends whatever it is in the middle of


@dataclass
class Stop:
    """Whether the run was asked to stop.

    Attributes:
        number: of the signal that asked; 0 where none did.
        between_steps: whether the loop runs, which stops by itself after a step; elsewhere a signal ends the run where
            it is.
        forced: the signal that ends the run at once; 0 where none has come.
        say: prints a sentence; called by another thread.
    """

    number: int = 0
    between_steps: bool = False
    forced: int = 0
    say: Callable[[str], None] = field(default=lambda sentence: _write(f"{sentence}\n"))
    _ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stop_on_signal(kill: Callable[[], None]) -> Iterator[Stop]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the run after the current step; the second ends it at once.

    A signal's handler waits for the interpreter, which may wait for another process for ever. So the second signal is
    also watched for by a thread, which gives the handler a moment and then ends the process itself.

    A signal that whoever started the program ignores (``nohup``, a shell's background job) stays ignored.

    Args:
        kill: ends the other processes of the run.
    """
    stop = Stop()
    numbers = [
        number
        for name in _NAMES
        if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) != signal.SIG_IGN
    ]

    def handle(number: int, _: FrameType | None) -> None:
        if stop.number or not stop.between_steps:
            stop.number = number
            raise Stopped(number)
        stop.number = number

    if threading.current_thread() is not threading.main_thread():
        yield stop  # the program around us handles its signals
        return
    source, sink = os.pipe()
    os.set_blocking(sink, False)
    before = {number: signal.signal(number, handle) for number in numbers}
    descriptor = signal.set_wakeup_fd(sink, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(source, frozenset(numbers), stop, kill), daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        stop._ended.set()
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(sink, b"\0")  # ends the thread; a data worker may hold the pipe open
        watcher.join()
        os.close(sink)
        os.close(source)


def ignore_in_worker() -> None:
    """Leave the signals of a data worker to the training process, whose handlers and pipe a fork has given it."""
    with suppress(ValueError):  # nothing was inherited
        signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def end_at_once(status: int) -> NoReturn:
    """End the process without waiting for anything, least of all for another process."""
    if sys.stderr.isatty():
        _write("\x1b[?25h")  # a progress bar has hidden the cursor
    os._exit(status)


def _watch(source: int, numbers: frozenset[int], stop: Stop, kill: Callable[[], None]) -> None:
    """Count the signals that are written to a pipe."""
    count = 0
    while number := os.read(source, 1)[0]:
        if number not in numbers:
            continue
        count += 1
        if count > 1 or not stop.between_steps:
            stop.forced = number  # a handler runs once for several signals of a kind
            kill()
            if not stop._ended.wait(_GRACE):
                end_at_once(128 + number)
        else:
            stop.say("stopping after this step; a second time ends at once")


def _write(text: str) -> None:
    """Write to stderr past its buffer, which may be in the middle of something."""
    with suppress(OSError):
        os.write(2, text.encode())
