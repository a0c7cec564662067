"""A page that runs the model in the visitor's browser, without a server."""

from __future__ import annotations

from pathlib import Path

from translatekit.errors import OptionError
from translatekit.interfaces import Progress
from translatekit_tools.publish.model import Model, Published
from translatekit_tools.publish.options import PublishOptions


def publish(model: Model, out: Path, options: PublishOptions, progress: Progress) -> Published:
    """Write the page.

    Args:
        model: what it runs.
        out: its folder.
        options: those of ``translatekit publish``.
        progress: told what is being done.
    """
    raise OptionError(f"{out} was not written: pages cannot be published yet")
