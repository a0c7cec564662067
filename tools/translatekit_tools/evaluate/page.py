"""The report of an evaluation: one file, images included, that opens anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from translatekit.metrics import better, metric_label
from translatekit.storage import write_file
from translatekit.training.report.figures import short_number
from translatekit.training.report.page import render
from translatekit_tools.evaluate.result import Evaluation, Example
from translatekit_tools.evaluate.statistics import Estimate

Cell = tuple[str, str]  # a text, and a remark that is set smaller
Table = tuple[list[str], list[list[Cell]]]

_FULL_ERROR = 128  # levels of mean absolute error that are drawn in the last colour
_RAMP = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
_NOT_COUNTED = np.uint8(96)
_TITLES = {"best": "Best", "worst": "Worst", "first": "Examples"}


def write_report(place: str | Path, evaluation: Evaluation) -> None:
    """Write the page to a path or an address; it refers to nothing outside of itself.

    Raises:
        StorageError: it cannot be written.
    """
    title = f"{evaluation.models[0].name} on {evaluation.data}"
    if evaluation.folds:
        title = f"{evaluation.folds} folds of {evaluation.data}"
    elif len(evaluation.models) > 1:
        title = f"{len(evaluation.models)} models on {evaluation.data}"
    paired = any(example.target is not None for example in evaluation.examples)
    page = render(
        "evaluation.html",
        "translatekit_tools",
        title=title,
        evaluation=evaluation,
        tables=[*_metrics(evaluation), *_classes(evaluation)],
        galleries=_galleries(evaluation.examples),
        full_error=_FULL_ERROR if paired else None,
    )
    write_file(place, page.encode())


def text_of(estimate: Estimate, signed: bool = False) -> tuple[str, str]:
    """A figure and its interval, as they are printed."""
    number = short_number(estimate.value)
    value = f"+{number}" if signed and estimate.value > 0 else number
    if estimate.low is None or estimate.high is None:
        return value, ""
    return value, f"[{short_number(estimate.low)}, {short_number(estimate.high)}]"


def error_map(output: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """The mean absolute error over the channels, from black (none) to light yellow (128 levels and more).

    Args:
        output, target: (H, W, C) uint8 each.
        valid: (H, W), bool: the pixels that count; others are gray.

    Returns:
        (H, W, 3) uint8.
    """
    error = np.abs(output.astype(np.float64) - target.astype(np.float64)).mean(2)
    place = np.clip(error / _FULL_ERROR, 0, 1) * (len(_RAMP) - 1)
    colors = [np.interp(place, np.arange(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    drawn = np.rint(np.stack(colors, 2)).astype(np.uint8)
    return drawn if valid is None else np.where(valid[:, :, None], drawn, _NOT_COUNTED)


def _metrics(evaluation: Evaluation) -> list[Table]:
    names = evaluation.names()
    if not names:
        return []
    if evaluation.folds:
        ways = {name: better(name) for name in names}
        head = [
            "fold",
            *(evaluation.label(name) + (f", {way} is better" if way else "") for name, way in ways.items()),
        ]
        return [
            (
                head,
                [
                    [(model.name, ""), *(_cell(model.metrics.get(name)) for name in names)]
                    for model in evaluation.models
                ],
            )
        ]
    head = ["metric", *(model.name for model in evaluation.models)]
    compared = [model for model in evaluation.models if model.differences]
    head += [f"{model.name} - {evaluation.models[0].name}" for model in compared]
    rows = []
    for name in names:
        way = better(name)
        cells = [_cell(model.metrics.get(name)) for model in evaluation.models]
        cells += [_cell(model.differences.get(name), signed=True) for model in compared]
        rows.append([(evaluation.label(name), f"{way} is better" if way else ""), *cells])
    return [(head, rows)]


def _classes(evaluation: Evaluation) -> list[Table]:
    return [
        (
            [f"classes of {model.name}", "share", "accuracy", "IoU"],
            [
                [(item.name, ""), *(_share(value) for value in (item.share, item.accuracy, item.iou))]
                for item in model.classes
            ],
        )
        for model in evaluation.models
        if model.classes
    ]


def _cell(estimate: Estimate | None, signed: bool = False) -> Cell:
    return ("", "") if estimate is None else text_of(estimate, signed)


def _share(value: float) -> Cell:
    return (f"{100 * value:.1f} %" if np.isfinite(value) else "", "")


def _galleries(examples: Sequence[Example]) -> dict[str, list[dict[str, Any]]]:
    """The examples by heading."""
    galleries: dict[str, list[dict[str, Any]]] = {}
    for rank, heading in _TITLES.items():
        if chosen := [_shown(example) for example in examples if example.rank == rank]:
            galleries[heading] = chosen
    return galleries


def _shown(example: Example) -> dict[str, Any]:
    several = len(example.outputs) > 1
    images = [("input", example.input)]
    if example.target is not None:
        images.append(("target", example.target))
    for model, output in example.outputs.items():
        images.append((model if several else "output", output))
        if example.target is not None:
            title = f"error of {model}" if several else "error"
            images.append((title, error_map(output, example.target, example.valid)))
    return {
        "name": example.name,
        "images": [(title, _data_url(pixels)) for title, pixels in images],
        "figures": " · ".join(
            f"{metric_label(name)} {short_number(value)}" for name, value in example.figures.items()
        ),
        "pairs": example.target is not None,
    }


def _data_url(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
