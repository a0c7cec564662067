"""Evaluation: how good a model's outputs are, how sure that is, and which model is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.errors import OptionError

if TYPE_CHECKING:
    from translatekit_tools.evaluate.measure import Measuring
    from translatekit_tools.evaluate.options import EvaluateOptions
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
            otherwise, or is given in place of the model.
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
    if is_result(model):
        raise OptionError(
            f"{model} holds earlier figures and is no model: name a model first, and give the file to --compare"
        )
    evaluation = measure(
        [local_copy(path) for path in (model, *compare) if not is_result(path)],
        None if data is None else place_of(data),
        checked,
        earlier=[local_file(path) for path in compare if is_result(path)],
        videos=[local_file(path) for path in temporal],
        progress=progress or (lambda done, total: None),
        measuring=measuring or in_turn,
    )
    _write(checked, evaluation)
    return evaluation


def evaluate_folds(
    runs: Sequence[str | Path],
    data: str | Path | None = None,
    *,
    compare: Sequence[str | Path] = (),
    progress: Callable[[int, int], None] | None = None,
    measuring: Callable[[Path, EvaluateOptions], Measuring] | None = None,
    **options: Any,
) -> Evaluation:
    """Measure the runs of all folds, each on the images that it has left out, as one on all images.

    Args:
        runs: trained with ``fold`` 1/k to k/k, or a model in each of them.
        data: the images' folder, where it is not where the runs say.
        compare: earlier results of folds of the same images, as ``evaluate --json`` wrote them.
        progress: told how many images of how many are done.
        measuring: from a run, and the options to measure it by, to what does it in place of this process.
        options: fields of `translatekit_tools.evaluate.options.EvaluateOptions`.

    Returns:
        The figures of all folds first, with 95 % confidence intervals over all images, then those of each fold.

    Raises:
        OptionError: the runs are not those of all folds of one split, or an option does not fit.
        DataError, ModelFileError, TranslatekitError: as of `evaluate`.
    """
    from translatekit.datasets import place_of
    from translatekit.options import check_options
    from translatekit.storage import local_copy, local_file
    from translatekit_tools.evaluate.folds import measure_folds
    from translatekit_tools.evaluate.measure import in_turn
    from translatekit_tools.evaluate.options import EvaluateOptions

    checked = EvaluateOptions(**check_options(EvaluateOptions, options, "evaluate"))
    for model in compare:
        if not is_result(model):
            raise OptionError(
                f"the folds of one training are compared with earlier figures of folds, and {model} is a model: "
                "evaluate its folds with --json, and give that file to --compare"
            )
    place = None if data is None else place_of(data)
    if place is not None and not place.exists():
        raise OptionError(
            f"there is no {place}: name the runs of all folds, and behind them at most the folder of their images"
        )
    evaluation = measure_folds(
        [local_copy(path) for path in runs],
        place,
        checked,
        earlier=[local_file(path) for path in compare],
        progress=progress or (lambda done, total: None),
        measuring=measuring or (lambda run, options: in_turn),
    )
    _write(checked, evaluation)
    return evaluation


def is_result(path: str | Path) -> bool:
    """Whether a path names a file that ``evaluate --json`` wrote."""
    return str(path).lower().endswith(".json")


def _write(options: EvaluateOptions, evaluation: Evaluation) -> None:
    if options.report:
        from translatekit_tools.evaluate.page import write_report

        write_report(options.report, evaluation)
