"""The evaluation itself: every model over the same images, then statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translatekit.datasets.stored import Place
from translatekit.errors import OptionError
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import SetMetric
from translatekit.requirements import VIDEO, require
from translatekit.storage import hash_file
from translatekit_tools.evaluate.choice import Extractor, by_protocol, with_features
from translatekit_tools.evaluate.examples import choose_examples
from translatekit_tools.evaluate.images import Images, choose_data, open_images
from translatekit_tools.evaluate.models import display_names, open_predictor
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.outputs import Measured, measure_one, real_features
from translatekit_tools.evaluate.protocols import described, digest
from translatekit_tools.evaluate.result import Evaluation, ModelResult, read_earlier
from translatekit_tools.evaluate.statistics import Bootstrap, around
from translatekit_tools.evaluate.summary import summarize
from translatekit_tools.evaluate.tools import Tools, choose_tools

_MIN_HALF = 2  # images of which a distance can be told
_OWN_FEATURES = (
    "FID and KID are by translatekit's own features, since Inception's weights are not here: compare them with each "
    "other, not with published ones, for which --protocol inception says what it needs"
)


@dataclass
class Setup:
    """What an evaluation works with; whoever sets it up from the same arguments has the same.

    Attributes:
        predictors: the models.
        data, options: the images' folder, None where they are drawn, and the options with the dataset filled in.
        images: what the models are measured on.
        tools: what measures.
        notes: what was left out, and why.
    """

    predictors: list[Predictor]
    data: Place | None
    options: EvaluateOptions
    images: Images
    tools: Tools
    notes: list[str]

    @classmethod
    def of(cls, paths: Sequence[Path], data: Place | None, options: EvaluateOptions) -> Setup:
        """Open the models and the images, and choose what measures.

        Raises:
            TranslatekitError: one of them is missing or does not fit.
        """
        asked, options = options, with_features(by_protocol(options))
        predictors = [open_predictor(path, options) for path in paths]
        _check_directions(paths, predictors)
        notes: list[str] = []
        info = predictors[0].info
        data, options = choose_data(data, options, paths[0], info, notes)
        images = open_images(data, options, info)
        notes += [f"skipped {path}: {reason}" for path, reason in images.data.skipped]
        tools = choose_tools(options, images, data, info, notes)
        notes += note_on_features(asked, options, tools)
        return cls(predictors, data, options, images, tools, notes)

    def measure(self, number: int, done: Callable[[int], None], some: slice | None = None) -> Measured:
        """Measure a model.

        Args:
            number: of the model.
            done: told how many images are.
            some: which of the images; all where it is None.
        """
        images = self.images if some is None else replace(self.images, indices=self.images.indices[some])
        return measure_one(self.predictors[number], images, self.tools, self.options.batch_size, done)


Measuring = Callable[[Setup, Callable[[int, int], None]], list[Measured]]
"""Measures every model of a set-up on all images, and tells how many of how many are done."""


def in_turn(setup: Setup, progress: Callable[[int, int], None]) -> list[Measured]:
    """Measure in this process, one model after the other."""
    count = len(setup.images)
    total = count * len(setup.predictors)
    return [
        setup.measure(number, partial(_advance, progress, number * count, total))
        for number in range(len(setup.predictors))
    ]


def measure(
    paths: Sequence[Path],
    data: Place | None,
    options: EvaluateOptions,
    *,
    videos: Sequence[Path],
    earlier: Sequence[Path] = (),
    progress: Callable[[int, int], None],
    measuring: Measuring = in_turn,
) -> Evaluation:
    """See `translatekit_tools.evaluate.evaluate`.

    Args:
        earlier: results of other evaluations, whose figures are set beside these.
        measuring: what measures the models; by itself, this process does.
    """
    setup = Setup.of(paths, data, options)
    predictors, images, tools, notes = setup.predictors, setup.images, setup.tools, setup.notes
    data, options = setup.data, setup.options
    names = display_names(list(paths))
    real, targets = real_features(images, tools, options.batch_size)
    measured = measuring(setup, progress)
    notes += notes_on(measured[0], tools, real, options)
    results = [
        ModelResult(name, str(path), predictor.info.step)
        for name, path, predictor in zip(names, paths, predictors, strict=True)
    ]
    summarize(results, measured, images, tools, options, real)
    if options.discriminator:
        _add_discriminators(results, images, paths, options)
    measured_on: dict[str, dict[str, str]] = {}
    alike = len({video.name for video in videos}) < len(videos)
    for video in videos:
        require("--temporal", VIDEO)
        from translatekit_tools.evaluate.video import measure_video

        for result, predictor in zip(results, predictors, strict=True):
            for name, value in measure_video(predictor, video, notes).items():
                key = name if len(videos) == 1 else f"{name} {video if alike else video.name}"
                result.metrics[key] = around(value, [])
                measured_on[key] = {"video": hash_file(video)}
    protocol = protocol_of(
        options,
        tools,
        data=name_of(data, options),
        split=options.split,
        size=options.size or predictors[0].info.size,
        measured=measured[0],
        targets=targets,
    )
    protocol["metrics"] |= measured_on
    results += [
        result for file in earlier for result in read_earlier(file, protocol, list(results[0].metrics))
    ]
    examples = []
    if options.report:
        examples = choose_examples(images, lambda number: predictors, names, measured[0], options)
    return Evaluation(
        data=protocol["data"],
        split=options.split,
        images=len(images),
        models=results,
        examples=examples,
        notes=list(dict.fromkeys(notes)),
        protocol=protocol,
        unit=images.data.specs[images.target].unit,
    )


def protocol_of(
    options: EvaluateOptions,
    tools: Tools,
    *,
    data: str,
    split: str,
    size: int,
    measured: Measured,
    targets: str,
) -> dict[str, Any]:
    """What figures depend on besides the models.

    Args:
        options, tools: what was measured, and by what.
        data, split: what the images are called.
        size: in pixels a side.
        measured: of any model.
        targets: the digest of images that belong to no input; empty where each has its target.
    """
    return {
        "data": data,
        "split": split,
        "images": len(measured.digests),
        "size": size,
        "inputs": digest(source for source, _ in measured.digests),
        "targets": targets or digest(target for _, target in measured.digests),
        **described(options.protocol, tools.measured_by, resamples=options.resamples, seed=options.seed),
    }


def name_of(data: Place | None, options: EvaluateOptions) -> str:
    """What the images are called: their folder's name, or the dataset's."""
    return (data.resolve() if isinstance(data, Path) else data).name if data else str(options.dataset)


def note_on_features(asked: EvaluateOptions, options: EvaluateOptions, tools: Tools) -> list[str]:
    """That sets are compared by translatekit's own features, where nobody asked for that."""
    own = tools.metrics.sets and options.features == "own" and options.protocol is None
    return [_OWN_FEATURES] if own and asked.features is None else []


def notes_on(
    measured: Measured, tools: Tools, real: Mapping[Extractor, Tensor], options: EvaluateOptions
) -> list[str]:
    """What is worth knowing of the figures."""
    notes = _left_out(measured)
    if "fid" in tools.metrics.sets:
        notes += _bias(tools.metrics.sets["fid"], real, options)
    return notes


def _bias(metric: SetMetric, real: Mapping[Extractor, Tensor], options: EvaluateOptions) -> list[str]:
    """How far FID is from 0 for want of images."""
    features = real[metric.extractor]
    if len(features) < 2 * _MIN_HALF:
        return []
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(options.seed))
    half, other = order.chunk(2)
    floor = metric(features[half], features[other])
    return [
        f"FID is biased upwards where images are few: two halves of the {len(features)} real images are "
        f"{floor:.3g} apart; KID is not"
    ]


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
        add_accuracies(result, discriminator_accuracy(path, images.data, len(images)), options)


def add_accuracies(
    result: ModelResult, found: Mapping[str, Sequence[float]], options: EvaluateOptions
) -> None:
    """Add how often a discriminator was right, image by image, to the figures of its model."""
    for name, values in found.items():
        bootstrap = Bootstrap(len(values), options.resamples, options.seed)
        result.metrics[name] = bootstrap.estimate(np.array(values))
