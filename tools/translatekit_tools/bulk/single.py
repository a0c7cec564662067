"""Files that are translated by themselves: volumes and pages, images larger than the memory, videos, animations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from translatekit.errors import DataError
from translatekit.images import Image, read_size, suffix_of
from translatekit.images.formats import open_image, write_volume
from translatekit.inference.batching import translate_batches
from translatekit.requirements import VIDEO, require
from translatekit.storage import commit_file, hash_file, write_error
from translatekit_tools.bulk.addresses import is_sequence, sequence_files
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.images import Slices, ask
from translatekit_tools.bulk.kinds import (
    ANIMATION_SUFFIXES,
    RAW_SUFFIXES,
    is_multipage,
    is_video,
    volume_suffix,
)
from translatekit_tools.bulk.large import is_large, translate_large
from translatekit_tools.bulk.manifest import hash_options
from translatekit_tools.bulk.reading import is_done, read
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.summary import Progress
from translatekit_tools.bulk.task import Task, ignore

Translation = Callable[[Session, Task, "Progress | None"], None]
"""Translates a file that does not go through the stages as one image."""


def translation_of(job: Job) -> Translation | None:
    """What translates a file that does not go through the stages as one image; None for one that does."""
    if is_video_job(job):
        return _translate_video
    if is_multipage(job.source, job.output):
        return _translate_pages
    return _translate_large if is_large(job.source, job.output) else None


def is_video_job(job: Job) -> bool:
    """Whether a job is translated frame by frame."""
    return job.address is not None or job.to_standard_output or is_video(job.source, job.output)


def _translate_large(session: Session, task: Task, progress: Progress | None) -> None:
    """From a file of one image larger than the memory to a tiled TIFF."""
    read(session, task)
    if task.outcome is not None or session.options.dry_run:
        if task.outcome is None:
            task.finish("translated")
        return
    job = task.job
    task.data = b""
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        translate_large(
            job.source,
            job.output,
            session.predictor,
            session.options,
            session.made_from(task),
            session.planner.limit,
            commit=lambda made: commit_file(made, job.output, lambda: session.record_file(task, made)),
            report=partial(getattr(progress, "frames", ignore), unit="part"),
            say=session.say,
            timer=session.timer,
        )
    except OSError as error:
        raise write_error(error, job.output) from None
    task.finish("translated")


def _translate_pages(session: Session, task: Task, progress: Progress | None) -> None:
    """From a file of several pages or slices, or a series, to one of as many."""
    read(session, task)
    if task.outcome is not None or session.options.dry_run:
        if task.outcome is None:
            task.finish("translated")
        return
    job, source = task.job, task.data or task.job.source
    unit = "page" if volume_suffix(job.output) in (".tif", ".tiff") else "slice"
    report = partial(getattr(progress, "frames", ignore), unit=unit)
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error, job.output) from None
    axis = session.options.slice_axis or session.predictor.info.input.slice_axis
    with open_image(source, suffix=suffix_of(job.source), axis=axis) as volume:
        count = volume.header().pages
        extents = [session.extent(task, volume.header(page)) for page in range(count)]
        slices = Slices(volume, session.predictor.info.input, str(job.source))

        def pages() -> Iterator[Image]:
            for page, (height, width, image_bytes) in enumerate(extents):
                predictor, _ = session.planner.plan(height, width, image_bytes, 1)
                with session.timer.stage("decode"):
                    image = session.told(ask(*slices.read(page), predictor))
                yield from (done.image() for done in translate_batches([[image]], session.timer.stage))
                report(page + 1, count)

        write_volume(
            job.output,
            pages(),
            pages=count,
            suffix=volume_suffix(job.output),
            compression=session.options.compression,
            before_rename=partial(session.record_file, task),
        )
    task.finish("translated")


def _translate_video(session: Session, task: Task, progress: Progress | None) -> None:
    """From a video or an animation to a file like it, or to its frames as images."""
    require("a video or an animation", VIDEO)
    from translatekit_tools.bulk.video.pipeline import translate_stream, translate_video, write_frames

    job = task.job
    try:
        task.input_hash, task.bytes_read = _hash_video(job)
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror}): check it and its permissions") from None
    if job.frames is None and not job.to_standard_output and is_done(session, task):
        task.finish("skipped")
        return
    if session.options.dry_run:
        task.finish("translated")
        return
    report, say = (getattr(progress, name, ignore) for name in ("frames", "say"))
    source_hashes = session.made_from(task)
    if (
        job.source.suffix.lower() in ANIMATION_SUFFIXES and job.source.is_file()
    ):  # opening it decodes a whole frame
        session.planner.plan_frames(*read_size(job.source))

    def commit(made: Path) -> None:
        commit_file(made, job.output, lambda: session.record_file(task, made))

    try:
        if job.frames is not None:
            task.video = write_frames(
                job.source,
                job.frames,
                session.planner,
                session.options,
                source_hashes,
                report,
                say,
                session.timer,
                job.address,
            )
        elif job.address is not None or job.to_standard_output or job.output.suffix.lower() in RAW_SUFFIXES:
            task.video = translate_stream(
                job.source,
                job.address,
                None if job.to_standard_output else job.output,
                session.planner,
                session.options,
                commit=commit,
                report=report,
                say=say,
                timer=session.timer,
            )
        else:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            task.video = translate_video(
                job.source,
                job.output,
                session.planner,
                session.options,
                source_hashes,
                commit=commit,
                report=report,
                say=say,
                timer=session.timer,
            )
    except BrokenPipeError:
        raise DataError("whoever reads standard output has ended: nothing more was translated") from None
    except OSError as error:
        raise write_error(error, job.frames or job.output) from None
    task.finish("translated")


def _hash_video(job: Job) -> tuple[str, int]:
    """The hash of a video's bytes, empty where nobody knows them before they are read; and how many there are.

    Raises:
        OSError: they cannot be read.
    """
    if job.address is not None:
        return "", 0
    if not is_sequence(job.source):
        return hash_file(job.source), job.source.stat().st_size
    files = sequence_files(job.source)
    hashes = [[number, hash_file(path)] for number, path in files.items()]
    return hash_options({"images": hashes}), sum(path.stat().st_size for path in files.values())
