"""The page of a study: its best trial, history, importance of options, parallel coordinates, and all trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from markupsafe import Markup
from optuna.trial import FrozenTrial, TrialState

from translatekit.metrics import metric_label
from translatekit.storage import write_atomically
from translatekit.training.report.charts import Chart, Family
from translatekit.training.report.log import Series
from translatekit.training.report.page import render

CURVES = 12  # trials whose validations are drawn, the best
_WIDTH, _HEIGHT, _TOP, _BOTTOM = 900, 340, 44, 40
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def write_page(
    path: Path,
    *,
    method: str,
    data: str | None,
    metric: str,
    lower_is_better: bool,
    trials: Sequence[FrozenTrial],
    importance: Mapping[str, float],
    space: str,
) -> None:
    """Write the page.

    Args:
        path: of the file; the runs lie in ``trials`` beside it.
        method: that is trained.
        data: the images' folder or address.
        metric: that trials are compared by.
        lower_is_better: of that metric.
        trials: all of them.
        importance: by option, in [0, 1].
        space: the text of the space.
    """
    label = metric_label(metric)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    best = (min if lower_is_better else max)(finished, key=lambda trial: trial.value or 0.0, default=None)
    count = [trial.state for trial in trials].count
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    figures = {"trials": str(len(trials))}
    if best is not None:
        figures[f"best {label}"] = f"{best.value:.4g}"
        figures["by trial"] = str(best.number)
    figures |= {
        word: str(count(state)) for state, word in _STATES.items() if count(state) and word != "waiting"
    }
    page = render(
        "study.html",
        "translatekit_tools",
        title=f"A search for {method}",
        data=data or "the built-in demo",
        label=label,
        figures=figures,
        best=None if best is None else {name: _text(value) for name, value in best.params.items()},
        charts=_charts(label, finished, trials, lower_is_better),
        importance=sorted(importance.items(), key=lambda item: -item[1]),
        picture=Markup(draw_parallel(finished, names, label, lower_is_better)) if len(finished) > 1 else None,
        names=names,
        rows=[_row(trial, names) for trial in trials],
        best_number=-1 if best is None else best.number,
        space=space,
        folder=path.parent,
    )
    write_atomically(path, page.encode())


def _row(trial: FrozenTrial, names: Sequence[str]) -> dict[str, Any]:
    value = trial.value if trial.state == TrialState.COMPLETE else trial.user_attrs.get("best")
    seconds = trial.duration.total_seconds() if trial.duration else None
    return {
        "number": trial.number,
        "page": f"trials/{trial.number:04d}/index.html",
        "state": _STATES[trial.state],
        "value": "" if value is None else f"{value:.4g}",
        "seconds": "" if seconds is None else f"{seconds:,.0f}",
        "options": [_text(trial.params[name]) if name in trial.params else "" for name in names],
        "error": str(trial.user_attrs.get("error", "")),
    }


def _charts(
    label: str, finished: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], lower_is_better: bool
) -> list[Chart]:
    """The best so far over the trials, and the validations of the best ones."""
    if not finished:
        return []
    family = Family(name="value", title=label)
    values = [(float(trial.number), float(trial.value or 0.0)) for trial in finished]
    choose = min if lower_is_better else max
    so_far = [
        (number, choose(value for _, value in values[: index + 1]))
        for index, (number, _) in enumerate(values)
    ]
    history = [
        Series("best so far", so_far, [None] * len(values), smooth=False),
        Series("trial", values, [None] * len(values), smooth=False),
    ]
    shown = sorted(finished, key=lambda trial: trial.value or 0.0, reverse=not lower_is_better)[:CURVES]
    shown += [trial for trial in trials if trial.state == TrialState.PRUNED][-CURVES // 2 :]
    curves = [
        Series(f"trial {trial.number}", points, [None] * len(points), smooth=False)
        for trial in shown
        if (points := [(float(epoch), value) for epoch, value in sorted(trial.intermediate_values.items())])
    ]
    charts = [Chart(f"{label} of the trials", history, family, wide=True, axis="trial")]
    return [*charts, Chart("Validations", curves, family, wide=True, axis="epoch")] if curves else charts


def draw_parallel(
    trials: Sequence[FrozenTrial], names: Sequence[str], label: str, lower_is_better: bool
) -> str:
    """Parallel coordinates as an SVG: an axis an option, a line a trial, the better ones darker.

    Args:
        trials: finished ones.
        names: of the options.
        label: of the metric, which is the last axis.
        lower_is_better: of the metric.
    """
    values = [float(trial.value or 0.0) for trial in trials]
    axes = [_Axis(name, [trial.params.get(name) for trial in trials]) for name in names]
    axes.append(_Axis(label, list(values)))
    gap = (_WIDTH - 160) / max(1, len(axes) - 1)
    order = sorted(range(len(trials)), key=values.__getitem__, reverse=lower_is_better)  # the best on top
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Options and {escape(label)} of {len(trials)} trials" font-family="system-ui, sans-serif" '
        'font-size="12" fill="currentColor">'
    ]
    for rank, index in enumerate(order):
        share = rank / max(1, len(order) - 1)
        points = " ".join(
            f"{80 + column * gap:.1f},{axis.up(axis.values[index]):.1f}"
            for column, axis in enumerate(axes)
            if axis.values[index] is not None
        )
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="var(--c0)" stroke-width="{1 + 1.2 * share:.1f}" '
            f'stroke-opacity="{0.12 + 0.8 * share**2:.2f}"><title>trial {trials[index].number}: '
            f"{values[index]:.4g}</title></polyline>"
        )
    for column, axis in enumerate(axes):
        x = 80 + column * gap
        parts.append(
            f'<path d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="currentColor" stroke-opacity="0.5"/>'
        )
        name = axis.name.rpartition(".")[2]
        parts.append(
            f'<text x="{x:.1f}" y="{18 + 14 * (column % 2)}" text-anchor="middle">{escape(name)}</text>'
        )
        for text, y in axis.ticks():
            parts.append(f'<text x="{x + 6:.1f}" y="{y + 4:.1f}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """One axis: numbers, logarithmic where they are far apart, or words in the order they came."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name, self.values = name, values
        known = [value for value in values if value is not None]
        self._numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        self._words = list(dict.fromkeys(map(_text, known)))
        self._log = self._numbers and bool(known) and min(known) > 0 and max(known) > 20 * min(known)
        places = [self._place(value) for value in known] or [0.0]
        self._low, self._high = min(places), max(places)

    def _place(self, value: Any) -> float:
        if not self._numbers:
            return float(self._words.index(_text(value)))
        return math.log10(value) if self._log else float(value)

    def up(self, value: Any) -> float:
        """Where a value stands, in pixels from above."""
        height = _HEIGHT - _BOTTOM - _TOP
        if self._high == self._low:
            return _TOP + height / 2
        return _TOP + (self._high - self._place(value)) / (self._high - self._low) * height

    def ticks(self) -> list[tuple[str, float]]:
        """Labels and where they stand."""
        known = [value for value in self.values if value is not None]
        if not self._numbers:
            return [(word, self.up(value)) for value in dict.fromkeys(known) if (word := _text(value))]
        ends = dict.fromkeys((min(known), max(known))) if known else ()
        return [(_text(value), self.up(value)) for value in ends]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
