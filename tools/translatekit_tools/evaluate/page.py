"""The report of an evaluation: one file, pictures included, that opens anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from translatekit.storage import write_atomically
from translatekit.training.report.page import html_page, metric_label, short_number
from translatekit_tools.evaluate.result import Evaluation, Example, better
from translatekit_tools.evaluate.statistics import Estimate

_FULL_ERROR = 128  # levels of mean absolute error that are drawn in the last colour
_RAMP = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
_TITLES = {"best": "Best", "worst": "Worst", "first": "Examples"}
_STYLE = (
    "<style>.tables{display:grid;gap:.9rem;margin-top:1.3rem}.tables .card{overflow-x:auto}"
    "td,th{padding:.25rem 1rem .25rem 0;text-align:left;font-variant-numeric:tabular-nums;white-space:nowrap}"
    ".gallery .images{align-items:end;margin-bottom:.5rem}.gallery span{overflow-wrap:anywhere}"
    # an even number of columns: input beside target, and each output beside its error
    ".gallery .pairs{grid:auto/repeat(4,minmax(0,1fr))}"
    "@media (max-width:40rem){.gallery .pairs{grid-template-columns:repeat(2,minmax(0,1fr))}td small{display:block}}"
    "th{font-weight:600}td small,th small{color:var(--quiet);font-weight:400}</style>"
)


def write_report(path: Path, evaluation: Evaluation) -> None:
    """Write the page; it refers to nothing outside of itself.

    Raises:
        ModelFileError: it cannot be written.
    """
    title = f"{evaluation.models[0].name} on {evaluation.data}"
    if len(evaluation.models) > 1:
        title = f"{len(evaluation.models)} models on {evaluation.data}"
    parts = [
        f"{_STYLE}<header><h1>{escape(title)}</h1>",
        f'<p class="quiet">{evaluation.images:,} images of {escape(evaluation.split)}; in brackets, confidence '
        "intervals of 95 %</p></header>",
        f'<div class="tables">{_metrics(evaluation)}{_classes(evaluation)}</div>',
    ]
    parts += [f'<p class="quiet">{escape(note)}</p>' for note in evaluation.notes]
    for rank, heading in _TITLES.items():
        chosen = [example for example in evaluation.examples if example.rank == rank]
        if chosen:
            figures = "".join(_figure(example) for example in chosen)
            parts.append(f'<h2>{heading}</h2><div class="gallery">{figures}</div>')
    if any(example.target is not None for example in evaluation.examples):
        parts.append(
            '<p class="quiet">An error map shows the mean absolute difference of output and target: black where there '
            f"is none, light yellow from {_FULL_ERROR} of 255 levels on.</p>"
        )
    write_atomically(path, html_page(title, "\n".join(parts)).encode())


def text_of(estimate: Estimate, signed: bool = False) -> tuple[str, str]:
    """A figure and its interval, as they are printed."""
    number = short_number(estimate.value)
    value = f"+{number}" if signed and estimate.value > 0 else number
    if estimate.low is None or estimate.high is None:
        return value, ""
    return value, f"[{short_number(estimate.low)}, {short_number(estimate.high)}]"


def error_map(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The mean absolute error over the channels, from black (none) to light yellow (128 levels and more).

    Args:
        output, target: (H, W, C) uint8 each.

    Returns:
        (H, W, 3) uint8.
    """
    error = np.abs(output.astype(np.float64) - target.astype(np.float64)).mean(2)
    place = np.clip(error / _FULL_ERROR, 0, 1) * (len(_RAMP) - 1)
    colors = [np.interp(place, np.arange(len(_RAMP)), _RAMP[:, channel]) for channel in range(3)]
    return np.rint(np.stack(colors, 2)).astype(np.uint8)


def _metrics(evaluation: Evaluation) -> str:
    names = evaluation.names()
    if not names:
        return ""
    head = ["metric", *(model.name for model in evaluation.models)]
    head += [f"{model.name} - {evaluation.models[0].name}" for model in evaluation.models[1:]]
    rows = []
    for name in names:
        way = better(name)
        label = escape(metric_label(name)) + (f" <small>{way} is better</small>" if way else "")
        cells = [_cell(model.metrics.get(name)) for model in evaluation.models]
        cells += [_cell(model.differences.get(name), signed=True) for model in evaluation.models[1:]]
        rows.append([label, *cells])
    return _table([escape(cell) for cell in head], rows)


def _classes(evaluation: Evaluation) -> str:
    tables = []
    for model in evaluation.models:
        rows = [
            [escape(item.name), _share(item.share), _share(item.accuracy), _share(item.iou)]
            for item in model.classes
        ]
        if rows:
            tables.append(_table([escape(f"classes of {model.name}"), "share", "accuracy", "IoU"], rows))
    return "".join(tables)


def _cell(estimate: Estimate | None, signed: bool = False) -> str:
    if estimate is None:
        return ""
    value, interval = text_of(estimate, signed)
    return f"{value} <small>{interval}</small>"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if np.isfinite(value) else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    headings = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    table = f"<table><tr>{headings}</tr>{body}</table>"
    return f'<div class="card" tabindex="0" role="region" aria-label="{head[0]}">{table}</div>'


def _figure(example: Example) -> str:
    several = len(example.outputs) > 1
    shown = [("input", example.input)]
    if example.target is not None:
        shown.append(("target", example.target))
    for model, output in example.outputs.items():
        shown.append((model if several else "output", output))
        if example.target is not None:
            error = error_map(output, example.target)
            shown.append((f"error of {model}" if several else "error", error))
    kind = "images" if example.target is None else "images pairs"
    pictures = "".join(_picture(example.name, title, pixels) for title, pixels in shown)
    images = f'<div class="{kind}">{pictures}</div>'
    figures = " · ".join(
        f"{metric_label(name)} {short_number(value)}" for name, value in example.figures.items()
    )
    return (
        f'<figure class="card">{images}'
        f"<figcaption><b>{escape(example.name)}</b><span>{escape(figures)}</span></figcaption></figure>"
    )


def _picture(name: str, title: str, pixels: np.ndarray) -> str:
    label = escape(f"{name}: {title}")
    return f'<div><span>{escape(title)}</span><img src="{_data_url(pixels)}" alt="{label}"></div>'


def _data_url(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
