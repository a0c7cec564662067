"""What the tests have a cluster do, where its workers can import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.tools.test_bulk import Identity
from translatekit.errors import DataError

Answer = tuple[int, int]
"""An item and the process that did it; less than 0 where it was given up."""


@dataclass(frozen=True)
class Sleeping:
    """Work that takes some seconds a block, and what happens at some items."""

    seconds: float = 0.0
    deadly: tuple[int, ...] = ()
    wrong: tuple[int, ...] = ()
    log: str = ""

    def __call__(self, name: str) -> Callable[[list[int]], list[Answer]]:
        def work(block: list[int]) -> list[Answer]:
            if self.log:
                with Path(self.log).open("a") as file:
                    file.write("".join(f"{os.getpid()} {item}\n" for item in block))
            time.sleep(self.seconds)
            if set(block) & set(self.deadly):
                os.kill(os.getpid(), signal.SIGKILL)
            if set(block) & set(self.wrong):
                raise DataError("the disk is full: free some space")
            return [(item, os.getpid()) for item in block]

        return work


class Deadly(Identity):
    """Dies of an image that is all black."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        if not batch.any(axis=(1, 2, 3)).all():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)
