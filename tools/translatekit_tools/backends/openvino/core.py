"""OpenVINO's core, of which a process has one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import openvino

CORE = openvino.Core()
"""Made once and never ended.

Each core's CPU plugin gives the thread that first uses it an alternate stack for signal handlers. When the plugin ends,
it frees that stack and puts back the one before. Of several that do not end in the reverse order of their making, or
not on their threads, one leaves a thread with a stack that is freed, and the next signal that Python handles there ends
the process.
"""


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Give `CORE` to libraries that make cores of their own, as NNCF does."""
    own = openvino.Core, openvino.compile_model
    openvino.Core, openvino.compile_model = lambda: CORE, CORE.compile_model
    try:
        yield
    finally:
        openvino.Core, openvino.compile_model = own
