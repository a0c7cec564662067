"""How far a build is: TensorRT reports phases within phases, a user wants one bar."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from translatekit.interfaces import Progress


@dataclass(slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """Turns the starts, steps and ends of nested phases into one share of the outermost.

    Safe to call from several threads, as TensorRT does. What `progress` raises (an interrupt, mostly) is kept for the
    caller of the build, because nothing may be raised through TensorRT; the build is told to stop instead.

    Attributes:
        error: what `progress` raised, or None.
    """

    def __init__(self, progress: Progress) -> None:
        self.error: BaseException | None = None
        self._progress = progress
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, within another or (None) outermost."""
        with self._lock:
            self._phases[name] = _Phase(parent if parent in self._phases else None, max(1, steps))
        self._report(name)

    def step(self, name: str, step: int) -> bool:
        """The step with that number, counted from 0, is done; returns whether to go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
        self._report(name)
        return self.error is None

    def finish(self, name: str) -> None:
        """A phase is over, whether or not all of its steps were."""
        with self._lock:
            self._phases.pop(name, None)

    def _report(self, name: str) -> None:
        with self._lock:
            root = self._root(name)
            share = None if root is None else self._share(root)
            text = root or name
        try:
            if self.error is None:
                self._progress(text, share)
        except BaseException as error:
            self.error = error

    def _root(self, name: str) -> str | None:
        while name in self._phases and (parent := self._phases[name].parent) in self._phases:
            assert parent is not None
            name = parent
        return name if name in self._phases else None

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        within = max(
            (self._share(child) for child, other in self._phases.items() if other.parent == name), default=0
        )
        return min(1.0, (phase.done + within) / phase.steps)
