"""What the charts of a page show; uPlot draws them in the browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from translatekit.metrics import metric_label
from translatekit.training.report.figures import short_number
from translatekit.training.report.log import Log, Series

T = TypeVar("T")

POINTS_A_CURVE = 800
COLORS = 8


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of figures that is logged, and how its charts are drawn.

    Attributes:
        name: in the log.
        title: as people read it.
        bounds: of the vertical axis, where the values have natural ones.
        floor: what the vertical axis starts from at the latest.
    """

    name: str
    title: str
    bounds: tuple[float, float] | None = None
    floor: float | None = None


VALIDATION = Family(name="validation", title="Validation")
TRAINING = (
    Family(name="loss", title="Losses"),
    Family(name="accuracy", title="Discriminator accuracy", bounds=(0.0, 1.0)),
    Family(name="diversity", title="Diversity of outputs", floor=0.0),
    Family(name="memorization", title="Memorization by discriminators", floor=0.0),
    Family(name="speed", title="Images a second", floor=0.0),
    Family(name="rate", title="Learning rate", floor=0.0),
)


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        title: plain text.
        curves: at least one, each with points.
        family: says how the vertical axis is drawn.
        wide: takes the whole width of the page.
        axis: what the places of the points count.
    """

    title: str
    curves: Sequence[Series]
    family: Family
    wide: bool = False
    axis: str = "step"

    def color(self, number: int) -> int:
        """The number of a curve's colour."""
        chosen = self.curves[number].color
        return (number if chosen is None else chosen) % COLORS

    def legend(self) -> list[tuple[str, int, str]]:
        """Of each curve its name, the number of its colour and its latest value as text."""
        return [
            (curve.name, self.color(number), short_number(curve.points[-1][1]))
            for number, curve in enumerate(self.curves)
        ]

    def data(self) -> dict[str, Any]:
        """What the page's script draws, for JSON: at most `POINTS_A_CURVE` points a curve."""
        values = [y for curve in self.curves for _, y in curve.points]
        bounds = self.family.bounds
        apart = len(self.curves) > 1 and min(values) > 0 and max(values) > 20 * min(values)
        return {
            "title": self.title,
            "bounds": bounds,
            "floor": self.family.floor,
            "log": bounds is None and apart,
            "axis": self.axis,
            "series": [self._series(number, curve) for number, curve in enumerate(self.curves)],
        }

    def _series(self, number: int, curve: Series) -> dict[str, Any]:
        content: dict[str, Any] = {
            "name": curve.name,
            "color": self.color(number),
            "smooth": curve.smooth,
            "points": [(x, _digits(y)) for x, y in _thin(curve.points)],
        }
        if None not in curve.seconds:
            content["seconds"] = [round(second or 0.0, 1) for second in _thin(curve.seconds)]
        return content


def charts_of(log: Log) -> dict[str, list[Chart]]:
    """The charts of one run by heading: one a validation metric, and one a family of what training logs."""
    validation = [
        Chart(metric_label(curve.name, log.unit), [curve], VALIDATION) for curve in log.curves("validation")
    ]
    training = [
        Chart(family.title, curves, family, wide=family.name == "loss")
        for family in TRAINING
        if (curves := log.curves(family.name))
    ]
    return {title: charts for title, charts in (("Validation", validation), ("Training", training)) if charts}


def _thin(values: Sequence[T]) -> list[T]:
    """At most `POINTS_A_CURVE` of the values of a curve, the last one among them."""
    every = math.ceil(len(values) / POINTS_A_CURVE)
    return list(values[::-1][::every][::-1])


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
