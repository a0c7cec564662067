"""Bulk work on one machine: what is found is translated, told and summed up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.interfaces import Translator
from translatekit.model_file import find_model
from translatekit.storage import check_writable
from translatekit_tools.bulk.devices import Devices, devices_of
from translatekit_tools.bulk.find import Findings, Job, find_jobs
from translatekit_tools.bulk.kinds import Kind
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.places import PlaceJobs, are_places, find_place_jobs
from translatekit_tools.bulk.runner import Runner
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.single import kind_of_job
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.summary import Progress, Result, Summary
from translatekit_tools.bulk.task import ignore
from translatekit_tools.bulk.walk import LeftOut

_AHEAD = 4096
"""Files of folders that are found before the first is translated."""


def translate_images(
    inputs: Sequence[str | Path],
    model: str | Path | Translator,
    out: str | Path | None,
    options: RunOptions,
    progress: Progress | None = None,
) -> Summary:
    """See `translatekit_tools.bulk.translate`."""
    start = time.perf_counter()
    summary = Summary(dry_run=options.dry_run)
    model_file = (
        find_model(model, options.direction, best=options.best) if isinstance(model, str | Path) else None
    )
    say = getattr(progress, "say", ignore)
    found = _find(inputs, out, options)
    with _results(_jobs(found, options, say), model, model_file, options, progress) as (results, stats):
        for result in results:
            if found.total:
                result = replace(result, total=found.total)
            summary.add(result)
            if progress is not None:
                progress(result)
    summary.left_out = found.left_out.unread
    summary.seconds = time.perf_counter() - start
    summary.stats = stats()
    return summary


@contextmanager
def _results(
    jobs: Iterable[Job],
    model: str | Path | Translator,
    model_file: Path | None,
    options: RunOptions,
    progress: Progress | None,
) -> Iterator[tuple[Iterator[Result], Callable[[], Stats | None]]]:
    """What becomes of the jobs, in this process or in one for each device; and what then says where the time went."""
    devices = [] if options.devices is None else devices_of(options.devices)
    if len(devices) > 1 and not options.dry_run:
        if model_file is None:
            raise OptionError("devices translates in other processes, which load the model: give its file")
        with closing(Devices(devices, options, model_file, progress)) as processes:
            yield processes.run(jobs), processes.stats
        return
    if devices:
        options = replace(options, device=devices[0], devices=None)
    say = getattr(progress, "say", ignore)
    session = Session(options, model_file, None if isinstance(model, str | Path) else model, say)
    with closing(Runner(session, progress)) as runner, closing(runner.run(jobs)) as tasks:
        yield (task.result(0) for task in tasks), runner.stats


def _find(inputs: Sequence[str | Path], out: str | Path | None, options: RunOptions) -> Findings | PlaceJobs:
    if not are_places(inputs, out):
        return find_jobs(inputs, out, options)
    found = find_place_jobs(inputs, out, options)
    if not found.manifest.is_local:
        found.manifest.list_outputs()
    return found


def _jobs(found: Findings | PlaceJobs, options: RunOptions, say: Callable[[str], object]) -> Iterable[Job]:
    """The jobs, of which some are found before the first is done: of a few files, all is known then that there is."""
    if isinstance(found, PlaceJobs):
        return _with_notes(found, found.left_out, say)
    jobs = iter(found)
    if options.frames is not None:
        jobs = _with_frames(jobs, Path(options.frames).expanduser())
    if not options.dry_run:
        jobs = _into_writable(jobs)
    jobs = _with_notes(jobs, found.left_out, say)
    return chain(list(islice(jobs, _AHEAD)), jobs)


def _with_notes(jobs: Iterable[Job], left_out: LeftOut, say: Callable[[str], object]) -> Iterator[Job]:
    """The jobs, and at their end what is to be said of what was left out."""
    yield from jobs
    for note in left_out.notes():
        say(note)


def _with_frames(jobs: Iterable[Job], folder: Path) -> Iterator[Job]:
    """The jobs, the frames of each video in a folder of their own below this one."""
    sources: dict[Path, Path] = {}
    for job in jobs:
        for each in (job, *job.alternatives):
            if each.problem is None and kind_of_job(each) == Kind("video"):
                below = Path(each.manifest.relative(each.output)).parent
                each.frames = folder / below / each.source.stem
        if job.frames is not None:
            other = sources.setdefault(job.frames, job.source)
            if other != job.source:
                job.problem = (
                    f"its frames would go where those of {other} are, {job.frames}: rename one of the two"
                )
        yield job


def _into_writable(jobs: Iterable[Job]) -> Iterator[Job]:
    """The jobs, each once its output folder can be written; before anything is translated where there is one folder.

    Raises:
        DataError: one cannot be written.
    """
    known: set[Path] = set()
    for job in jobs:
        folder = job.manifest.folder
        if folder not in known and job.frames is None and not job.to_standard_output:
            _check_folder(folder)
            known.add(folder)
        yield job


def _check_folder(folder: Path) -> None:
    try:
        check_writable(folder)
    except OSError as error:
        raise DataError(
            f"the output folder {folder} cannot be written ({error.strerror}): choose another with -o"
        ) from None
