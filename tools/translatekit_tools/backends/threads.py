"""How many threads a runtime computes with."""

from __future__ import annotations

import os


def told_threads() -> int | None:
    """What ``OMP_NUM_THREADS`` says, as it does to processes that share cores; None where it says nothing.

    Torch keeps to it by itself. Runtimes without OpenMP do not, and take all cores.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else None
