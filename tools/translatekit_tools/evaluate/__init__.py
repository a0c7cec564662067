"""Evaluation: how good a model's outputs are, how sure that is, and which model is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from translatekit_tools.evaluate.measure import Measuring
    from translatekit_tools.evaluate.result import Evaluation


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    *,
    compare: Sequence[str | Path] = (),
    temporal: Sequence[str | Path] = (),
    progress: Callable[[int, int], None] | None = None,
    measuring: Measuring | None = None,
    **options: Any,
) -> Evaluation:
    """Measure a model, or several, on the images of a dataset; with the option ``report``, write the page of it.

    Args:
        model: a model file of any backend, a run's folder, or a checkpoint in it.
        data: the images' folder, an archive or an address, whose images are read as they are measured; None for
            those of the run that the model lies in.
        compare: further models, measured on the same images and compared with the first; or files that
            ``evaluate --json`` wrote (``.json``), whose figures are set beside these if they were measured alike.
        temporal: videos to measure the flicker of translations on.
        progress: told how many images of how many are done.
        measuring: what translates and measures in place of this process, such as a cluster.
        options: fields of `translatekit_tools.evaluate.options.EvaluateOptions`.

    Returns:
        The figures, with 95 % confidence intervals, and the best and worst examples.

    Raises:
        OptionError: an option has an unknown name or a value that does not fit, or an earlier result was measured
            otherwise.
        DataError: the images are missing, or not what the model takes.
        ModelFileError: a model is missing or damaged.
        TranslatekitError: the weights of a network that a metric was asked for needs are not there, or the page
            cannot be written.
    """
    from translatekit.datasets import place_of
    from translatekit.options import check_options
    from translatekit.storage import local_copy, local_file
    from translatekit_tools.evaluate.measure import in_turn, measure
    from translatekit_tools.evaluate.options import EvaluateOptions

    checked = EvaluateOptions(**check_options(EvaluateOptions, options, "evaluate"))
    evaluation = measure(
        [local_copy(path) for path in (model, *compare) if not is_result(path)],
        None if data is None else place_of(data),
        checked,
        earlier=[local_file(path) for path in compare if is_result(path)],
        videos=[local_file(path) for path in temporal],
        progress=progress or (lambda done, total: None),
        measuring=measuring or in_turn,
    )
    if checked.report:
        from translatekit_tools.evaluate.page import write_report

        write_report(checked.report, evaluation)
    return evaluation


def is_result(path: str | Path) -> bool:
    """Whether a path names a file that ``evaluate --json`` wrote."""
    return str(path).lower().endswith(".json")
