"""One figure of the runs of all folds: each image is measured by the run that has left it out of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from translatekit.augmentation import Fold
from translatekit.config import RunConfig, TrainOptions
from translatekit.datasets.stored import Place
from translatekit.errors import OptionError
from translatekit.inference.predictor import Predictor
from translatekit_tools.evaluate.choice import by_protocol, with_features
from translatekit_tools.evaluate.examples import choose_examples
from translatekit_tools.evaluate.images import Images, Sample, choose_data, open_images
from translatekit_tools.evaluate.measure import (
    Measuring,
    Setup,
    add_accuracies,
    name_of,
    note_on_features,
    notes_on,
    protocol_of,
)
from translatekit_tools.evaluate.models import open_predictor, run_of
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.outputs import Measured, real_features
from translatekit_tools.evaluate.protocols import digest
from translatekit_tools.evaluate.result import Evaluation, ModelResult, read_earlier
from translatekit_tools.evaluate.summary import summarize
from translatekit_tools.evaluate.tools import choose_tools

ALL = "all folds"


@dataclass
class PooledImages(Images):
    """The images of several parts, one after the other."""

    parts: list[Images] = field(default_factory=list)

    @classmethod
    def of(cls, parts: list[Images]) -> PooledImages:
        """Those of these parts, which are read alike."""
        first = parts[0]
        return cls(first.data, first.source, first.target, [], first.paired, parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def place(self, number: int) -> tuple[int, int]:
        """In which part an image is, and its number there."""
        for part, images in enumerate(self.parts):
            if number < len(images):
                return part, number
            number -= len(images)
        raise IndexError(number)

    def item(self, number: int) -> Sample:
        """One of them."""
        part, within = self.place(number)
        return self.parts[part].item(within)

    def others(self, size: int) -> Iterator[np.ndarray]:
        """Each image of the target's side of unpaired data, once."""
        for images in self.parts:
            yield from images.others(size)


@dataclass(frozen=True)
class FoldRun:
    """A run, or a model in it, and the part of the images that it has left out."""

    path: Path
    config: RunConfig
    fold: Fold


def fold_runs(paths: Sequence[Path], data: Place | None) -> list[FoldRun]:
    """The runs of all folds of one split, in the order of their folds.

    Args:
        paths: of the runs, or of models in them.
        data: where their images lie now; None where each run says so itself.

    Raises:
        OptionError: they are no such runs: a fold is missing, or there twice, or they are of different splits.
    """
    runs = [_fold_run(path) for path in paths]
    by_number: dict[int, FoldRun] = {}
    first = runs[0]
    for run in runs:
        if run.fold.of != first.fold.of:
            raise OptionError(
                f"{first.path} has left fold {first.fold} out and {run.path} fold {run.fold}: name "
                "the runs of one split"
            )
        other = by_number.setdefault(run.fold.number, run)
        if other is not run:
            raise OptionError(
                f"{other.path} and {run.path} have both left fold {run.fold} out: name one run of each fold"
            )
        for what, mine, theirs in zip(
            ("method", "images", "dataset", "dataset options", "direction"),
            _split_of(run.config, data),
            _split_of(first.config, data),
            strict=True,
        ):
            if mine != theirs:
                remedy = "; or say where all of them lie, as DATA" if what == "images" else ""
                raise OptionError(
                    f"the folds are of different splits, since {run.path} has the {what} {mine} and {first.path} "
                    f"{theirs}: name runs that differ in --fold alone{remedy}"
                )
    missing = [number for number in range(1, first.fold.of + 1) if number not in by_number]
    if missing:
        absent = ", ".join(f"{number}/{first.fold.of}" for number in missing)
        raise OptionError(f"no run has left out fold {absent}: name the runs of all {first.fold.of} folds")
    return [by_number[number] for number in sorted(by_number)]


def measure_folds(
    paths: Sequence[Path],
    data: Place | None,
    options: EvaluateOptions,
    *,
    earlier: Sequence[Path] = (),
    progress: Callable[[int, int], None],
    measuring: Callable[[Path, EvaluateOptions], Measuring],
) -> Evaluation:
    """See `translatekit_tools.evaluate.evaluate_folds`.

    Args:
        earlier: results of other evaluations of folds, whose figures are set beside these.
        measuring: what measures a run by the options for it.
    """
    if options.fold is not None or options.split != "val":
        given = f"--fold {options.fold}" if options.fold is not None else f"--split {options.split}"
        raise OptionError(
            f"each run is measured on the fold that it has left out: leave out {given}, or name a single run"
        )
    runs = fold_runs(paths, data)
    asked, options = options, with_features(by_protocol(options))
    notes = _differences(runs)
    setups = _set_up(runs, data, asked, options, notes)
    pooled = PooledImages.of([setup.images for setup in setups])
    tools = setups[0].tools

    measured: list[Measured] = []
    for run, setup in zip(runs, setups, strict=True):
        before = sum(len(each.images) for each in setups[: len(measured)])
        done = partial(_advance, progress, before, len(pooled))
        own = replace(asked, fold=run.fold, features=options.features)
        measured += measuring(run.path, own)(setup, done)
    reals, targets = zip(
        *(real_features(setup.images, tools, options.batch_size) for setup in setups), strict=True
    )
    real = {key: torch.cat([features[key] for features in reals]) for key in reals[0]}
    together = Measured.joined(measured)
    notes += notes_on(together, tools, real, options)

    whole = ModelResult(ALL, ", ".join(str(run.path) for run in runs), min(_steps(setups)))
    results = [whole]
    summarize(results, [together], pooled, tools, options, real)
    for run, setup, raw, features in zip(runs, setups, measured, reals, strict=True):
        result = ModelResult(f"fold {run.fold}", str(run.path), setup.predictors[0].info.step)
        few = replace(tools, metrics=replace(tools.metrics, sets={})) if len(raw.digests) < 2 else tools
        summarize([result], [raw], setup.images, few, options, features)
        result.classes = []  # those of all folds say more
        results.append(result)
    if options.discriminator:
        _add_discriminators(results, runs, setups, options)

    split = f"{len(runs)} folds"
    protocol = protocol_of(
        options,
        tools,
        data=name_of(setups[0].data, setups[0].options),
        split=split,
        size=options.size or setups[0].predictors[0].info.size,
        measured=together,
        targets=digest(each.encode() for each in targets) if any(targets) else "",
    )
    results += [result for file in earlier for result in read_earlier(file, protocol, list(whole.metrics))]
    examples = []
    if options.report:

        def predictors(number: int) -> list[Predictor]:
            return setups[pooled.place(number)[0]].predictors

        examples = choose_examples(pooled, predictors, [ALL], together, options)
    return Evaluation(
        data=protocol["data"],
        split=split,
        images=len(pooled),
        models=results,
        examples=examples,
        notes=list(dict.fromkeys(notes)),
        protocol=protocol,
        unit=pooled.data.specs[pooled.target].unit,
        folds=len(runs),
    )


def _fold_run(path: Path) -> FoldRun:
    run = run_of(path)
    config = None if run is None else RunConfig.from_toml(run / "config.toml")
    if config is None or config.options.fold is None:
        what = "is no run" if config is None else "was trained without --fold"
        raise OptionError(
            f"{path} {what}, and has left no part of its images out: name the runs of all folds, or write --compare "
            "before further models"
        )
    return FoldRun(path, config, config.options.fold)


def _split_of(config: RunConfig, data: Place | None) -> tuple[Any, ...]:
    """What decides which images a fold holds, and what is made of them."""
    options = config.options
    place = config.data if data is None else data
    return config.method, place, options.dataset, options.dataset_options, options.direction


def _differences(runs: Sequence[FoldRun]) -> list[str]:
    """A note on options that the runs were not all trained with: the figure is then of no one training."""
    names = [
        item.name
        for item in fields(TrainOptions)
        if item.metadata["group"] not in ("Hardware", "Output") and item.name not in ("fold", "seed")
    ]
    first = runs[0].config
    differing = [
        name
        for name in names
        if any(getattr(run.config.options, name) != getattr(first.options, name) for run in runs)
    ]
    differing += [
        item.name
        for item in fields(first.method_options)
        if any(
            getattr(run.config.method_options, item.name) != getattr(first.method_options, item.name)
            for run in runs
        )
    ]
    notes = []
    if differing:
        notes.append(f"the runs were not trained alike: they differ in {', '.join(differing)}")
    if first.options.start_from is not None and "start_from" not in differing:
        notes.append(
            f"the runs have started from {first.options.start_from}: if that was trained on these images, no run has "
            "left any of them out"
        )
    return notes


def _set_up(
    runs: Sequence[FoldRun],
    data: Place | None,
    asked: EvaluateOptions,
    options: EvaluateOptions,
    notes: list[str],
) -> list[Setup]:
    """A set-up for each run: its model, the images that it has left out, and what measures, which all of them share.

    Raises:
        OptionError: the images are not those that the runs were trained on.
    """
    opened = []
    for run in runs:
        own = replace(options, fold=run.fold)
        predictor = open_predictor(run.path, own)
        place, own = choose_data(data, own, run.path, predictor.info, [])
        opened.append((predictor, place, own, open_images(place, own, predictor.info)))
    images = [images for *_, images in opened]
    total = sum(len(each.data) for each in images)
    for run, (predictor, _, _, left_out) in zip(runs, opened, strict=True):
        trained = predictor.info.data.get("images")
        if isinstance(trained, int) and trained + len(left_out.data) != total:
            raise OptionError(
                f"{run.path} was trained on {trained} images, and of the {total} that are there now its fold holds "
                f"{len(left_out.data)}: the split is another one, since images have come or gone; train its fold again"
            )
    notes.append(
        f"measured on {name_of(opened[0][1], opened[0][2])}, each image by the run that has left it out"
    )
    pooled = PooledImages.of(images)
    notes += [f"skipped {path}: {reason}" for each in images for path, reason in each.data.skipped]
    first, place, own, _ = opened[0]
    tools = choose_tools(own, pooled, place, first.info, notes)
    notes += note_on_features(asked, options, tools)
    return [Setup([predictor], place, own, part, tools, []) for predictor, place, own, part in opened]


def _steps(setups: Sequence[Setup]) -> list[int]:
    return [setup.predictors[0].info.step for setup in setups]


def _advance(progress: Callable[[int, int], None], before: int, total: int, done: int, _: int) -> None:
    progress(before + done, total)


def _add_discriminators(
    results: Sequence[ModelResult],
    runs: Sequence[FoldRun],
    setups: Sequence[Setup],
    options: EvaluateOptions,
) -> None:
    """How often each run's discriminator is right on the images of its fold."""
    from translatekit_tools.evaluate.adversary import discriminator_accuracy

    whole: dict[str, list[float]] = {}
    for result, run, setup in zip(results[1:], runs, setups, strict=True):
        found = discriminator_accuracy(run.path, setup.images.data, len(setup.images))
        add_accuracies(result, found, options)
        for name, values in found.items():
            whole.setdefault(name, []).extend(values)
    add_accuracies(results[0], whole, options)
