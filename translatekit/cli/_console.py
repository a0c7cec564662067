"""Where results are printed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160  # columns, where stdout is no terminal and nothing says how wide it is


def stdout() -> Console:
    """A rich console on stdout that neither colours nor breaks what it is given to markup by accident."""
    from rich.console import Console

    return Console(
        width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False, emoji=False
    )
