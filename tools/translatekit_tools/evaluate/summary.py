"""From raw figures to results: means with their confidence intervals, and differences between models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from translatekit.datasets.palette import (
    PaletteClass,
)
from translatekit.interfaces import SetMetric
from translatekit.metrics.labels import class_accuracies, ious
from translatekit_tools.evaluate.choice import Extractor
from translatekit_tools.evaluate.images import Images
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.outputs import Measured
from translatekit_tools.evaluate.result import ClassScore, ModelResult
from translatekit_tools.evaluate.statistics import Bootstrap, around, halves
from translatekit_tools.evaluate.tools import Tools


def summarize(
    results: Sequence[ModelResult],
    measured: Sequence[Measured],
    images: Images,
    tools: Tools,
    options: EvaluateOptions,
    real: dict[Extractor, Tensor],
) -> None:
    """Fill in metrics, differences and classes of the results.

    Args:
        results: one a model, to be filled in.
        measured: what was measured of each.
        images: what they were measured on.
        tools: what measured.
        options: their resamples and seed.
        real: the features of the real images, by their extractor.
    """
    bootstrap = Bootstrap(len(images), options.resamples, options.seed)
    first = measured[0]
    for result, raw in zip(results, measured, strict=True):
        for name, values in raw.values.items():
            result.metrics[name] = bootstrap.estimate(values)
            if raw is not first:
                result.differences[name] = bootstrap.difference(values, first.values[name])
    for name, metric in tools.metrics.sets.items():
        _summarize_sets(name, metric, results, measured, images.paired, options.seed, real)
    for result, raw in zip(results, measured, strict=True):
        for prefix, counts in raw.confusions.items():
            for name, statistic in tools.metrics.labels.items():
                result.metrics[prefix + name] = bootstrap.estimate(counts, statistic)
                if raw is not first:
                    earlier = first.confusions[prefix]
                    result.differences[prefix + name] = bootstrap.difference(counts, earlier, statistic)
            if prefix == "fcn_real_":
                continue
            result.classes = _class_scores(counts, tools.palette or [])


def _summarize_sets(
    name: str,
    metric: SetMetric,
    results: Sequence[ModelResult],
    measured: Sequence[Measured],
    paired: bool,
    seed: int,
    real: dict[Extractor, Tensor],
) -> None:
    wholes: list[float] = []
    parts: list[list[float]] = []
    for raw in measured:
        those, made = (found[metric.extractor] for found in (real, raw.features))
        wholes.append(metric(those, made))
        parts.append(halves(partial(_part, metric, those, made), len(those), len(made), paired, seed))
    for result, whole, part in zip(results, wholes, parts, strict=True):
        result.metrics[name] = around(whole, part)
        if result is not results[0]:
            spread = [one - other for one, other in zip(part, parts[0], strict=True)]
            result.differences[name] = around(whole - wholes[0], spread)


def _part(metric: SetMetric, real: Tensor, fake: Tensor, some: np.ndarray, others: np.ndarray) -> float:
    return metric(real[torch.from_numpy(some)], fake[torch.from_numpy(others)])


def _class_scores(counts: np.ndarray, palette: Sequence[PaletteClass]) -> list[ClassScore]:
    total = counts.sum(0, keepdims=True)
    accuracy, iou, share = class_accuracies(total)[0], ious(total)[0], total[0].sum(1) / max(total.sum(), 1)
    return [
        ClassScore(item["name"], float(accuracy[index]), float(iou[index]), float(share[index]))
        for index, item in enumerate(palette)
    ]
