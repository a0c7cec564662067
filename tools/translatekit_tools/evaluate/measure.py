"""The evaluation itself: every model over the same images, then statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from translatekit.errors import OptionError
from translatekit.inference.predictor import Predictor
from translatekit.requirements import VIDEO, require
from translatekit_tools.evaluate.examples import choose_examples
from translatekit_tools.evaluate.images import Images, choose_data, open_images
from translatekit_tools.evaluate.models import display_names, open_predictor
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.outputs import Measured, measure_one, real_features
from translatekit_tools.evaluate.result import Evaluation, ModelResult
from translatekit_tools.evaluate.statistics import Bootstrap, around
from translatekit_tools.evaluate.summary import summarize
from translatekit_tools.evaluate.tools import choose_tools


def measure(
    paths: Sequence[Path],
    data: Path | None,
    options: EvaluateOptions,
    *,
    videos: Sequence[Path],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """See `translatekit_tools.evaluate.evaluate`."""
    predictors = [open_predictor(path, options) for path in paths]
    _check_directions(paths, predictors)
    notes: list[str] = []
    data, options = choose_data(data, options, paths[0], predictors[0].info, notes)
    images = open_images(data, options, predictors[0].info)
    notes += [f"skipped {path}: {reason}" for path, reason in images.data.skipped]
    tools = choose_tools(options, images, data, predictors[0].info, notes)

    names = display_names(list(paths))
    total = len(images) * len(paths)
    real = real_features(images, tools, options.batch_size)
    measured = []
    for number, predictor in enumerate(predictors):
        done = partial(_advance, progress, number * len(images), total)
        measured.append(measure_one(predictor, images, tools, options.batch_size, done))
    notes += _left_out(measured[0])
    results = [
        ModelResult(name, str(path), predictor.info.step)
        for name, path, predictor in zip(names, paths, predictors, strict=True)
    ]
    summarize(results, measured, images, tools, options, real)
    if options.discriminator:
        _add_discriminators(results, images, paths, options)
    for video in videos:
        require("--temporal", VIDEO)
        from translatekit_tools.evaluate.video import measure_video

        for result, predictor in zip(results, predictors, strict=True):
            for name, value in measure_video(predictor, video, notes).items():
                key = name if len(videos) == 1 else f"{name} {video.name}"
                result.metrics[key] = around(value, [])
    examples = choose_examples(images, predictors, names, measured[0], options) if options.report else []
    return Evaluation(
        data=data.resolve().name if data else str(options.dataset),
        split=options.split,
        images=len(images),
        models=results,
        examples=examples,
        notes=list(dict.fromkeys(notes)),
        unit=images.data.specs[images.target].unit,
    )


def _left_out(measured: Measured) -> list[str]:
    """What is worth knowing of pixels that do not count."""
    notes = []
    if measured.counted and min(measured.counted) < 1:
        share = 1 - sum(measured.counted) / len(measured.counted)
        notes.append(f"{share:.1%} of the pixels count in no figure: they have no value, or are masked")
    if empty := sum(share == 0 for share in measured.counted):
        notes.append(f"{empty} of {len(measured.counted)} images have no pixel that counts, and no figures")
    return notes


def _check_directions(paths: Sequence[Path], predictors: Sequence[Predictor]) -> None:
    first = predictors[0].info.direction
    for path, predictor in zip(paths, predictors, strict=True):
        if predictor.info.direction != first:
            raise OptionError(
                f"{path} translates {predictor.info.direction} and {paths[0]} {first}: compare models of one direction"
            )


def _advance(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _add_discriminators(
    results: Sequence[ModelResult], images: Images, paths: Sequence[Path], options: EvaluateOptions
) -> None:
    from translatekit_tools.evaluate.adversary import discriminator_accuracy

    for result, path in zip(results, paths, strict=True):
        found = discriminator_accuracy(path, images.data, len(images))
        bootstrap = Bootstrap(len(images), options.resamples, options.seed)
        for name, values in found.items():
            result.metrics[name] = bootstrap.estimate(np.array(values))
