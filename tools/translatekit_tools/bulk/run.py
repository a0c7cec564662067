"""Bulk work on one machine: what is found is translated, told and summed up."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.interfaces import Translator
from translatekit.model_file import find_model
from translatekit_tools.bulk.devices import Devices, devices_of
from translatekit_tools.bulk.find import Job, find_jobs
from translatekit_tools.bulk.kinds import Kind
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.places import are_places, find_place_jobs
from translatekit_tools.bulk.runner import Runner
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.single import kind_of_job
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.summary import Progress, Result, Summary
from translatekit_tools.bulk.task import ignore


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
    jobs, total = _find(inputs, out, options, summary, say)
    with _results(jobs, model, model_file, options, progress) as (results, stats):
        for result in results:
            if total:
                result = replace(result, total=total)
            summary.add(result)
            if progress is not None:
                progress(result)
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


def _find(
    inputs: Sequence[str | Path],
    out: str | Path | None,
    options: RunOptions,
    summary: Summary,
    say: Callable[[str], object],
) -> tuple[Iterable[Job], int]:
    """The jobs, and how many there are; 0 where they are listed while they are done."""
    if are_places(inputs, out):
        found = find_place_jobs(inputs, out, options)
        if not found.manifest.is_local:
            found.manifest.list_outputs()
        summary.left_out = found.left_out
        return found, 0
    findings = find_jobs(inputs, out, options)
    summary.left_out = findings.left_out
    for note in findings.notes():
        say(note)
    if options.frames is not None:
        _place_frames(findings.jobs, Path(options.frames).expanduser())
    if not options.dry_run:
        _prepare_folders(findings.jobs)
    return findings.jobs, sum(1 + len(job.alternatives) for job in findings.jobs)


def _place_frames(jobs: Iterable[Job], folder: Path) -> None:
    """Give the frames of each video a folder of their own below this one."""
    sources: dict[Path, Path] = {}
    for job in jobs:
        for each in (job, *job.alternatives):
            if each.problem is None and kind_of_job(each) == Kind("video"):
                below = Path(each.manifest.relative(each.output)).parent
                each.frames = folder / below / each.source.stem
        if job.frames is None:
            continue
        other = sources.setdefault(job.frames, job.source)
        if other != job.source:
            job.problem = (
                f"its frames would go where those of {other} are, {job.frames}: rename one of the two videos"
            )


def _prepare_folders(jobs: Iterable[Job]) -> None:
    """Find out before anything is translated whether the output folders can be written.

    Raises:
        DataError: one cannot.
    """
    for folder in dict.fromkeys(
        job.manifest.folder for job in jobs if job.frames is None and not job.to_standard_output
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise DataError(
                f"the output folder {folder} cannot be written ({error.strerror}): choose another with -o"
            ) from None
