"""Distillation: a small model that does what a trained one does, as fast as its target needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from translatekit_tools.distill.verdict import Distilled

__all__ = ["distill"]


def distill(
    model: str | Path | None = None,
    data: str | Path | None = None,
    out: str | Path = "small",
    *,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Distilled:
    """Make a small model of a trained one, as ``translatekit distill`` does.

    Args:
        model: the teacher: a model file or a run's folder.
        data: a folder of inputs, or of the layout that the model was trained on; None for the images of its run.
        out: the folder to write, which must be empty or missing.
        resume: go on with what was begun in `out`; everything else is then as it was.
        say: told what is being done.
        options: fields of `translatekit_tools.distill.options.CommandOptions`.

    Returns:
        What was made of it, and whether it is what was asked for.

    Raises:
        TranslatekitError: the model or the data are missing, or no smaller form is fast enough.
    """
    from translatekit_tools.distill.driver import run

    return run(model, data, Path(out).expanduser(), resume, say or (lambda text: None), options)
