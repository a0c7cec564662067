"""The finished parts of a video: what a run that was stopped goes on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.storage import empty_folder, folder_for_results, hash_file, held

SEGMENT_FRAMES = 120
"""Frames that are encoded together: what a run that was stopped loses at most."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other process work in a folder of segments meanwhile: each would go on with what the other is writing.

    Args:
        folder: is made where it is missing, and only kept where something has come into it.

    Raises:
        DataError: one does.
    """
    with folder_for_results(folder), held(folder) as free:
        if not free:
            raise DataError(
                "another process translates it at this moment: wait for its end, or stop it first"
            )
        yield


class Segments:
    """A hidden folder of segments, each a file of encoded frames, and a list of them with their hashes.

    The list is only ever appended to, when a segment and all that the next one needs are written: whatever the moment
    a run is killed, what the list says is there. A segment whose bytes have changed ends it; a line that was cut
    off, as by a full disk, says nothing.

    Attributes:
        folder: of the segments; whatever else belongs to the unfinished output may lie there, too.
        paths: the finished segments, in order.
        frames: how many they hold.
        state: what the stage before the encoder had kept of the last one, where it keeps anything.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any] | None) -> None:
        """Open a folder, or begin one.

        Args:
            folder: that this process holds (see `alone_in`).
            plan: all that the segments depend on, as JSON has it; those of another plan are thrown away. Nothing is
                taken from an earlier run where it is None.
        """
        self.folder = folder
        self.paths: list[Path] = []
        self.frames = 0
        self.state: dict[str, np.ndarray] | None = None
        self._list = folder / "segments.jsonl"
        if plan is None or not self._read(json.loads(json.dumps(plan))):
            empty_folder(folder)
            self.paths, self.frames = [], 0
            self._append(plan)

    def _read(self, plan: Any) -> bool:
        """Whether there is anything to go on with."""
        try:
            lines, _, torn = self._list.read_bytes().rpartition(b"\n")
            first, *entries = map(json.loads, lines.splitlines())
        except (OSError, ValueError):
            return False
        if first != plan:
            return False
        state = None
        for entry in entries:
            path = self.folder / entry["name"]
            if not path.is_file() or hash_file(path) != entry["hash"]:
                break
            self.paths.append(path)
            self.frames += entry["frames"]
            state = entry["state"]
        if len(self.paths) < len(entries) and state is not None:
            return False  # only the last state is kept
        if torn or len(self.paths) < len(entries):
            self._list.write_text("\n".join(map(json.dumps, [first, *entries[: len(self.paths)]])) + "\n")
        if state is not None:
            path = self.folder / state["name"]
            if not path.is_file() or hash_file(path) != state["hash"]:
                return False
            with np.load(path) as saved:
                self.state = dict(saved)
        return True

    def add(self, write: Callable[[Path], int], state: Callable[[], Mapping[str, np.ndarray] | None]) -> None:
        """Take one more segment.

        Args:
            write: writes a file, and returns how many frames it holds.
            state: asked afterwards for what the next segment needs, if anything.
        """
        number = len(self.paths)
        path = self.folder / f"{number:06d}.segment"
        try:
            frames = write(path)
        except BaseException:
            path.unlink(missing_ok=True)  # it would take space, and nobody would look at it
            raise
        entry: dict[str, Any] = {
            "name": path.name,
            "frames": frames,
            "hash": hash_file(path),
            "state": None,
        }
        needed = state()
        if needed is not None:
            state_path = self.folder / f"{number:06d}.npz"
            np.savez(state_path, allow_pickle=False, **needed)
            entry["state"] = {"name": state_path.name, "hash": hash_file(state_path)}
        self._append(entry)
        self.paths.append(path)
        self.frames += entry["frames"]
        if needed is not None and number > 0:
            (self.folder / f"{number - 1:06d}.npz").unlink(missing_ok=True)

    def _append(self, entry: Any) -> None:
        with self._list.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
