"""Files that are translated by themselves: volumes and pages, images larger than the memory, videos, animations."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from translatekit.errors import DataError
from translatekit.images import Image, read_header, read_size, suffix_of
from translatekit.images.formats import open_image, write_volume
from translatekit.inference.batching import translate_batches
from translatekit.requirements import VIDEO, require
from translatekit.storage import hash_file, temporary_path, write_error
from translatekit_tools.bulk.addresses import is_sequence, sequence_files
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.images import Slices, ask, decode, encode
from translatekit_tools.bulk.kinds import (
    ANIMATION_SUFFIXES,
    RAW_SUFFIXES,
    VIDEO_SUFFIXES,
    Kind,
    kind_of,
    may_be_many,
    volume_suffix,
)
from translatekit_tools.bulk.large import translate_large
from translatekit_tools.bulk.manifest import hash_options, hash_path, size_of
from translatekit_tools.bulk.reading import SMALL_FILE, is_done, read
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.spool import at_hand
from translatekit_tools.bulk.summary import Progress
from translatekit_tools.bulk.task import Task, ignore


def kind_of_job(job: Job) -> Kind | None:
    """What the file of a job is; None for an object of a store that was not fetched, which nobody knows yet."""
    if job.kind is None and job.origin is None:
        is_stream = job.address is not None or job.to_standard_output
        job.kind = Kind("video") if is_stream else kind_of(job.source, job.output)
    return job.kind


def fetch(session: Session, job: Job) -> None:
    """Read an object, if it is an image that goes through the stages; then the job knows its kind.

    Raises:
        StorageError: it cannot be read.
    """
    origin = job.origin
    assert origin is not None
    if suffix_of(job.source) in VIDEO_SUFFIXES or (origin.size or 0) > SMALL_FILE:
        return
    job.kind = Kind("image")
    if session.options.dry_run:
        return
    with session.timer.stage("read"):
        job.data = origin.place.read(origin.name)
    if may_be_many(job.source):
        with tempfile.NamedTemporaryFile(suffix=suffix_of(job.source)) as file:
            file.write(job.data)
            file.flush()
            job.kind = kind_of(Path(file.name), job.output)
    if job.kind.way != "image":
        job.data = b""


def translate_single(session: Session, task: Task, progress: Progress | None) -> None:
    """Translate a file that does not go through the stages as one image.

    Raises:
        TranslatekitError: it cannot be read or translated, or the output not be written.
    """
    job = task.job
    if session.options.dry_run and job.origin is not None:
        task.finish("translated")
        return
    try:
        with at_hand(job) as (source, out):
            kind = kind_of_job(job) or kind_of(source, out)
            _TRANSLATIONS[kind.way](session, task, source, out, progress)
    except OSError as error:
        raise write_error(error, job.frames or job.output) from None


def _translate_large(
    session: Session, task: Task, source: Path, out: Path, progress: Progress | None
) -> None:
    """From a file of one image larger than the memory to a tiled TIFF."""
    if not _must_translate(session, task, source):
        return
    task.data = b""
    out.parent.mkdir(parents=True, exist_ok=True)
    translate_large(
        source,
        out,
        session.predictor,
        session.options,
        session.made_from(task),
        session.planner.limit,
        commit=partial(session.commit, task),
        report=partial(getattr(progress, "frames", ignore), unit="part"),
        say=session.say,
        timer=session.timer,
    )
    task.finish("translated")


def _must_translate(session: Session, task: Task, source: Path) -> bool:
    """Whether there is something to do, once the input was read; else the task is finished."""
    if task.job.origin is None:
        read(session, task)
    else:
        task.input_hash, task.bytes_read = hash_path(source), size_of(source)
        if is_done(session, task):
            task.finish("skipped")
    if task.outcome is None and session.options.dry_run:
        task.finish("translated")
    return task.outcome is None


def _translate_image(
    session: Session, task: Task, source: Path, out: Path, progress: Progress | None
) -> None:
    """From an image of so many bytes that it was not read ahead to one like it."""
    if not _must_translate(session, task, source):
        return
    height, width, image_bytes = session.extent(task, read_header(source))
    predictor, _ = session.planner.plan(height, width, image_bytes, 1)
    with session.timer.stage("decode"):
        image = session.told(decode(source, b"", predictor))
    options = session.options
    out.parent.mkdir(parents=True, exist_ok=True)
    for done in translate_batches([[image]], session.timer.stage):
        made = temporary_path(out)
        with session.timer.stage("encode"):
            made.write_bytes(encode(done, suffix_of(out), options.quality, options.compression))
        session.commit(task, made)
    task.finish("translated")


def _translate_pages(
    session: Session, task: Task, source: Path, out: Path, progress: Progress | None
) -> None:
    """From a file of several pages or slices, or a series, to one of as many."""
    if not _must_translate(session, task, source):
        return
    job = task.job
    if job.target is not None and not suffix_of(job.output):
        raise DataError(
            f"{job.shown_source} is a series, which is written into a local folder: choose one with -o"
        )
    unit = "page" if volume_suffix(job.output) in (".tif", ".tiff") else "slice"
    report = partial(getattr(progress, "frames", ignore), unit=unit)
    out.parent.mkdir(parents=True, exist_ok=True)
    axis = session.options.slice_axis or session.predictor.info.input.slice_axis
    with open_image(task.data or source, suffix=suffix_of(source), axis=axis) as volume:
        count = volume.header().pages
        extents = [session.extent(task, volume.header(page)) for page in range(count)]
        slices = Slices(volume, session.predictor.info.input, str(job.shown_source))

        def pages() -> Iterator[Image]:
            for page, (height, width, image_bytes) in enumerate(extents):
                predictor, _ = session.planner.plan(height, width, image_bytes, 1)
                with session.timer.stage("decode"):
                    image = session.told(ask(*slices.read(page), predictor))
                yield from (done.image() for done in translate_batches([[image]], session.timer.stage))
                report(page + 1, count)

        write_volume(
            out,
            pages(),
            pages=count,
            suffix=volume_suffix(out),
            compression=session.options.compression,
            before_rename=partial(session.record_file, task) if job.target is None else ignore,
        )
    if job.target is not None:
        session.commit(task, out)
    task.finish("translated")


def _translate_video(
    session: Session, task: Task, source: Path, out: Path, progress: Progress | None
) -> None:
    """From a video or an animation to a file like it, or to its frames as images."""
    require("a video or an animation", VIDEO)
    from translatekit_tools.bulk.video.parts import join
    from translatekit_tools.bulk.video.pipeline import translate_stream, translate_video, write_frames

    job = task.job
    task.input_hash, task.bytes_read = hash_video(job, source)
    if job.frames is None and not job.to_standard_output and is_done(session, task):
        task.finish("skipped")
        return
    if session.options.dry_run:
        task.finish("translated")
        return
    report, say = (getattr(progress, name, ignore) for name in ("frames", "say"))
    source_hashes = session.made_from(task)
    if source.suffix.lower() in ANIMATION_SUFFIXES and source.is_file():  # opening it decodes a whole frame
        session.planner.plan_frames(*read_size(source))

    commit = partial(session.commit, task)
    if session.workers > 1 and not job.is_whole and _plan_parts(session, task, source, out, say):
        return
    try:
        if job.split is not None:
            if task.input_hash != job.split.input_hash:
                raise DataError("the video has changed since it was split: run the same command again")
            out.parent.mkdir(parents=True, exist_ok=True)
            task.video = join(session, job.split, source, out, job.manifest.sink, commit, say)
        elif job.frames is not None:
            task.video = write_frames(
                source,
                job.frames,
                session.planner,
                session.options,
                source_hashes,
                report,
                say,
                session.timer,
                job.address,
            )
        elif job.address is not None or job.to_standard_output or out.suffix.lower() in RAW_SUFFIXES:
            task.video = translate_stream(
                source,
                job.address,
                None if job.to_standard_output else out,
                session.planner,
                session.options,
                commit=commit,
                report=report,
                say=say,
                timer=session.timer,
            )
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            task.video = translate_video(
                source,
                out,
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
    task.finish("translated")


_TRANSLATIONS: dict[str, Callable[[Session, Task, Path, Path, Progress | None], None]] = {
    "image": _translate_image,
    "pages": _translate_pages,
    "large": _translate_large,
    "video": _translate_video,
}
"""By the kind's way: each translates a file at the first path into one at the second."""


def _plan_parts(session: Session, task: Task, source: Path, out: Path, say: Callable[[str], None]) -> bool:
    """Whether a video was split, for others to make its parts."""
    job = task.job
    is_stream = job.address is not None or job.to_standard_output or out.suffix.lower() in RAW_SUFFIXES
    if (
        is_stream
        or job.frames is not None
        or is_sequence(source)
        or job.item is None
        or job.split is not None
    ):
        return False
    from translatekit_tools.bulk.video.parts import plan

    sink = job.manifest.sink
    task.parts = plan(session, source, job.item, job.output_name, sink, task.input_hash, say)
    if task.parts is not None:
        task.finish("split")
    return task.parts is not None


def hash_video(job: Job, source: Path) -> tuple[str, int]:
    """The hash of a video's bytes, empty where nobody knows them before they are read; and how many there are.

    Raises:
        DataError: they cannot be read.
    """
    if job.address is not None:
        return "", 0
    try:
        if not is_sequence(source):
            return hash_file(source), source.stat().st_size
        files = sequence_files(source)
        hashes = [[number, hash_file(path)] for number, path in files.items()]
        return hash_options({"images": hashes}), sum(path.stat().st_size for path in files.values())
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror}): check it and its permissions") from None
