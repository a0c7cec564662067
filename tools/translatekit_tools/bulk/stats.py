"""Where the time of bulk work went."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

PARALLEL_STAGES = ("read", "decode", "encode", "write")
"""Stages that several threads work at, beside the translator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Seconds that each stage was busy, over all threads.

    Attributes:
        seconds: by stage; ``wait`` is how long the translator had nothing to do.
        wall: from the first input to the last output.
        threads: that read, decode, encode and write.
    """

    seconds: dict[str, float]
    wall: float
    threads: int

    @property
    def bottleneck(self) -> str:
        """The stage that the others wait for."""
        if self.seconds.get("translate", 0.0) >= self.seconds.get("wait", 0.0):
            return "translate"
        return max(PARALLEL_STAGES, key=lambda stage: self.seconds.get(stage, 0.0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "wall": round(self.wall, 3),
            "threads": self.threads,
            "bottleneck": self.bottleneck,
        }


class StageTimer:
    """Adds up what stages take, from any thread."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._seconds = dict.fromkeys(("read", "decode", "wait", "translate", "encode", "write"), 0.0)
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what is done within as time of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def waiting(self, items: Iterable[T], name: str) -> Iterator[T]:
        """The items; how long each takes to come is counted as time of a stage."""
        start = time.perf_counter()
        for item in items:
            self.add(name, time.perf_counter() - start)
            yield item
            start = time.perf_counter()

    def add(self, name: str, seconds: float) -> None:
        """Count seconds as time of a stage."""
        with self._lock:
            self._seconds[name] += seconds

    def stats(self, threads: int) -> Stats:
        """What was counted so far."""
        with self._lock:
            seconds = dict(self._seconds)
        return Stats(seconds=seconds, wall=time.perf_counter() - self._start, threads=threads)
