"""The page that shows several runs side by side, rendered from their folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from translatekit.errors import TrainingError
from translatekit.metrics import metric_label
from translatekit.training.diagnosis import Trouble, diagnose, read_entries
from translatekit.training.report.charts import COLORS, TRAINING, VALIDATION, Chart, Family
from translatekit.training.report.figures import key_figures, run_title, state_of
from translatekit.training.report.log import Log, Sample, Series, read_config, read_log, read_samples
from translatekit.training.report.page import render

_PACKAGE = "translatekit_tools"


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
    samples: list[Sample]
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
    tag = version(folders)  # before they are read: what is logged meanwhile is then looked for
    runs = read_runs(folders)
    title = runs[0].title if len(runs) == 1 else f"{len(runs)} runs"
    return render("watch.html", _PACKAGE, title=title, version=tag, **_content(runs))


def fragment(runs: Sequence[Run]) -> str:
    """What changes while runs go on."""
    return render("runs.html", _PACKAGE, **_content(runs))


def _content(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "runs": [_shown(number, run) for number, run in enumerate(runs)],
        "differences": _differences(runs),
        "families": {
            family.title: charts for family in (VALIDATION, *TRAINING) if (charts := _charts(runs, family))
        },
    }


def _shown(number: int, run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "title": run.title,
        "state": run.state,
        "number": number,
        "color": number % COLORS,
        "figures": " · ".join(f"{label} {value}" for label, value in key_figures(run.log).items()),
        "troubles": run.troubles,
        "samples": [(step, f"/runs/{number}/{name}") for step, name in run.samples],
    }


def _differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The options in which runs differ, with each run's value."""
    names = dict.fromkeys(name for run in runs for name in run.options)
    options = {name: [run.options.get(name, "") for run in runs] for name in names}
    return {name: values for name, values in options.items() if len(set(values)) > 1}


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The options of a configuration as text, those in tables with their table's name before them."""
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, "" if name in ("options", "method_options") else f"{prefix}{name}.")
        elif name != "output":
            yield f"{prefix}{name}", str(value)


def _charts(runs: Sequence[Run], family: Family) -> list[Chart]:
    """A chart for each name of a family, with a curve a run, in the same colour everywhere."""
    names = dict.fromkeys(curve.name for run in runs for curve in run.log.curves(family.name))
    units = {run.log.unit for run in runs}
    unit = units.pop() if len(units) == 1 else ""
    return [Chart(metric_label(name, unit), _curves(runs, family, name), family) for name in names]


def _curves(runs: Sequence[Run], family: Family, name: str) -> list[Series]:
    return [
        replace(curve, name=run.name, color=number)
        for number, run in enumerate(runs)
        for curve in run.log.curves(family.name)
        if curve.name == name
    ]


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file() or (folder / "metrics.jsonl").is_file()
