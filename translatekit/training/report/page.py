"""The page of a run, read without a network or a server."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from translatekit.storage import write_atomically
from translatekit.training.diagnosis import Trouble, diagnose, read_entries

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Point = tuple[float, float]
T = TypeVar("T")

POINTS_A_CURVE = 800
THUMBNAILS = 40
EVENTS = 30
COLORS = 8


@dataclass
class Series:
    """One curve.

    Attributes:
        name: of the loss or metric, or of the run.
        points: steps and values.
        seconds: of training, by point; None where they were not logged.
        smooth: whether it is noisy enough to be smoothed.
        color: the number of its colour; its place among the curves of its chart where it is None.
    """

    name: str
    points: list[Point] = field(default_factory=list)
    seconds: list[float | None] = field(default_factory=list)
    smooth: bool = True
    color: int | None = None


@dataclass
class Log:
    """What `metrics.jsonl` held: curves by family and name, and events, in the order of their steps."""

    families: dict[str, dict[str, Series]] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    step: int = 0
    epoch: int = 0

    def add(self, family: str, name: str, entry: Mapping[str, Any], value: Any, smooth: bool = True) -> None:
        """Lengthen a curve by the value of a line of the log, unless that is not a number."""
        if _is_number(value):
            series = self.families.setdefault(family, {}).setdefault(name, Series(name, smooth=smooth))
            series.points.append((entry["step"], float(value)))
            seconds: Any = entry.get("seconds")
            series.seconds.append(float(seconds) if _is_number(seconds) else None)

    def curves(self, family: str) -> list[Series]:
        """All curves of a family, in the order of their first points."""
        return list(self.families.get(family, {}).values())


def write_index(run: Path) -> None:
    """Write ``index.html``, the page of a run: its state, figures, samples, curves, events and options.

    Reads ``config.toml``, ``metrics.jsonl`` and ``samples/step-*.png`` of the run's folder, each of which may
    be missing or unfinished. The page needs nothing but the samples beside it.

    Raises:
        ModelFileError: the disk is full or the folder cannot be written.
    """
    text, config = read_config(run / "config.toml")
    entries = list(read_entries(run / "metrics.jsonl"))
    log = read_log(entries)
    samples = read_samples(run / "samples")
    options = config.get("options", {})
    title = run_title(config)
    parts = [
        f'<header><h1>{escape(title)}</h1><p class="quiet">{escape(state_of(options, log))}</p></header>',
        trouble_cards(diagnose(entries)),
        figure_cards(key_figures(log)),
        sample_viewer(samples),
        _charts(log),
        _events(log),
    ]
    if text:
        parts.append(
            '<h2>Options</h2><details class="card"><summary>config.toml</summary>'
            f"<pre>{escape(text)}</pre></details>"
            f'<p class="quiet"><code>translatekit train --config {escape(str(run / "config.toml"))}</code> '
            "repeats the run.</p>"
        )
    write_atomically(run / "index.html", html_page(title, "\n".join(parts)).encode())


def run_title(config: Mapping[str, Any]) -> str:
    """What a run does, from its configuration: ``pix2pix on facades``."""
    data = config.get("data") or config.get("options", {}).get("dataset")
    return str(config.get("method", "training")) + (f" on {Path(str(data)).name}" if data else "")


def html_page(title: str, body: str, script: str = "") -> str:
    """A whole page, style and script included, light or dark as the reader's system is.

    Args:
        title: plain text.
        body: HTML, escaped where that is needed.
        script: JavaScript to run after the page's own.
    """
    here = files("translatekit.training.report") / "templates"
    style, own_script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"<footer>Made by translatekit.</footer>\n<script>\n{own_script}{script}</script>\n</body>\n</html>\n"
    )


def figure_cards(figures: Mapping[str, str]) -> str:
    """A row of key figures as HTML: each label and its value, a unit after the first space set smaller."""
    cards = []
    for label, value in figures.items():
        number, _, unit = value.partition(" ")
        small = f" <small>{escape(unit)}</small>" if unit else ""
        cards.append(f'<div class="card"><dt>{escape(label)}</dt><dd>{escape(number)}{small}</dd></div>')
    return f'<dl class="figures">{"".join(cards)}</dl>' if cards else ""


def trouble_cards(troubles: Sequence[Trouble]) -> str:
    """What a run suffers from, as HTML; nothing for a healthy one."""
    cards = "".join(
        f'<div class="card trouble"><b>{escape(trouble.name.capitalize())}</b> {escape(trouble.text)}.</div>'
        for trouble in troubles
    )
    return f'<section aria-label="troubles">{cards}</section>' if cards else ""


# reading


def read_config(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a ``config.toml`` and what it says; nothing where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (OSError, ValueError):
        return "", {}


def read_log(entries: Iterable[Mapping[str, Any]]) -> Log:
    """The curves and events of a log's lines."""
    log = Log()
    for entry in entries:
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # not a line of ours
            _read_entry(log, entry, entry["step"])
    return log


def _read_entry(log: Log, entry: Mapping[str, Any], step: int) -> None:
    if entry["kind"] == "event":
        log.events.append((step, str(entry["text"])))
    elif entry["kind"] == "train":
        for name, value in entry.get("losses", {}).items():
            log.add("loss", name, entry, value)
        for name, value in (entry.get("accuracy") or {}).items():
            log.add("accuracy", name, entry, value)
        log.add("speed", "images/s", entry, entry.get("images_per_second"))
        log.add("rate", "learning rate", entry, entry.get("lr"), smooth=False)
    elif entry["kind"] == "samples":
        for name, value in entry.get("diversity", {}).items():
            log.add("diversity", name, entry, value, smooth=False)
    elif entry["kind"] == "failure":
        log.events.append((step, f"{entry['loss']} became {entry['value']}: the run ended"))
    elif entry["kind"] == "validation":
        for name, value in entry.get("metrics", {}).items():
            log.add("validation", name, entry, value, smooth=False)
    log.step = max(log.step, step)
    log.epoch = max(log.epoch, int(entry.get("epoch", 0)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def read_samples(folder: Path) -> list[tuple[int, str]]:
    """Steps and relative paths of the samples, oldest first."""
    found = []
    for path in folder.glob("step-*.png"):
        number = path.stem.removeprefix("step-")
        if number.isdecimal():
            found.append((int(number), f"{folder.name}/{path.name}"))
    return sorted(found)


# figures


def state_of(options: Mapping[str, Any], log: Log) -> str:
    """Where the run stands: how far it is, and what happened to it last."""
    if log.step == 0:
        return "no step logged yet"
    progress = f"step {log.step:,}, epoch {log.epoch + 1}"
    if "epochs" in options and "epochs_decay" in options:
        epochs = options["epochs"] + options["epochs_decay"]
        progress = f"step {log.step:,}, epoch {min(log.epoch + 1, epochs)} of {epochs}"
    return f"{progress} · {log.events[-1][1]}" if log.events else progress


def key_figures(log: Log) -> dict[str, str]:
    """What to look at first, as text by label."""
    figures = {"Step": f"{log.step:,}"} if log.step else {}
    for series in log.curves("validation"):
        values = [value for _, value in series.points]
        rising = series.name.rpartition("/")[2] in ("psnr", "ssim", "ms_ssim")
        best = max(values) if rising else min(values)
        unit = " dB" if series.name.endswith("psnr") else ""
        figures[f"Best validation {metric_label(series.name)}"] = f"{short_number(best)}{unit}"
    for series in log.curves("accuracy"):
        figures[f"D accuracy, {series.name}"] = f"{100 * _smoothed(series.points)[-1][1]:.0f} %"
    for series in log.curves("speed"):
        values = sorted(value for _, value in series.points)
        figures["Speed, median"] = f"{short_number(values[len(values) // 2])} images/s"
    return figures


def metric_label(name: str) -> str:
    """A metric's name as it is written: ``MS-SSIM``."""
    prefix, slash, last = name.rpartition("/")
    known = ("l1", "psnr", "ssim", "ms_ssim", "lpips", "fid", "kid")
    return prefix + slash + (last.upper().replace("_", "-") if last in known else last)


def short_number(value: float) -> str:
    """Four significant digits, as few characters as they take."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e+")
    text = f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}" if value else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


# samples and events


def sample_viewer(samples: Sequence[tuple[int, str]], title: str = "Samples") -> str:
    """Sample grids over time, with a slider, as HTML.

    Args:
        samples: steps and the addresses of their images, oldest first.
        title: the heading, as plain text.
    """
    if not samples:
        return ""
    step, newest = samples[-1]
    every = math.ceil(len(samples) / THUMBNAILS)
    thumbs = "".join(
        f'<a href="{escape(samples[index][1])}" data-index="{index}">'
        f'<img src="{escape(samples[index][1])}" alt="" loading="lazy">{samples[index][0]:,}</a>'
        for index in range(len(samples) - 1, -1, -every)
    )
    data = _json([{"step": step, "file": file} for step, file in samples])
    return (
        f'<h2>{escape(title)}</h2><div class="card viewer"><div class="controls">'
        '<button data-by="-1" aria-label="earlier">&lsaquo;</button>'
        f'<input type="range" min="0" max="{len(samples) - 1}" value="{len(samples) - 1}" aria-label="step">'
        f'<button data-by="1" aria-label="later">&rsaquo;</button><output>step {step:,}</output></div>'
        f'<div class="shown"><img src="{escape(newest)}" alt="samples at step {step}"></div>'
        f'<div class="thumbs">{thumbs}</div><script type="application/json">{data}</script></div>'
    )


def _events(log: Log) -> str:
    if not log.events:
        return ""
    rows = "".join(
        f"<tr><td>step {step:,}</td><td>{escape(text)}</td></tr>"
        for step, text in log.events[: -EVENTS - 1 : -1]
    )
    return f'<h2>Events</h2><div class="card"><table class="events">{rows}</table></div>'


def _json(value: Any) -> str:
    """JSON that may stand in a script element, whatever its texts hold."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


# charts


def _charts(log: Log) -> str:
    groups = []
    validation = [chart(metric_label(curve.name), [curve]) for curve in log.curves("validation")]
    if validation:
        groups.append(f'<h2>Validation</h2><div class="charts small">{"".join(validation)}</div>')
    training = []
    if losses := log.curves("loss"):
        training.append(chart("Losses", losses, wide=True))
    if accuracy := log.curves("accuracy"):
        training.append(chart("Discriminator accuracy", accuracy, bounds=(0.0, 1.0)))
    if varied := log.curves("diversity"):
        training.append(chart("Diversity of outputs", varied, floor=0.0))
    if speed := log.curves("speed"):
        training.append(chart("Images a second", speed, floor=0.0))
    if rate := log.curves("rate"):
        training.append(chart("Learning rate", rate, floor=0.0))
    if training:
        groups.append(f'<h2>Training</h2><div class="charts">{"".join(training)}</div>')
    return chart_controls() + "".join(groups) if groups else ""


def chart(
    title: str,
    curves: Sequence[Series],
    *,
    bounds: tuple[float, float] | None = None,
    floor: float | None = None,
    wide: bool = False,
) -> str:
    """One chart as HTML, which the page's script draws; the latest values stand in the legend without it.

    Args:
        title: plain text.
        curves: at least one, each with points.
        bounds: of the vertical axis, where the values have natural ones.
        floor: what the vertical axis starts from at the latest.
        wide: take the whole width.
    """
    values = [y for curve in curves for _, y in curve.points]
    logarithmic = bounds is None and len(curves) > 1 and min(values) > 0 and max(values) > 20 * min(values)
    series, legend = [], []
    for number, curve in enumerate(curves):
        color = (number if curve.color is None else curve.color) % COLORS
        content: dict[str, Any] = {
            "name": curve.name,
            "color": color,
            "smooth": curve.smooth,
            "points": [(x, _digits(y)) for x, y in _thin(curve.points)],
        }
        if None not in curve.seconds:
            content["seconds"] = [round(second or 0.0, 1) for second in _thin(curve.seconds)]
        series.append(content)
        legend.append(f"<li>{series_toggle(curve.name, color, short_number(curve.points[-1][1]))}</li>")
    data = _json(
        {"title": title, "bounds": bounds, "floor": floor, "log": logarithmic, "series": series},
    )
    label = escape(title)
    return (
        f'<section class="card{" wide" if wide else ""}"><div class="head"><h3>{label}</h3>'
        f'<button class="scale" aria-pressed="false" aria-label="{label}: log scale">log</button></div>'
        f'<div class="plot" tabindex="0" role="group" aria-label="{label}; the arrow keys read its values">'
        '<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true"></svg>'
        '<div class="labels" aria-hidden="true"></div><span class="x unit" aria-hidden="true">step</span>'
        '<div class="cursor" hidden></div><div class="tip" role="status" hidden></div>'
        f'<script type="application/json">{data}</script></div>'
        f'<ul class="legend">{"".join(legend)}</ul></section>'
    )


def chart_controls() -> str:
    """How all charts of a page are drawn, as HTML; once a page, before them."""
    return (
        '<div class="card chartbar" hidden><label>Smoothing <input type="range" min="0" value="0"><output></output>'
        '</label><label>Horizontal axis <select><option value="step">step</option>'
        '<option value="time">time of training</option></select></label></div>'
        '<noscript><p class="quiet">The curves are drawn by JavaScript: switch it on to see them.</p></noscript>'
    )


def series_toggle(name: str, color: int, value: str = "") -> str:
    """A button that shows and hides the curves of a name, as HTML.

    Args:
        name: plain text.
        color: the number of its colour.
        value: its latest, as text.
    """
    latest = f" <b>{escape(value)}</b>" if value else ""
    return (
        f'<button class="series" data-series="{escape(name)}" aria-pressed="true">'
        f'<i style="background:var(--c{color})"></i>{escape(name)}{latest}</button>'
    )


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """An exponential moving average over about a fortieth of the curve, unbiased from its first point on."""
    keep = 1 - 1 / max(1.0, len(points) / 40)
    average, weight, result = 0.0, 0.0, []
    for x, y in points:
        average, weight = keep * average + (1 - keep) * y, keep * weight + 1 - keep
        result.append((x, average / weight))
    return result


def _thin(values: Sequence[T]) -> list[T]:
    """At most `POINTS_A_CURVE` of the values of a curve, the last one among them."""
    every = math.ceil(len(values) / POINTS_A_CURVE)
    return list(values[::-1][::every][::-1])


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
