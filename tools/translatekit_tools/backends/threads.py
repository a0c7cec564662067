"""How many threads a runtime computes with."""

from __future__ import annotations

import os


def told_threads() -> int | None:
    """What ``OMP_NUM_THREADS`` says, as it does to processes that share cores; None where it says nothing.

    Torch keeps to it by itself. Runtimes without OpenMP do not, and take all cores. OpenVINO 2026.4 is not told: with
    one thread it reads past the end of images of a size that the network does not take, which it refuses with more.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else None
