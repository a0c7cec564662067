"""Converters that talk: what they print and log is kept off the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

from translatekit.terminal import native_output_captured


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the bars and remarks of a converter and of what it uses off the terminal: what goes wrong, it raises."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            native_output_captured(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
