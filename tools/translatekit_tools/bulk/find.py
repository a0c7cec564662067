"""From what a user names (files, folders, globs) to the files to translate and where each one goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.images import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from translatekit_tools.bulk.manifest import Manifest
from translatekit_tools.bulk.options import SUFFIXES, RunOptions
from translatekit_tools.bulk.video.kinds import (
    ANIMATION_SUFFIXES,
    VIDEO_SUFFIXES,
    WRITABLE_VIDEO_SUFFIXES,
    is_animation,
)

BESIDE = "-translated"
"""Added to the name of an output, or of an output folder, that lands beside its input."""


@dataclass(slots=True, kw_only=True)
class Job:
    """One file to translate.

    Attributes:
        source: the input.
        output: what is written.
        manifest: of the output folder.
        problem: why it cannot be done, where that is known before it is read.
    """

    source: Path
    output: Path
    manifest: Manifest
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file, where it goes below the output folder, and which folder that is when the user names none."""

    source: Path
    relative: Path
    default_out: Path
    beside: bool = False  # its default output is a neighbour, and needs a name of its own
    problem: str | None = None


def find_jobs(inputs: Sequence[str | Path], out: Path | None, options: RunOptions) -> list[Job]:
    """The files that `inputs` name, in order, each with its output.

    A folder is read recursively, hidden files left out, and mirrored: under `out`, or under
    ``FOLDER-translated`` beside it. A folder named among other inputs is mirrored under ``out/FOLDER``. A
    glob matches image files and folders, mirrored from its first wildcard on. A file's output is its name
    under `out`, or ``NAME-translated`` beside it; where there is one file and `out` ends like an image, the
    output is `out` itself.

    Raises:
        DataError: an input does not exist, or holds no images.
        OptionError: `out` does not fit the inputs.
    """
    if not inputs:
        raise DataError("there is nothing to translate: name image files, folders or globs")
    out = out.expanduser() if out is not None else None
    if out is not None and out.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and not out.is_dir():
        return [_job_of_one_file(inputs, out, options)]
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(f"the output {out} is a file: name a folder, or give it the ending of an image")

    manifests: dict[Path, Manifest] = {}
    jobs = []
    for found in _distinct(_expand(inputs, out)):
        folder = found.default_out if out is None else out
        if folder not in manifests:
            manifests[folder] = Manifest(folder)
        suffix = options.suffix or (BESIDE if out is None and found.beside else "")
        name = found.relative.stem + suffix + _ending(found.source, options)
        output = folder if found.problem else folder / found.relative.with_name(name)
        jobs.append(
            Job(source=found.source, output=output, manifest=manifests[folder], problem=found.problem)
        )
    jobs = _without_own_outputs(jobs)
    _mark_conflicts(jobs)
    return jobs


def _job_of_one_file(inputs: Sequence[str | Path], out: Path, options: RunOptions) -> Job:
    files = list(_distinct(_expand(inputs, None)))
    if len(files) != 1 or not Path(inputs[0]).expanduser().is_file():
        raise OptionError(f"the output {out} is one file, but the input is not one: name a folder with -o")
    what, writable = _writable(files[0].source)
    if out.suffix.lower() not in writable:
        raise OptionError(
            f"{what} cannot be written as {out.suffix!r}: let the output end in one of {', '.join(sorted(writable))}"
        )
    if options.suffix or options.format != "keep":
        raise OptionError(
            f"the output {out} has a name and a format already: leave out --suffix and --format"
        )
    job = Job(source=files[0].source, output=out, manifest=Manifest(out.parent))
    _mark_conflicts([job])
    return job


def _writable(source: Path) -> tuple[str, frozenset[str]]:
    """What a file is, and the endings that its translation may have."""
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return "videos", WRITABLE_VIDEO_SUFFIXES
    if is_animation(source):
        return "animations", ANIMATION_SUFFIXES | WRITABLE_VIDEO_SUFFIXES | WRITABLE_SUFFIXES
    return "images", WRITABLE_SUFFIXES


def _expand(inputs: Sequence[str | Path], out: Path | None) -> Iterator[_Found]:
    for text in inputs:
        path = Path(text).expanduser()
        if path.is_dir():
            named = path if path.name not in ("", "..") else path.resolve()
            below = Path(named.name) if len(inputs) > 1 and out is not None else Path()
            default_out = named.parent / f"{named.name}{BESIDE}"
            files = [
                _Found(
                    source=file,
                    relative=below / file.relative_to(path),
                    default_out=default_out,
                    problem=problem,
                )
                for file, problem in _walk(path, out)
            ]
            if not files:
                raise DataError(
                    f"the folder {path} holds no images and no videos: name one with {_some_suffixes()} files"
                )
            yield from files
        elif path.is_file():
            yield _Found(source=path, relative=Path(path.name), default_out=path.parent, beside=True)
        elif path.exists():
            raise DataError(f"{path} is neither a file nor a folder: name image files, folders or globs")
        elif _is_pattern(path):
            yield from _matches(path, out)
        else:
            raise DataError(f"there is no file or folder {path}: check the path")


def _is_pattern(path: Path) -> bool:
    return any(character in str(path) for character in "*?[")


def _matches(pattern: Path, out: Path | None) -> Iterator[_Found]:
    base = next(parent for parent in pattern.parents if not _is_pattern(parent))
    below_base = out is not None and Path(os.path.realpath(base)) in Path(os.path.realpath(out)).parents
    matched = False
    for text in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (takes absolute patterns)
        path = Path(text)
        if out is not None and below_base and _is_within(path, out):
            continue
        files = _walk(path, out) if path.is_dir() else [(path, None)] if _is_image(path) else []
        for file, problem in files:
            matched = True
            yield _Found(
                source=file,
                relative=file.relative_to(base),
                default_out=base if problem else file.parent,
                beside=True,
                problem=problem,
            )
    if not matched:
        raise DataError(f"no image matches {str(pattern)!r}: check the pattern")


def _walk(folder: Path, out: Path | None) -> Iterator[tuple[Path, str | None]]:
    """The images below a folder, but hidden ones and those in `out`; and what cannot be listed, and why."""
    problems: list[OSError] = []
    skipped = None if out is None else os.path.realpath(out)
    for parent, folders, files in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(parent, name)) != skipped
        )
        yield from ((path, None) for name in sorted(files) if _is_image(path := Path(parent, name)))
    for problem in problems:
        reason = f"the folder cannot be listed ({problem.strerror}): check its permissions"
        yield Path(problem.filename), reason


def _is_within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _is_image(path: Path) -> bool:
    """By its name; pipes and the like are none, a broken link is one that cannot be read."""
    return (
        path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and (path.is_file() or path.is_symlink())
    )


def _some_suffixes() -> str:
    return ", ".join(suffix for suffix in (".png", ".jpg", ".tiff", ".webp") if suffix in IMAGE_SUFFIXES)


def _distinct(items: Iterable[_Found]) -> Iterator[_Found]:
    """Each file once, however often and in whatever way it is named."""
    seen = set()
    for item in items:
        place = _place(item.source)
        if place not in seen:
            seen.add(place)
            yield item


def _place(path: Path) -> str:
    """Which directory entry a path means: links in its folder resolved, but not itself."""
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


def _ending(source: Path, options: RunOptions) -> str:
    if source.suffix.lower() in VIDEO_SUFFIXES:
        return source.suffix if source.suffix.lower() in WRITABLE_VIDEO_SUFFIXES else ".mp4"
    if options.format == "keep" and is_animation(source):
        return source.suffix
    if options.format != "keep":
        return SUFFIXES[options.format]
    return source.suffix if source.suffix.lower() in WRITABLE_SUFFIXES else ".png"


def _without_own_outputs(jobs: list[Job]) -> list[Job]:
    """The jobs without those whose input was translated from another input: outputs are not taken again."""
    places = {_place(job.source) for job in jobs}

    def is_own_output(job: Job) -> bool:
        source = job.manifest.source_of(job.source)
        return source is not None and _place(source) in places

    return [job for job in jobs if not is_own_output(job)]


def _mark_conflicts(jobs: list[Job]) -> None:
    """Say what is wrong with a job that would overwrite an input, or another job's output."""
    inputs = {place for job in jobs for place in (_place(job.source), os.path.realpath(job.source))}
    writers: dict[str, Job] = {}
    # A file that keeps its format has the first claim on its name: a.png before a.gif.
    for job in sorted(jobs, key=lambda job: job.output.suffix != job.source.suffix):
        if job.problem is not None:
            continue
        place = _place(job.output)
        if place in inputs:
            job.problem = (
                f"the output {job.output} would overwrite an input: pass --suffix, or another folder with -o"
            )
        elif place in writers:
            job.problem = (
                f"the output {job.output} is already that of {writers[place].source}: "
                "rename one, or translate them apart with another -o, --suffix or --format (such as keep)"
            )
        else:
            writers[place] = job
