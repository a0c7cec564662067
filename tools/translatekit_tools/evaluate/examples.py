"""The examples that a report shows: the best and the worst images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from translatekit.images.preview import preview
from translatekit.inference.predictor import Predictor
from translatekit.metrics import better
from translatekit_tools.evaluate.images import Images
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.outputs import Measured
from translatekit_tools.evaluate.result import Example


def choose_examples(
    images: Images,
    predictors: Callable[[int], Sequence[Predictor]],
    names: Sequence[str],
    first: Measured,
    options: EvaluateOptions,
) -> list[Example]:
    """The best and worst images of the first model by its first metric, with all models' outputs.

    Args:
        images: what was measured on.
        predictors: from the number of an image to the models that translate it.
        names: of these models.
        first: what was measured of the first one.
        options: how many examples.
    """
    count = min(options.examples, len(images))
    ranked: list[tuple[int, str]]
    if first.values:
        name, values = next(iter(first.values.items()))
        order = np.argsort(values if better(name) == "lower" else -values, kind="stable")
        order = order[~np.isnan(values[order])].tolist()
        best = order[:count]
        worst = [number for number in order[::-1][:count] if number not in best]
        ranked = [(number, "best") for number in best] + [(number, "worst") for number in worst]
    else:
        ranked = [(number, "first") for number in range(count)]
    examples = []
    for number, rank in ranked:
        name, source, target, valid = images.item(number)
        outputs = {
            model: next(predictor.predict([source]))
            for model, predictor in zip(names, predictors(number), strict=True)
        }
        figures = {metric: float(values[number]) for metric, values in first.values.items()}
        specs = images.data.specs
        shown = {model: preview(output, specs[images.target]) for model, output in outputs.items()}
        wanted = preview(target, specs[images.target]) if images.paired else None
        taken = preview(source, specs[images.source])
        examples.append(Example(name, rank, taken, shown, wanted, figures, valid))
    return examples
