"""The page that shows several runs side by side, rendered from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from translatekit.errors import TrainingError
from translatekit.training.diagnosis import Trouble, diagnose, read_entries
from translatekit.training.report import (
    Log,
    Series,
    chart,
    html_page,
    key_figures,
    metric_label,
    read_config,
    read_log,
    read_samples,
    run_title,
    sample_viewer,
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
let shown = document.querySelector("main").dataset.version;
let busy = false;

async function refresh() {
  if (busy || document.hidden || document.querySelector(".plot:hover")) return;
  busy = true;
  const state = document.querySelector("#live");
  try {
    const answer = await fetch("/fragment", { headers: { "If-None-Match": shown } });
    if (answer.status === 200) {
      const main = document.querySelector("main");
      const kept = new Map();
      for (const viewer of main.querySelectorAll(".viewer")) {
        const slider = viewer.querySelector("input");
        if (slider.value !== slider.max) kept.set(viewer.closest("section").id, slider.value);
      }
      const text = await answer.text();
      const place = window.scrollY;
      main.innerHTML = text;
      enliven(main);
      for (const [id, value] of kept) {
        const slider = document.getElementById(id)?.querySelector("input");
        if (slider) { slider.value = value; slider.dispatchEvent(new Event("input")); }
      }
      window.scrollTo(0, place);
      shown = answer.headers.get("ETag");
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
    """

    folder: Path
    name: str
    title: str
    state: str
    log: Log
    samples: list[tuple[int, str]]
    troubles: list[Trouble]


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
        for path in (folder / "metrics.jsonl", folder / "samples"):
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
        f'<main data-version="{tag}">{fragment(runs)}</main>',
        _REFRESH,
    )


def fragment(runs: Sequence[Run]) -> str:
    """What changes while runs go on."""
    rows = "".join(
        f'<tr><td><i style="background:var(--c{number % 8})"></i>{escape(run.name)}</td>'
        f"<td>{escape(run.title)}</td><td>{escape(run.state)}</td>"
        f"<td>{escape(' · '.join(f'{label} {value}' for label, value in key_figures(run.log).items()))}</td></tr>"
        for number, run in enumerate(runs)
    )
    parts = [f'<div class="card legend" style="overflow-x:auto"><table class="events">{rows}</table></div>']
    for run in runs:
        if run.troubles:
            heading = f"<h3>{escape(run.name)}</h3>" if len(runs) > 1 else ""
            parts.append(heading + trouble_cards(run.troubles))
    parts.append(_samples(runs))
    for family, title, settings in _FAMILIES:
        charts = [
            chart(metric_label(name), curves, **settings) for name, curves in _by_name(runs, family).items()
        ]
        if charts:
            parts.append(f'<h2>{title}</h2><div class="charts">{"".join(charts)}</div>')
    return "".join(parts)


def _by_name(runs: Sequence[Run], family: str) -> dict[str, list[Series]]:
    """The curves of one name together: a curve a run, in the same colour everywhere."""
    names = dict.fromkeys(curve.name for run in runs for curve in run.log.curves(family))
    return {
        name: [
            Series(run.name, curve.points, curve.smooth, color=number)
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
            columns.append(f'<section id="samples-{number}">{sample_viewer(addresses, title)}</section>')
    return f'<div class="gallery">{"".join(columns)}</div>' if columns else ""


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file() or (folder / "metrics.jsonl").is_file()
