"""Options of work that is spread over a cluster; no engine is imported for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

from translatekit.config import option
from translatekit.errors import OptionError

MAX_WORKERS = 10_000

RAY = "ray"
"""A cluster that is configured or runs on this machine, else one that is started for the time of the work."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers there are at least and at most: ``4``, or ``2..64``.

    Attributes:
        minimum: are asked for whatever there is to do.
        maximum: the work grows to while blocks wait for a worker.
    """

    minimum: int
    maximum: int

    @classmethod
    def parse(cls, value: Any) -> Workers:
        """From such as ``4`` or ``"2..64"``.

        Raises:
            ValueError: it is neither.
        """
        if isinstance(value, cls):
            return value
        found = re.fullmatch(r"\s*(\d{1,5})\s*(?:\.\.\s*(\d{1,5})\s*)?", str(value), re.ASCII)
        if found:
            minimum = int(found[1])
            maximum = int(found[2] or minimum)
            if 1 <= minimum <= maximum <= MAX_WORKERS:
                return cls(minimum, maximum)
        raise ValueError(f"{value!r} is not {cls.words()}")

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return f"a number of workers such as 4, or two such as 2..64, from 1 to {MAX_WORKERS}"

    def __str__(self) -> str:
        """As `parse` takes it."""
        return str(self.minimum) if self.minimum == self.maximum else f"{self.minimum}..{self.maximum}"


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """Where work runs that one machine is too small for."""

    on: str | None = option(
        None,
        "Work on a Ray cluster: ray (the one that is configured or runs here, else one of this machine alone) or "
        "ray://HOST:PORT.",
        "Cluster",
        metavar="ray|ray://HOST:PORT",
    )
    workers: Workers | None = option(
        None,
        "How many processes work on the cluster: 4, or 2..64 to grow and shrink with the work; as many as there is "
        "room for when not given.",
        "Cluster",
        metavar="N|LEAST..MOST",
    )
    gpus_per_actor: float | None = option(
        None,
        "GPUs of each worker: 0.5 lets two share one; 1 where the cluster has GPUs, else 0, when not given.",
        "Cluster",
        minimum=0,
        maximum=1024,
    )
    cpus_per_actor: float = option(
        1.0, "Processor cores that each worker takes of its node's.", "Cluster", minimum=0.01, maximum=4096
    )
    worker_timeout: float = option(
        600.0,
        "Seconds to wait for the first worker, such as while the cluster grows.",
        "Cluster",
        metavar="SECONDS",
        exclusive_minimum=0,
        maximum=86_400,
    )

    def __post_init__(self) -> None:
        if self.on is None:
            given = [each for each in fields(self) if getattr(self, each.name) != each.default]
            if given:
                flag = given[0].name.replace("_", "-")
                raise OptionError(f"--{flag} is about the workers of a cluster: pass --on ray with it")
            return
        if self.on == RAY:
            return
        try:
            parts = urlsplit(self.on)
            valid = parts.scheme == "ray" and bool(parts.hostname) and parts.port is not None
        except ValueError:  # a port that is none
            valid = False
        if not valid:
            raise OptionError(
                f"--on takes ray or ray://HOST:PORT, such as ray://10.0.0.1:10001, got {self.on!r}"
            )
