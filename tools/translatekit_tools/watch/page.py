"""The page that shows several runs side by side, rendered from their folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from translatekit.errors import TrainingError
from translatekit.training.diagnosis import Trouble, diagnose, read_entries
from translatekit.training.report.page import (
    COLORS,
    Log,
    Series,
    chart,
    chart_controls,
    html_page,
    key_figures,
    metric_label,
    read_config,
    read_log,
    read_samples,
    run_title,
    sample_viewer,
    series_toggle,
    state_of,
    trouble_cards,
)

_FAMILIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("validation", "Validation", {}),
    ("loss", "Losses", {}),
    ("accuracy", "Discriminator accuracy", {"bounds": (0.0, 1.0)}),
    ("diversity", "Diversity of outputs", {"floor": 0.0}),
    ("speed", "Speed", {"floor": 0.0}),
    ("rate", "Learning rate", {"floor": 0.0}),
)

_REFRESH = """
let current = document.querySelector("#runs").dataset.version;
let busy = false;

async function refresh() {
  // where there is a mouse; a finger leaves its mark on what it touched last
  const reading = matchMedia("(hover: hover)").matches && document.querySelector(".plot:hover");
  if (busy || document.hidden || reading) return;
  busy = true;
  const state = document.querySelector("#live");
  try {
    const answer = await fetch("/fragment", { headers: { "If-None-Match": current } });
    if (answer.status === 200) {
      const runs = document.querySelector("#runs");
      const controls = () => [...runs.querySelectorAll("button, input, a, summary, [tabindex]")];
      const focused = controls().indexOf(document.activeElement);
      const kept = new Map();
      for (const viewer of runs.querySelectorAll(".viewer")) {
        const slider = viewer.querySelector("input");
        if (slider.value !== slider.max) kept.set(viewer.closest("section").id, Number(slider.value));
      }
      const text = await answer.text();
      const place = window.scrollY;
      runs.innerHTML = text;
      enliven(runs);
      for (const [id, value] of kept) document.getElementById(id)?.querySelector(".viewer")?.show(value);
      if (focused >= 0) controls()[focused]?.focus({ preventScroll: true });
      window.scrollTo(0, place);
      current = answer.headers.get("ETag");
    }
    state.textContent = "live";
  } catch {
    state.textContent = "translatekit watch has ended";
  }
  busy = false;
}

setInterval(refresh, 2000);
"""


@dataclass(frozen=True)
class Run:
    """What a run's folder held when it was looked at.

    Attributes:
        folder: the run's.
        name: what it is called on the page.
        title: what it does.
        state: how far it is, in words.
        log: its curves and events.
        samples: steps and file names of its sample grids, oldest first.
        troubles: what it suffers from.
        options: of its configuration by name, flat; where it writes to is left out.
    """

    folder: Path
    name: str
    title: str
    state: str
    log: Log
    samples: list[tuple[int, str]]
    troubles: list[Trouble]
    options: dict[str, str]


def check_runs(folders: Sequence[Path]) -> list[Path]:
    """The folders of runs, those inside a folder of runs taken one by one.

    Raises:
        TrainingError: one is neither.
    """
    found: list[Path] = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.glob("*/config.toml")) if folder.is_dir() else []
        if _is_run(folder):
            found.append(folder)
        elif inside:
            found += inside
        else:
            raise TrainingError(
                f"{folder} is not the folder of a run: give one made by translatekit train, such as runs/pix2pix-photos"
            )
    return list(dict.fromkeys(found))


def read_run(folder: Path, name: str) -> Run:
    """Look at a run's folder, which may be unfinished."""
    _, config = read_config(folder / "config.toml")
    entries = list(read_entries(folder / "metrics.jsonl"))
    log = read_log(entries)
    return Run(
        folder=folder,
        name=name,
        title=run_title(config),
        state=state_of(config.get("options", {}), log),
        log=log,
        samples=read_samples(folder / "samples"),
        troubles=diagnose(entries),
        options=dict(_flat(config)),
    )


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Look at several runs, each called by as much of its path as tells it from the others."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def version(folders: Sequence[Path]) -> str:
    """Changes whenever a run has logged something: an HTTP entity tag."""
    marks: list[Any] = []
    for folder in folders:
        for path in (folder / "metrics.jsonl", folder / "samples", folder / "config.toml"):
            try:
                state = path.stat()
                marks += [state.st_mtime_ns, state.st_size]
            except OSError:
                marks.append(0)
    return '"' + "-".join(map(str, marks)) + '"'


def whole_page(folders: Sequence[Path]) -> str:
    """The page, with the script that keeps it current."""
    runs = read_runs(folders)
    title = runs[0].title if len(runs) == 1 else f"{len(runs)} runs"
    tag = escape(version(folders))
    return html_page(
        title,
        f'<header><h1>{escape(title)}</h1><p class="quiet" id="live" role="status">live</p></header>'
        f'{chart_controls()}<div id="runs" data-version="{tag}">{fragment(runs)}</div>',
        _REFRESH,
    )


def fragment(runs: Sequence[Run]) -> str:
    """What changes while runs go on."""
    parts = [f'<ul class="runs">{"".join(_card(number, run) for number, run in enumerate(runs))}</ul>']
    for run in runs:
        if run.troubles:
            heading = f"<h3>{escape(run.name)}</h3>" if len(runs) > 1 else ""
            parts.append(heading + trouble_cards(run.troubles))
    parts.append(_differences(runs))
    parts.append(_samples(runs))
    for family, title, settings in _FAMILIES:
        charts = [
            chart(metric_label(name), curves, **settings) for name, curves in _by_name(runs, family).items()
        ]
        if charts:
            parts.append(f'<h2>{title}</h2><div class="charts">{"".join(charts)}</div>')
    return "".join(parts)


def _card(number: int, run: Run) -> str:
    figures = " · ".join(f"{label} {value}" for label, value in key_figures(run.log).items())
    return (
        f'<li class="card">{series_toggle(run.name, number % COLORS)}<p>{escape(run.title)}</p>'
        f'<p>{escape(run.state)}</p><p class="quiet">{escape(figures)}</p></li>'
    )


def _differences(runs: Sequence[Run]) -> str:
    """A table of the options in which runs differ."""
    if len(runs) < 2:
        return ""
    names = dict.fromkeys(name for run in runs for name in run.options)
    rows = [(name, [run.options.get(name, "") for run in runs]) for name in names]
    differing = [(name, values) for name, values in rows if len(set(values)) > 1]
    heading = "<h2>Options in which they differ</h2>"
    if not differing:
        return f'{heading}<p class="quiet">In none: they have the same options.</p>'
    head = "".join(f'<th scope="col">{escape(run.name)}</th>' for run in runs)
    body = "".join(
        f'<tr><th scope="row">{_breakable(name)}</th>'
        f"{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>"
        for name, values in differing
    )
    return (
        f'{heading}<div class="card scroll" tabindex="0" role="region" aria-label="Options in which they differ">'
        f'<table class="options"><thead><tr><th scope="col">option</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _breakable(name: str) -> str:
    """A name as HTML that may be broken after its dots and underscores."""
    return escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The options of a configuration as text, those in tables with their table's name before them."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, "" if name in ("options", "method_options") else f"{prefix}{name}.")
        elif name != "output":
            yield f"{prefix}{name}", str(value)


def _by_name(runs: Sequence[Run], family: str) -> dict[str, list[Series]]:
    """The curves of one name together: a curve a run, in the same colour everywhere."""
    names = dict.fromkeys(curve.name for run in runs for curve in run.log.curves(family))
    return {
        name: [
            replace(curve, name=run.name, color=number)
            for number, run in enumerate(runs)
            for curve in run.log.curves(family)
            if curve.name == name
        ]
        for name in names
    }


def _samples(runs: Sequence[Run]) -> str:
    columns = []
    for number, run in enumerate(runs):
        addresses = [(step, f"/runs/{number}/{name}") for step, name in run.samples]
        title = "Samples" if len(runs) == 1 else f"Samples of {run.name}"
        if addresses:
            viewer = sample_viewer(addresses, title)
            columns.append(f'<section id="samples-{number}" data-run="{escape(run.name)}">{viewer}</section>')
    return f'<div class="gallery">{"".join(columns)}</div>' if columns else ""


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file() or (folder / "metrics.jsonl").is_file()
