"""Keeping what native libraries write of their own accord off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def natives_are_silent() -> Iterator[None]:
    """Within, the process's stderr goes nowhere, and ``sys.stderr`` goes where it went before.

    Codecs and runtimes (libpng, libtiff, FFmpeg, ONNX Runtime) write there from C and C++; what matters of it comes as
    an exception. With ``TRANSLATEKIT_DEBUG=1`` it is shown.
    """
    try:
        is_plain = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):  # a notebook's, a test's, or none
        is_plain = False
    if not is_plain or os.environ.get("TRANSLATEKIT_DEBUG", "") not in ("", "0"):
        yield
        return
    before = sys.stderr
    before.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with open(
            kept, "w", encoding=before.encoding, errors=before.errors, buffering=1, closefd=False
        ) as shown:
            os.dup2(nowhere, 2)
            sys.stderr = shown
            try:
                yield
            finally:
                sys.stderr = before
                os.dup2(kept, 2)
    finally:
        os.close(nowhere)
        os.close(kept)
