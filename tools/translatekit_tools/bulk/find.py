"""From what a user names (files, folders, globs) to the files to translate and where each one goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.images import image_suffixes, is_image, suffix_of, writable_suffixes
from translatekit.storage import Item, Source
from translatekit_tools.bulk.addresses import (
    STANDARD,
    check_url,
    is_sequence,
    is_stream,
    name_of,
    shown,
)
from translatekit_tools.bulk.kinds import (
    ANIMATION_SUFFIXES,
    STREAMED,
    VIDEO_SUFFIXES,
    WRITABLE_VIDEO_SUFFIXES,
    Kind,
    is_animation,
    kind_of,
)
from translatekit_tools.bulk.links import OutputFolders
from translatekit_tools.bulk.manifest import MANIFEST_NAME, Manifest, manifest_name
from translatekit_tools.bulk.naming import DEFAULT_SUFFIX, Names
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.split import Split
from translatekit_tools.bulk.walk import LeftOut, Places, Walk, is_within, place_of


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in a place that is no folder of this machine.

    Attributes:
        place: that it is in.
        name: of it there.
        size, stamp: as the place lists it; of an input.
    """

    place: Source
    name: str
    size: int | None = None
    stamp: str = ""

    @property
    def uri(self) -> str:
        """Its address, without a password."""
        return self.place.uri_of(self.name)


@dataclass(slots=True, kw_only=True)
class Job:
    """One file to translate.

    Attributes:
        source: the input.
        output: what is written.
        manifest: of the output folder.
        problem: why it cannot be done, where that is known before it is read.
        alternatives: other inputs that would have the same output, in order: the first is done where this one fails.
        frames: the folder that is written instead, of a video's frames as images.
        address: what is read in place of the source: a URL, or ``-`` for standard input.
        origin: the object that is read, where it is no file of this machine: the source is its name.
        target: the object that is written, where it is none: the output is its name.
        stamp, state: of the input and of what is in the place of the output, once `reading.look` has looked.
        data: of the origin, once it was fetched.
        kind: of the file, once it was looked at.
        item: the input, as its place lists it; None where it was not found so.
        split: of a video whose parts are made, and are to be joined.
        is_whole: whether a video must not be split.
    """

    source: Path
    output: Path
    manifest: Manifest
    problem: str | None = None
    alternatives: list[Job] = field(default_factory=list)
    frames: Path | None = None
    address: str | None = None
    origin: Stored | None = None
    target: Stored | None = None
    stamp: str = ""
    state: int = 0
    data: bytes = b""
    kind: Kind | None = None
    item: Item | None = None
    split: Split | None = None
    is_whole: bool = False

    @property
    def input_name(self) -> str:
        """What the manifest calls the input."""
        if self.origin is not None:
            return self.origin.uri
        if not self.manifest.is_local:
            return Path(os.path.abspath(self.source)).as_posix()  # noqa: PTH100
        return self.manifest.relative(self.source)

    @property
    def output_name(self) -> str:
        """What the manifest calls the output."""
        return self.manifest.relative(self.output) if self.target is None else self.target.name

    @property
    def shown_output(self) -> Path | str:
        """The output as people read it."""
        return (self.frames or self.output) if self.target is None else self.target.uri

    @property
    def shown_output_text(self) -> str:
        """The output as people read it, and as one name on this machine."""
        return str(self.shown_output if self.target else Path(os.path.abspath(self.output)))  # noqa: PTH100

    @property
    def to_standard_output(self) -> bool:
        """Whether the output is written as it comes, and is no file."""
        return str(self.output) == STANDARD

    @property
    def shown_source(self) -> str | Path:
        """The input as the user named it, but without a password."""
        if self.origin is not None:
            return self.origin.uri
        return self.source if self.address is None else shown(self.address)


class Findings:
    """What the inputs hold: iterated over once, it gives the files to translate, as they are found.

    Folders that have nothing to do with each other are listed while their files are given out, folder by folder, sorted
    by name within each. Where outputs of several inputs might be the same, or inputs be outputs, all files are found
    before the first is given out.

    Attributes:
        left_out: what is left out, counted as it is found.
        total: how many inputs there are, alternatives included; 0 until all are found.
    """

    def __init__(self, jobs: Iterable[Job], left_out: LeftOut) -> None:
        self.left_out, self.total = left_out, 0
        self.is_complete = False
        self._jobs = jobs

    def __iter__(self) -> Iterator[Job]:
        count = 0
        for job in self._jobs:
            count += 1 + len(job.alternatives)
            yield job
        self.total, self.is_complete = count, True


@dataclass(frozen=True, slots=True)
class _Found:
    """A file, and where it goes.

    Attributes:
        source: the file, or the folder of a series or of numbered images.
        name: of the output, below the output folder.
        default_out: the output folder when the user names none.
        problem: why it cannot be done.
    """

    source: Path
    name: str
    default_out: Path
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to be mirrored.

    Attributes:
        path: of it.
        own_name: which it has even where it is named ``..``.
        below: where it goes below the output folder: nothing, or its name and a slash.
        default_out: the output folder when the user names none.
    """

    path: Path
    own_name: str
    below: str
    default_out: Path


def find_jobs(inputs: Sequence[str | Path], out: str | Path | None, options: RunOptions) -> Findings:
    """The files that `inputs` name, in order, each with its output.

    A folder is read recursively and mirrored: under `out`, or under ``FOLDER-translated`` beside it. Links to folders
    are followed, each folder once; hidden files, and what an earlier run has written below the folder, are left out. A
    folder named among other inputs is mirrored under ``out/FOLDER``. A glob matches image files and folders, mirrored
    from its first wildcard on. A file's output is its name under `out`, or ``NAME-translated`` beside it; where there
    is one file and `out` ends like a file, the output is `out` itself.

    Raises:
        DataError: an input does not exist, or holds no images; of folders that are listed while their files are given
            out, that is raised when it is found.
        OptionError: `out` does not fit the inputs.
    """
    if not inputs:
        raise DataError("there is nothing to translate: name image files, folders or globs")
    check_frames(inputs, options)
    if any(is_stream(str(text)) for text in inputs) or str(out) == STANDARD:
        job = _streamed_job(inputs, out, options)
        return Findings([job] if job.to_standard_output else _of_shard([job], options), LeftOut())
    is_folder = out is not None and str(out).endswith(("/", os.sep))
    out = Path(out).expanduser() if out is not None else None
    if out is not None and not is_folder and not out.is_dir() and _names_a_file(out, inputs):
        return Findings(_of_shard([_job_of_one_file(inputs, out, options)], options), LeftOut())
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(
            f"the output {out} is a file: name a folder, or give it the extension of an image file"
        )
    folders = _folders(inputs, out)
    streams = folders is not None and _are_unrelated(folders, out)
    left_out = LeftOut(tells_apart=not streams)
    finder = _Finder(out, options, left_out)
    jobs: Iterable[Job] = finder.as_listed(folders) if streams and folders else finder.all_of(inputs)
    return Findings(_of_shard(jobs, options), left_out)


def _of_shard(jobs: Iterable[Job], options: RunOptions) -> Iterable[Job]:
    """Those jobs that are of the part that is translated."""
    shard = options.shard
    return jobs if shard is None else (job for job in jobs if shard.holds(job.output_name))


def _manifest_of(options: RunOptions) -> str:
    """The name of the manifest that this run appends to."""
    return MANIFEST_NAME if options.shard is None else manifest_name(options.shard.name)


def _folders(inputs: Sequence[str | Path], out: Path | None) -> list[_Folder] | None:
    """The inputs, where all of them are folders."""
    paths = [Path(text).expanduser() for text in inputs]
    if not all(path.is_dir() for path in paths):
        return None
    return [_folder(path, is_one_of_several=len(paths) > 1 and out is not None) for path in paths]


def _folder(path: Path, is_one_of_several: bool) -> _Folder:
    named = path if path.name not in ("", "..") else path.resolve()
    below = f"{named.name}/" if is_one_of_several else ""
    return _Folder(path, named.name, below, named.parent / f"{named.name}{DEFAULT_SUFFIX}")


def _are_unrelated(folders: list[_Folder], out: Path | None) -> bool:
    """Whether no folder is in another, nor in an output folder, and no two have the same output folder."""
    places = {os.path.realpath(folder.path) for folder in folders}
    outs = {os.path.realpath(folder.default_out if out is None else out / folder.below) for folder in folders}
    if len(places) < len(folders) or len({place.casefold() for place in outs}) < len(folders):
        return False
    return not any(
        place in outs or any(str(parent) in places or str(parent) in outs for parent in Path(place).parents)
        for place in places
    )


class _Finder:
    """Makes jobs of what is found."""

    def __init__(self, out: Path | None, options: RunOptions, left_out: LeftOut) -> None:
        self._out, self._options, self._left_out = out, options, left_out
        self._names = Names(options)
        self._manifests: dict[Path, Manifest] = {}
        self._outputs: dict[Path, OutputFolders] = {}

    def all_of(self, inputs: Sequence[str | Path]) -> list[Job]:
        """The jobs of any inputs, which may have to do with each other."""
        found = self.distinct(inputs)
        jobs = self._without_own_outputs([self._job(each) for each in found.values()], found)
        place_of = Places().of
        places = {place for job in jobs for place in (place_of(job.source), os.path.realpath(job.source))}
        return _with_alternatives(jobs, places)

    def distinct(self, inputs: Sequence[str | Path]) -> dict[str, _Found]:
        """What is found, by its place: each once, however often and in whatever way it is named."""
        place_of = Places().of
        distinct: dict[str, _Found] = {}
        for found in self._expand(inputs):
            distinct.setdefault(place_of(found.source), found)
        return distinct

    def as_listed(self, folders: Iterable[_Folder]) -> Iterator[Job]:
        """The jobs of folders that have nothing to do with each other, as they are listed."""
        walk = self._walk()
        for folder in folders:
            for names, found in self._files(folder, walk):
                yield from map(self._behind_links, self._with_one_output_each(names, found))

    def _behind_links(self, job: Job) -> Job:
        """A job, with what is wrong with where links lead to."""
        if (folders := self._outputs.get(job.manifest.folder)) is None:
            folders = self._outputs[job.manifest.folder] = OutputFolders(job.manifest)
        if job.problem is None:
            job.problem = folders.problem(job.source, job.output)
        return job

    def _with_one_output_each(self, names: list[str], found: Callable[[str], _Found]) -> Iterator[Job]:
        """The jobs of one folder's files, sorted by name; those of one output as alternatives of the first."""
        known: dict[str, Job | None] = {}  # of those that have a stem in common with one before
        for at, name in enumerate(names):
            if name in known:
                if (job := known.pop(name)) is not None:
                    yield job
                continue
            rivals = self._of_one_stem(names, at)
            if len(rivals) == 1:
                yield self._job(found(name))
                continue
            jobs = {rival: self._job(found(rival)) for rival in rivals}
            kept = {id(job) for job in _with_alternatives(list(jobs.values()), frozenset())}
            known |= {rival: job if id(job) in kept else None for rival, job in jobs.items()}
            if (job := known.pop(name)) is not None:
                yield job

    def _of_one_stem(self, names: list[str], at: int) -> list[str]:
        """The names from one on that differ from it in the suffix alone: what begins like them stands together."""
        suffix = self._names.suffix(names[at])
        stem = names[at][: len(names[at]) - len(suffix)]
        rivals = [names[at]]
        for name in islice(names, at + 1, None):
            if not name.startswith(f"{stem}."):
                break
            if name == stem + self._names.suffix(name):
                rivals.append(name)
        return rivals

    def _expand(self, inputs: Sequence[str | Path]) -> Iterator[_Found]:
        """What is found, input by input."""
        for text in inputs:
            path = Path(text).expanduser()
            if path.is_dir():
                several = len(inputs) > 1 and self._out is not None
                for names, found in self._files(_folder(path, is_one_of_several=several), self._walk()):
                    yield from map(found, names)
            elif path.is_file() or is_sequence(path):
                yield self._found(path, path.name, path.parent, beside=True)
            elif path.exists():
                raise DataError(f"{path} is neither a file nor a folder: name image files, folders or globs")
            elif _is_pattern(path):
                yield from self._matches(path)
            else:
                raise DataError(f"there is no file or folder {path}: check the path")

    def _walk(self) -> Walk:
        return Walk(self._out, self._names, self._left_out)

    def _files(self, folder: _Folder, walk: Walk) -> Iterator[tuple[list[str], Callable[[str], _Found]]]:
        """Of each folder below one, the names of what can be read, and what is found by a name."""
        problems: list[OSError] = []
        is_empty, is_new = True, False
        for listed in walk.folders(folder.path, problems):
            is_new = True
            is_empty = is_empty and not listed.names and not listed.is_series
            below = listed.path.relative_to(folder.path).as_posix()
            here = folder.below + ("" if below == "." else f"{below}/")
            if listed.names:
                yield listed.names, partial(self._in_folder, folder, listed.path, here)
            if listed.is_series:
                yield [""], partial(_given, self._series(folder, listed.path, here))
        for error in problems:
            yield [""], partial(_given, _unlisted(error, folder.default_out))
        if is_new and is_empty and not problems:
            others = self._left_out.describe()
            others = f" that can be read, only {others}" if others else ""
            raise DataError(
                f"the folder {folder.path} holds no images and no videos{others}: "
                f"name one with {_some_suffixes()} files"
            )

    def _in_folder(self, folder: _Folder, path: Path, here: str, name: str) -> _Found:
        return self._found(path / name, here + name, folder.default_out)

    def _series(self, folder: _Folder, path: Path, here: str) -> _Found:
        own = here.removesuffix("/") if path != folder.path else f"{folder.below}{folder.own_name}"
        found = self._found(path, own, folder.default_out, is_folder=True)
        if path != folder.path and self._options.format != "keep":
            # Files beside the folder, which come before it, may have the output that it would have.
            for other in sorted(path.parent.glob(f"{glob.escape(path.name)}.*")):
                name = f"{own}{other.name[len(path.name) :]}"
                if self._names.kind(self._names.suffix(name)).is_readable:
                    rival = self._found(other, name, folder.default_out)
                    if rival.name == found.name and other.is_file():
                        return replace(found, problem=clash(found.name, other))
        return found

    def _found(
        self,
        path: Path,
        name: str,
        default_out: Path,
        *,
        beside: bool = False,
        is_folder: bool = False,
    ) -> _Found:
        """What is found at a path.

        Args:
            path: of it.
            name: of it below the folder that is mirrored.
            default_out: see `_Found`.
            beside: its default output is a neighbour, and needs a name of its own.
            is_folder: whether it is a series.
        """
        suffix = DEFAULT_SUFFIX if beside and self._out is None else ""
        if is_folder:
            return _Found(path, self._names.output_of_folder(name, suffix), default_out)
        if beside and is_sequence(path):
            return _Found(path, self._names.output_of_frames(name, suffix), default_out)
        return _Found(path, self._names.output(name, partial(is_animation, path), suffix), default_out)

    def _matches(self, pattern: Path) -> Iterator[_Found]:
        base = next(parent for parent in pattern.parents if not _is_pattern(parent))
        out = self._out
        below_base = out is not None and Path(os.path.realpath(base)) in Path(os.path.realpath(out)).parents
        matched = False
        for text in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (takes absolute patterns)
            path = Path(text)
            if out is not None and below_base and is_within(path, out):
                continue
            for found in self._match(path, base):
                matched = True
                yield found
        if not matched:
            raise DataError(f"no image matches {str(pattern)!r}: check the pattern")

    def _match(self, path: Path, base: Path) -> Iterator[_Found]:
        if not path.is_dir():
            for each in self._walk().readable([path]):
                yield self._found(each, each.relative_to(base).as_posix(), each.parent, beside=True)
            return
        problems: list[OSError] = []
        for listed in self._walk().folders(path, problems):
            below = listed.path.relative_to(base).as_posix()
            for name in listed.names:
                yield self._found(listed.path / name, f"{below}/{name}", listed.path, beside=True)
            if listed.is_series:
                yield self._found(listed.path, below, listed.path.parent, beside=True, is_folder=True)
        yield from (_unlisted(error, base) for error in problems)

    def _job(self, found: _Found) -> Job:
        folder = found.default_out if self._out is None else self._out
        if (manifest := self._manifests.get(folder)) is None:
            manifest = self._manifests[folder] = Manifest(folder, _manifest_of(self._options))
        output = folder / found.name if found.name else folder
        return Job(source=found.source, output=output, manifest=manifest, problem=found.problem)

    def _without_own_outputs(self, jobs: list[Job], places: Container[str]) -> list[Job]:
        """The jobs without those whose input was translated from another input: outputs are not taken again."""
        taken = []
        for job in jobs:
            source = job.manifest.source_of(job.source)
            if source is not None and place_of(source) in places:
                self._left_out.add_earlier(job.source)
            else:
                taken.append(job)
        return taken


def _given(found: _Found, _: str) -> _Found:
    return found


def _unlisted(error: OSError, default_out: Path) -> _Found:
    reason = f"the folder cannot be listed ({error.strerror}): check its permissions"
    return _Found(Path(error.filename), "", default_out, reason)


def _is_pattern(path: Path) -> bool:
    return any(character in str(path) for character in "*?[")


def _some_suffixes() -> str:
    return ", ".join(suffix for suffix in (".png", ".jpg", ".tiff", ".webp") if suffix in image_suffixes())


def clash(output: Path | str, source: Path | str) -> str:
    """What is wrong with an input whose output is that of another."""
    return (
        f"the output {output} is already that of {source}: "
        "rename one, or translate them apart with another -o, --suffix or --format (such as keep)"
    )


def _with_alternatives(jobs: list[Job], inputs: Container[str]) -> list[Job]:
    """The jobs, those of one output as alternatives of the first; what is wrong where one would overwrite an input."""
    place_of = Places().of
    first: dict[str, Job] = {}
    alternatives = set()
    # A file that keeps its format has the first claim on its name: a.png before a.gif.
    for job in sorted(jobs, key=lambda job: job.output.suffix != job.source.suffix):
        if job.problem is not None:
            continue
        place = place_of(job.output)
        if place in inputs:
            job.problem = (
                f"the output {job.output} would overwrite an input: pass --suffix, or another folder with -o"
            )
        elif place in first:
            first[place].alternatives.append(job)
            alternatives.add(id(job))
        else:
            first[place] = job
    return [job for job in jobs if id(job) not in alternatives]


def check_frames(inputs: Sequence[str | Path], options: RunOptions) -> None:
    """Refuse to be told what frames are where all that is read says so itself.

    Raises:
        OptionError: that is asked for.
    """
    texts = list(map(str, inputs))
    if options.raw is not None and STANDARD not in texts:
        raise OptionError("--raw says what standard input is: name the input -")
    if (
        options.fps is not None
        and options.raw is None
        and not any(is_sequence(Path(text).expanduser()) for text in texts)
    ):
        raise OptionError(
            "--fps says how long numbered images (frames/%06d.png) and frames of --raw are shown, and other videos say "
            "that themselves: leave it out"
        )


def _streamed_job(inputs: Sequence[str | Path], out: str | Path | None, options: RunOptions) -> Job:
    """A video that comes from standard input or a URL, or goes to standard output."""
    text = str(inputs[0])
    if len(inputs) > 1:
        raise OptionError(f"a stream is translated by itself, got {len(inputs)} inputs: name one")
    address = text if is_stream(text) else None
    if address is not None:
        check_url(address)
        source = Path(name_of(address))
        if is_image(source):
            raise OptionError(
                f"{shown(text)} is an image, and only videos are read from where they are: download it"
            )
    else:
        source = Path(text).expanduser()
        if not source.is_file() and not is_sequence(source):
            raise OptionError(
                f"-o - takes one image or video, and {source} is no file: name one, or a folder with -o"
            )
        if kind_of(source, Path("out.mkv")).way != "video":
            raise OptionError(f"-o - writes a video, and {source} is none: name a file with -o")
    names, added = Names(options), DEFAULT_SUFFIX if out is None else ""
    if is_sequence(source):
        name = names.output_of_frames(source.name, added)
    else:
        name = names.output(source.name, partial(is_animation, source), added)
    if str(out) == STANDARD:
        _refuse_frames("standard output", options)
        container = options.container or STREAMED[0]
        if container not in STREAMED:
            raise OptionError(
                f"{container} is not written to standard output, where nothing can be sought in: "
                f"choose --container among {', '.join(STREAMED)}"
            )
        return Job(source=source, output=Path(STANDARD), manifest=Manifest(Path()), address=address)
    if out is None:
        if address == STANDARD and options.frames is None:
            raise OptionError("a video from standard input has no name: pass -o with a file, or -o -")
        output = Path(name)
    else:
        output = Path(out).expanduser()
        if output.is_dir() or str(out).endswith(("/", os.sep)) or not output.suffix:
            output = output / name
        else:
            _refuse_frames(output, options)
    if output.suffix.lower() not in WRITABLE_VIDEO_SUFFIXES:
        raise OptionError(
            f"videos cannot be written as {output.suffix!r}: "
            f"let the output end in one of {', '.join(sorted(WRITABLE_VIDEO_SUFFIXES))}"
        )
    return Job(
        source=source, output=output, manifest=Manifest(output.parent, _manifest_of(options)), address=address
    )


def _refuse_frames(out: Path | str, options: RunOptions) -> None:
    """Refuse to write a video whose frames are to be images.

    Raises:
        OptionError: they are.
    """
    if options.frames is not None:
        raise OptionError(
            f"--frames writes images in place of a video, and {out} would stay unwritten: leave out -o, or --frames"
        )


def _names_a_file(out: Path, inputs: Sequence[str | Path]) -> bool:
    """Whether an output that is no folder yet is meant as one file: a folder of several may have a dot in its name."""
    if suffix_of(out) in image_suffixes() | VIDEO_SUFFIXES:
        return True
    return bool(out.suffix) and len(inputs) == 1 and Path(inputs[0]).expanduser().is_file()


def _job_of_one_file(inputs: Sequence[str | Path], out: Path, options: RunOptions) -> Job:
    files = list(_Finder(None, options, LeftOut()).distinct(inputs).values())
    only = Path(inputs[0]).expanduser()
    if len(files) != 1 or not (only.is_file() or is_sequence(only)):
        raise OptionError(f"the output {out} is one file, but the input is not one: name a folder with -o")
    what, writable = _writable(files[0].source)
    if what != "images":
        _refuse_frames(out, options)
    if suffix_of(out) not in writable:
        raise OptionError(
            f"{what} cannot be written as {out.suffix!r}: let the output end in one of {', '.join(sorted(writable))}, "
            f"or in a slash where it is a folder: -o {out}/"
        )
    if options.suffix or options.format != "keep" or options.container is not None:
        raise OptionError(
            f"the output {out} has a name and a format already: leave out --suffix, --format and --container"
        )
    job = Job(source=files[0].source, output=out, manifest=Manifest(out.parent, _manifest_of(options)))
    return _with_alternatives([job], {place_of(job.source), os.path.realpath(job.source)})[0]


def _writable(source: Path) -> tuple[str, frozenset[str]]:
    """What a file is, and the suffixes that its translation may have."""
    if source.suffix.lower() in VIDEO_SUFFIXES or is_sequence(source):
        return "videos", WRITABLE_VIDEO_SUFFIXES
    if is_animation(source):
        return "animations", ANIMATION_SUFFIXES | WRITABLE_VIDEO_SUFFIXES | writable_suffixes()
    return "images", writable_suffixes()
