"""What an evaluation found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.metrics import metric_label
from translatekit_tools.evaluate.protocols import check_alike
from translatekit_tools.evaluate.statistics import Estimate


@dataclass(frozen=True)
class ClassScore:
    """How well one class of label maps is found: shares in [0, 1], NaN where the class does not occur."""

    name: str
    accuracy: float
    iou: float
    share: float


@dataclass(frozen=True)
class Example:
    """One image: what went in, what each model made of it, and what was wanted.

    Attributes:
        name: of the file.
        rank: ``best``, ``worst`` or ``first``.
        input: (H, W, C) uint8.
        outputs: by model, likewise.
        target: likewise; None where there are no pairs.
        figures: of the first model.
        valid: (H, W), bool: the pixels that count; None where all do.
    """

    name: str
    rank: str
    input: np.ndarray
    outputs: dict[str, np.ndarray]
    target: np.ndarray | None
    figures: dict[str, float]
    valid: np.ndarray | None = None


@dataclass
class ModelResult:
    """What was measured of one model.

    Attributes:
        name: what it is called in tables.
        path: as it was given.
        step: of its training.
        metrics: by name.
        differences: to the first model, by name; empty for the first itself.
        classes: by class, where it makes label maps.
    """

    name: str
    path: str
    step: int
    metrics: dict[str, Estimate] = field(default_factory=dict)
    differences: dict[str, Estimate] = field(default_factory=dict)
    classes: list[ClassScore] = field(default_factory=list)


@dataclass
class Evaluation:
    """An evaluation of one model or several on the same images.

    Attributes:
        data: the folder's name.
        split: of the data.
        images: how many.
        models: in the order they were given.
        examples: the best and worst for the first model.
        notes: what was left out, and why; one sentence each.
        unit: of the values of the images; empty where they have levels.
        protocol: what the figures depend on besides the models.
        folds: of how many folds it is, each measured by a model of its own; the first result is then of all of them,
            and theirs follow. 0 where all models are measured on all images.
    """

    data: str
    split: str
    images: int
    models: list[ModelResult]
    examples: list[Example] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unit: str = ""
    protocol: dict[str, Any] = field(default_factory=dict)
    folds: int = 0

    def label(self, name: str) -> str:
        """What a metric is called in tables, with the unit where it is that of the images."""
        return metric_label(name, self.unit)

    def names(self) -> list[str]:
        """The metrics that any model has, in order."""
        return list(dict.fromkeys(name for model in self.models for name in model.metrics))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the images."""
        return {
            "data": self.data,
            "split": self.split,
            "images": self.images,
            "unit": self.unit,
            "models": [
                {
                    "name": model.name,
                    "path": model.path,
                    "step": model.step,
                    "metrics": {name: item.to_dict() for name, item in model.metrics.items()},
                    "differences": {name: item.to_dict() for name, item in model.differences.items()},
                    "classes": [
                        {
                            "name": item.name,
                            **_numbers(accuracy=item.accuracy, iou=item.iou, share=item.share),
                        }
                        for item in model.classes
                    ],
                }
                for model in self.models
            ],
            "notes": self.notes,
            "protocol": self.protocol,
        }


def read_earlier(file: Path, protocol: Mapping[str, Any], names: Sequence[str]) -> list[ModelResult]:
    """The figures of an earlier evaluation, from the file that ``--json`` wrote.

    Args:
        file: its path.
        protocol: of this evaluation.
        names: the metrics of this evaluation.

    Raises:
        DataError: the file is no such result.
        OptionError: its figures were measured otherwise, and cannot be set beside these.
    """
    try:
        found = json.loads(file.read_text())
        there, models = found["protocol"], found["models"]
        results = [
            ModelResult(
                f"{model['name']} in {file.name}",
                str(model["path"]),
                int(model["step"]),
                {
                    name: Estimate.from_dict(figure)
                    for name, figure in model["metrics"].items()
                    if name in names
                },
            )
            for model in models
        ]
        check_alike(
            protocol, there, list(dict.fromkeys(name for one in results for name in one.metrics)), file.name
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} holds no evaluation ({type(error).__name__}: {error}): give a file that evaluate --json wrote"
        ) from None
    return results


def _numbers(**values: float) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in values.items()}
