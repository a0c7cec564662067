"""Bulk translation: find -> read -> decode -> batch by shape -> translate -> encode -> write.

The stages and what they share are in `translatekit.inference.stages`; nothing here imports torch, which only
the torch backend needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit_tools.bulk.summary import Progress, Result, Summary

if TYPE_CHECKING:
    from translatekit.interfaces import Translator

__all__ = ["Progress", "Result", "Summary", "translate"]


def translate(
    inputs: str | Path | Sequence[str | Path],
    model: str | Path | Translator,
    out: str | Path | None = None,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Summary:
    """Translate images and videos, as ``translatekit run`` does.

    Args:
        inputs: a file, folder or glob, or several; or one video that is standard input (``-``), a URL, or
            numbered images (``frames/%06d.png``).
        model: a model file, a run's folder, or a loaded `Translator`. Only what a model file made is
            recognized by a later run and skipped.
        out: the output folder, or the output file of a single input file, or ``-`` for a video on
            standard output; beside the input when not given (see `translatekit_tools.bulk.find.find_jobs`).
        progress: is told of each input when it is finished, in order.
        options: fields of `translatekit_tools.bulk.options.RunOptions`.

    Returns:
        How many were translated and skipped, and which failed why. A file that fails does not stop the
        others.

    Raises:
        TranslatekitError: nothing can be done at all: an option does not fit, an input or the model does not
            exist, the output folder cannot be written.
    """
    from translatekit.options import check_options
    from translatekit_tools.bulk.options import RunOptions
    from translatekit_tools.bulk.run import translate_images

    if isinstance(inputs, str | Path):
        inputs = [inputs]
    checked = RunOptions(**check_options(RunOptions, options, "translate()"))
    return translate_images(inputs, model, out, checked, progress)
