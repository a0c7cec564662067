"""Curves side by side, as a picture: what the benchmarks draw by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN, LEGEND = 560, 380, 56, 30
INKS = ("#888888", "#1f5fbf", "#2e8b57", "#b8860b")
RED = "#cc4444"

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One of the pictures.

    Attributes:
        title: above it.
        curves: by their names, points (x, y).
        line: a value to compare with, and what it is; None for none.
    """

    title: str
    curves: dict[str, Curve]
    line: tuple[float, str] | None = None


def draw(panels: Sequence[Panel], path: Path, unit: str, dots: bool = True) -> None:
    """Draw panels from left to right.

    Args:
        panels: whose x are of one unit.
        path: of the picture.
        unit: of x.
        dots: mark the points.
    """
    picture = Image.new("RGB", (len(panels) * WIDTH, HEIGHT + LEGEND), "white")
    pen = ImageDraw.Draw(picture)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    inks = dict(zip(names, INKS[: len(names)], strict=True))
    longest = max(x for panel in panels for curve in panel.curves.values() for x, _ in curve)
    for number, panel in enumerate(panels):
        _draw(pen, panel, number * WIDTH, longest, unit, inks, dots)
    for number, (name, ink) in enumerate(inks.items()):
        pen.text((MARGIN + 160 * number, HEIGHT), name, fill=ink)
    picture.save(path)


def _draw(
    pen: ImageDraw.ImageDraw,
    panel: Panel,
    start: int,
    longest: float,
    unit: str,
    inks: dict[str, str],
    dots: bool,
) -> None:
    values = [y for curve in panel.curves.values() for _, y in curve] + (
        [panel.line[0]] if panel.line else []
    )
    low, high = min(values), max(values)
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    left, right, top, bottom = start + MARGIN, start + WIDTH - 16, 40, HEIGHT - MARGIN

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / longest, bottom - (bottom - top) * (y - low) / (high - low)

    pen.rectangle((left, top, right, bottom), outline="#cccccc")
    pen.text((left, 16), panel.title, fill="black")
    for tick in np.linspace(low, high, 5):
        pen.text((start + 8, at(0, tick)[1] - 6), f"{tick:.3f}", fill="black")
    for tick in np.linspace(0, longest, 5):
        pen.text((at(tick, low)[0] - 10, bottom + 6), f"{tick:.0f} {unit}", fill="black")
    if panel.line:
        value, said = panel.line
        pen.line((*at(0, value), *at(longest, value)), fill=RED)
        pen.text((start + 300, 16), f"red line: {said}", fill=RED)
    for name, curve in panel.curves.items():
        points = [at(x, y) for x, y in curve]
        pen.line(points, fill=inks[name], width=2)
        for x, y in points if dots else ():
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=inks[name])
