"""Who works on which trial: a file each, which its process touches while it lives, on this machine or another."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

BEAT = 20.0  # seconds between two signs of life
SILENCE = 300.0  # seconds after which a process on another machine counts as ended


@contextmanager
def claimed(folder: Path, number: int) -> Iterator[bool]:
    """Work on a trial, unless a living process does; False where one does.

    Args:
        folder: of the claims, which every process sees.
        number: of the trial.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04d}.json"
    mine = json.dumps(
        {"host": socket.gethostname(), "pid": os.getpid(), "born": psutil.Process().create_time()}
    )
    if not _take(path, mine):
        yield False
        return
    done = threading.Event()

    def live() -> None:
        while not done.wait(BEAT):
            with suppress(OSError):
                os.utime(path)  # which makes no claim anew that is gone

    threading.Thread(target=live, name=f"trial {number}", daemon=True).start()
    try:
        yield True
    finally:
        done.set()
        path.unlink(missing_ok=True)


def _take(path: Path, mine: str) -> bool:
    taking = path.with_suffix(".taking")
    if not _write_new(taking, mine):
        if _lives(taking):
            return False
        taking.unlink(missing_ok=True)  # of a process that died over it
        return _take(path, mine)
    try:  # one process alone looks at a claim, and replaces it
        if path.exists() and _lives(path):
            return False
        path.unlink(missing_ok=True)
        return _write_new(path, mine)
    finally:
        taking.unlink(missing_ok=True)


def _write_new(path: Path, text: str) -> bool:
    """Write a file; False where it is there already."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _lives(path: Path) -> bool:
    try:
        touched = path.stat().st_mtime
        owner = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:  # being written, or by a process that died over it
        owner = {"host": None}
    if owner["host"] == socket.gethostname():
        try:
            return bool(abs(psutil.Process(owner["pid"]).create_time() - owner["born"]) < 1)
        except psutil.Error:
            return False
    clock = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}")
    clock.touch()  # the time of whoever keeps the folder, which need not be this machine's
    now = clock.stat().st_mtime
    clock.unlink()
    return now - touched < SILENCE
