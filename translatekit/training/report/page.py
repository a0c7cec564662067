"""The page of a run, and how pages are made: Jinja templates in which whatever is shown is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup, escape

from translatekit.errors import TranslatekitError
from translatekit.storage import write_atomically
from translatekit.training.diagnosis import diagnose, read_entries
from translatekit.training.report.charts import charts_of
from translatekit.training.report.figures import key_figures, run_title, state_of
from translatekit.training.report.log import Sample, read_config, read_log, read_samples

THUMBNAILS = 40
EVENTS = 30
_PACKAGE = "translatekit.training.report"


def write_index(run: Path) -> None:
    """Write ``index.html``, the page of a run: its state, figures, samples, curves, events and options.

    Reads ``config.toml``, ``metrics.jsonl`` and ``samples/step-*.png`` of the run's folder, each of which may
    be missing or unfinished. The page needs nothing but the samples beside it.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    text, config = read_config(run / "config.toml")
    entries = list(read_entries(run / "metrics.jsonl"))
    log = read_log(entries)
    page = render(
        "report/run.html",
        title=run_title(config),
        state=state_of(config.get("options", {}), log),
        troubles=diagnose(entries),
        figures=key_figures(log),
        samples=read_samples(run / "samples"),
        charts=charts_of(log),
        events=log.events[: -EVENTS - 1 : -1],
        config=text,
        path=run / "config.toml",
    )
    write_atomically(run / "index.html", page.encode())


def render(template: str, package: str | None = None, **content: Any) -> str:
    """A page or a part of one, style and script included, light or dark as the reader's system is.

    Every text is escaped, in markup, in attributes and in the JSON that scripts read. A template that asks for what
    it was not given is an error.

    Args:
        template: its file name; one of this room is ``report/`` and its name.
        package: whose folder ``templates`` it lies in; None for this room.
        content: what it shows.
    """
    return _environment(package).get_template(template).render(content)


@cache
def _environment(package: str | None) -> Environment:
    here = PrefixLoader({"report": PackageLoader(_PACKAGE)})
    environment = Environment(
        loader=ChoiceLoader([here, PackageLoader(package)]) if package else here,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters.update(breakable=_breakable, thumbnails=_thumbnails)
    environment.globals.update(source=_source, chart_library=_chart_library)
    return environment


@cache
def _source(name: str) -> Markup:
    """A style or script of this room."""
    return Markup((files(_PACKAGE) / "templates" / name).read_text(encoding="utf-8"))


@cache
def _chart_library(name: str) -> Markup:
    """A file of uPlot, from the package that brings it; that package itself is not imported."""
    try:
        path = metadata.distribution("uplot-python").locate_file(f"uplot/static/{name}")
        return Markup(Path(str(path)).read_text(encoding="utf-8"))
    except (metadata.PackageNotFoundError, OSError):
        raise TranslatekitError(
            f"the charts of pages are drawn by uPlot, and {name} is not there: run pip install 'translatekit[train]'"
        ) from None


def _breakable(name: str) -> Markup:
    """A name that may be broken after its dots and underscores."""
    return Markup(str(escape(name)).replace(".", ".<wbr>").replace("_", "_<wbr>"))


def _thumbnails(samples: Sequence[Sample]) -> list[tuple[int, Sample]]:
    """At most `THUMBNAILS` samples with their numbers, the newest first."""
    every = math.ceil(len(samples) / THUMBNAILS)
    return [(index, samples[index]) for index in range(len(samples) - 1, -1, -every)]
