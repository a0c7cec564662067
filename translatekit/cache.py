"""The user's cache folder: downloads, measured speeds, what runtimes keep. Everything in it can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from translatekit.errors import OptionError

VARIABLE = "TRANSLATEKIT_CACHE"


def cache_folder(*parts: str) -> Path:
    """``TRANSLATEKIT_CACHE``, or ``translatekit`` in the user's cache folder, with `parts` below it; not made.

    Raises:
        OptionError: the user has no home folder, and the variable is not set.
    """
    import platformdirs

    try:
        chosen = os.environ.get(VARIABLE)
        base = (
            Path(chosen) if chosen else platformdirs.user_cache_path("translatekit", appauthor=False)
        ).expanduser()
    except RuntimeError:  # a "~" that stands for nothing
        raise OptionError(f"there is no home folder to keep a cache in: set {VARIABLE} to a folder") from None
    return base.joinpath(*parts)


def writable_cache(*parts: str) -> Path | None:
    """The folder, made where it was missing; None where nothing can be written, since a cache is no necessity."""
    try:
        folder = cache_folder(*parts)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, OptionError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
