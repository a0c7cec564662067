"""What runs in the processes of a cluster.

It is sent there as code, and imports nothing of translatekit before both sides have been seen to have the same: a
node without it, or with another version, can say so in a sentence.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any


class Actor:
    """A process of the cluster: looked at first, then given its work, then blocks of it."""

    def __init__(self) -> None:
        self._work: Callable[[list[Any]], list[Any]] | None = None

    def look(self, distributions: Sequence[str], paths: Sequence[str]) -> dict[str, Any]:
        """What is installed here, and which of the paths can be seen.

        Args:
            distributions: names of packages.
            paths: of files and folders.
        """
        versions: dict[str, str | None] = {}
        for name in distributions:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                versions[name] = None
        return {
            "node": socket.gethostname(),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "versions": versions,
            "missing": [path for path in paths if not os.path.exists(path)],  # noqa: PTH110
        }

    def open(self, open_work: Callable[[str], Callable[[list[Any]], list[Any]]], name: str) -> None:
        """Make ready for the work, such as by loading a model.

        Args:
            open_work: gives what does a block.
            name: of this worker, which no other has.
        """
        self._work = open_work(name)

    def work(self, block: list[Any]) -> list[Any]:
        """Do a block."""
        assert self._work is not None
        return self._work(block)

    def close(self) -> None:
        """Finish what is open."""
        close = getattr(self._work, "close", None)
        if close is not None:
            close()
