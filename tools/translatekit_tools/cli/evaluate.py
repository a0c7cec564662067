"""``translatekit evaluate``: how good a model is, in figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.errors import OptionError
from translatekit.terminal import stderr, stdout
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.scale.options import ScaleOptions

if TYPE_CHECKING:
    from translatekit_tools.evaluate.measure import Measuring
    from translatekit_tools.evaluate.result import Evaluation


@rich_click.command(no_args_is_help=True)
@rich_click.argument("model", metavar="MODEL", type=click.Path())
@rich_click.argument("data", metavar="[DATA]", required=False, type=click.Path())
@rich_click.argument("more", metavar="", nargs=-1, type=click.Path())
@rich_click.option(
    "--compare",
    multiple=True,
    metavar="MODEL...",
    help="Further models or checkpoints, measured on the same images; or earlier figures, as --json printed them.",
    panel="Model",
    type=click.Path(),
)
@rich_click.option(
    "--temporal",
    multiple=True,
    metavar="VIDEO",
    help="A video, to measure how much its translation flickers; may be repeated.",
    panel="Metrics",
    type=click.Path(),
)
@rich_click.option(
    "--json", "as_json", is_flag=True, help="Print everything as one JSON object.", panel="Output"
)
def evaluate(
    model: str,
    data: str | None,
    more: tuple[str, ...],
    compare: tuple[str, ...],
    temporal: tuple[str, ...],
    as_json: bool,
    **params: Any,
) -> None:
    """Measure a model on the images of DATA, with confidence intervals of 95 %.

    MODEL is a model file of any kind, a run's folder, or a checkpoint inside of it. DATA is laid out as for training;
    without it, the run's own data are taken. Unpaired images are compared as sets, by FID and KID.

    The runs of all folds in place of one MODEL are measured as one: each image by the run that has left it out.
    """
    options = collect(EvaluateOptions, params)
    scale = ScaleOptions(**collect(ScaleOptions, params))
    of_folds = data is not None and _is_trained(data)
    if more and not compare and not of_folds:
        raise OptionError(f"{more[0]} is one argument too many: write --compare before further models")
    if of_folds and temporal:
        raise OptionError("--temporal measures a single model: leave it out, or name one run")
    from rich.progress import Progress

    console = stderr()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Measuring", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if of_folds:
            evaluation = _of_folds([model, str(data), *more], compare, scale, options, progress)
        else:
            evaluation = _of_models([model, *compare, *more], data, temporal, scale, options, progress)
    if options.get("report"):
        console.print(f"The report is {options['report']}", soft_wrap=True)
    for note in evaluation.notes:
        console.print(note, soft_wrap=not console.is_terminal)
    if as_json:
        click.echo(json.dumps(evaluation.to_dict(), indent=2))
    else:
        _print(evaluation)


evaluate.params += options_from_dataclass(EvaluateOptions)
evaluate.params += options_from_dataclass(ScaleOptions)


def _of_models(
    models: Sequence[str],
    data: str | None,
    temporal: Sequence[str],
    scale: ScaleOptions,
    options: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Measure models on the same images."""
    from translatekit_tools.evaluate import evaluate, is_result

    measuring = None
    if scale.on is not None:
        from translatekit_tools.scale.evaluate import measuring_on

        measured = [path for path in models if not is_result(path)]
        measuring = measuring_on(scale, measured, data, options, stderr().print)
    first, *others = models
    return evaluate(
        first, data, compare=others, temporal=temporal, progress=progress, measuring=measuring, **options
    )


def _of_folds(
    named: Sequence[str],
    compare: Sequence[str],
    scale: ScaleOptions,
    options: Mapping[str, Any],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Measure the runs of all folds; what is named last may be their data."""
    from translatekit_tools.evaluate import evaluate_folds

    runs, data = (named, None) if _is_trained(named[-1]) else (named[:-1], named[-1])

    def on_cluster(run: Path, own: EvaluateOptions) -> Measuring:
        from translatekit_tools.scale.evaluate import measuring_on

        return measuring_on(scale, [run], data, vars(own), stderr().print)

    measuring = None if scale.on is None else on_cluster
    return evaluate_folds(runs, data, compare=compare, progress=progress, measuring=measuring, **options)


def _is_trained(place: str) -> bool:
    """Whether this is a run, or a model in one, and no data."""
    from translatekit.config import holds_run

    path = Path(place).expanduser()
    return holds_run(place) or (path.is_file() and holds_run(path.parent))


def _print(evaluation: Evaluation) -> None:
    from rich.table import Table

    from translatekit_tools.evaluate.page import text_of

    console = stdout()
    first = evaluation.models[0]
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{evaluation.images} images")
    if evaluation.folds:
        for name in evaluation.names():
            table.add_column(evaluation.label(name))
        for model in evaluation.models:
            figures = (model.metrics.get(name) for name in evaluation.names())
            table.add_row(model.name, *("" if one is None else " ".join(text_of(one)) for one in figures))
        console.print(table)
        _print_classes(evaluation)
        return
    for model in evaluation.models:
        table.add_column(model.name)
    compared = [model for model in evaluation.models if model.differences]
    for model in compared:
        table.add_column(f"{model.name} - {first.name}")
    for name in evaluation.names():
        cells = [
            " ".join(text_of(model.metrics[name])) if name in model.metrics else ""
            for model in evaluation.models
        ]
        cells += [
            " ".join(text_of(model.differences[name], signed=True)) if name in model.differences else ""
            for model in compared
        ]
        table.add_row(evaluation.label(name), *cells)
    console.print(table)
    _print_classes(evaluation)


def _print_classes(evaluation: Evaluation) -> None:
    from rich.table import Table

    for model in evaluation.models:
        if model.classes:
            classes = Table(box=None, pad_edge=False)
            for heading in (f"classes of {model.name}", "share", "accuracy", "IoU"):
                classes.add_column(heading)
            for item in model.classes:
                classes.add_row(
                    item.name, *(_percent(value) for value in (item.share, item.accuracy, item.iou))
                )
            stdout().print(classes)


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f} %"  # NaN is the one that differs from itself
