"""What is said of a run in a few words: its title, its state, its key figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from translatekit.metrics import find_metric, metric_label
from translatekit.training.report.log import Log, Point


def run_title(config: Mapping[str, Any]) -> str:
    """What a run does, from its configuration: ``pix2pix on facades``."""
    data = config.get("data") or config.get("options", {}).get("dataset")
    return str(config.get("method", "training")) + (f" on {Path(str(data)).name}" if data else "")


def state_of(options: Mapping[str, Any], log: Log) -> str:
    """Where the run stands: how far it is, and what has happened to it, unless it went on since."""
    if log.step == 0:
        return "no step logged yet"
    progress = f"step {log.step:,}, epoch {log.epoch + 1}"
    if "epochs" in options and "epochs_decay" in options:
        epochs = options["epochs"] + options["epochs_decay"]
        progress = f"step {log.step:,}, epoch {min(log.epoch + 1, epochs)} of {epochs}"
    return f"{progress} · {log.last}" if log.last else progress


def key_figures(log: Log) -> dict[str, str]:
    """What to look at first, as text by label."""
    figures = {"Step": f"{log.step:,}"} if log.step else {}
    for series in log.curves("validation"):
        values = [value for _, value in series.points]
        metric = find_metric(series.name)
        best = max(values) if metric and metric.better == "higher" else min(values)
        unit = "" if metric is None else log.unit if metric.unit == "image" else metric.unit
        figures[f"Best validation {metric_label(series.name)}"] = f"{short_number(best)} {unit}".rstrip()
    for series in log.curves("accuracy"):
        figures[f"D accuracy, {series.name}"] = f"{100 * _latest(series.points):.0f} %"
    for series in log.curves("speed"):
        values = sorted(value for _, value in series.points)
        figures["Speed, median"] = f"{short_number(values[len(values) // 2])} images/s"
    return figures


def short_number(value: float) -> str:
    """Four significant digits, as few characters as they take."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")
    text = f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}" if value else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _latest(points: Sequence[Point]) -> float:
    """The end of the exponential moving average over about a fortieth of a curve, unbiased from its first point on."""
    keep = 1 - 1 / max(1.0, len(points) / 40)
    average, weight = 0.0, 0.0
    for _, y in points:
        average, weight = keep * average + (1 - keep) * y, keep * weight + 1 - keep
    return average / weight
