"""Searching for training options: many short runs, compared by a metric of their validations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from translatekit_tools.tune.study import Tuned

__all__ = ["tune"]


def tune(
    method: str,
    data: str | Path | None = None,
    *,
    space: str | Path,
    out: str | Path = "study",
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Tuned:
    """Search for training options, as ``translatekit tune`` does.

    Args:
        method: such as ``pix2pix``.
        data: the images' folder; None for the built-in demo, for a method for pairs.
        space: a TOML file of options: ranges, lists of values, and values that are the same for all trials.
        out: the study's folder; one that exists is gone on with, also by several processes at once.
        say: told what is being done.
        options: fields of `translatekit_tools.tune.options.TuneOptions`.

    Returns:
        The best trial, and how many there were.

    Raises:
        TranslatekitError: the space does not fit the method, the folder holds another study, or no trial got through.
    """
    from translatekit_tools.tune.study import run

    return run(method, data, Path(space), Path(out).expanduser(), say or (lambda text: None), options)
