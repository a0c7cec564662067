"""From what a user names (files, folders, globs) to the files to translate and where each one goes."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.images import image_suffixes, is_image, suffix_of, writable_suffixes
from translatekit.images.formats import format_named
from translatekit.storage import Source
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
    KEPT_VIDEO_SUFFIXES,
    STREAMED,
    VIDEO_SUFFIXES,
    WRITABLE_VIDEO_SUFFIXES,
    Kind,
    is_animation,
    is_slice,
    kind_of,
)
from translatekit_tools.bulk.manifest import MANIFEST_NAME, Manifest, is_manifest, manifest_name
from translatekit_tools.bulk.options import SUFFIXES, RunOptions

DEFAULT_SUFFIX = "-translated"
"""Added to the name of an output, or of an output folder, that lands beside its input."""


NO_IMAGES = frozenset(
    {
        *(
            ".aae",
            ".bak",
            ".cfg",
            ".csv",
            ".css",
            ".db",
            ".html",
            ".ini",
            ".json",
            ".jsonl",
            ".js",
            ".log",
            ".md",
        ),
        *(
            ".md5",
            ".onnx",
            ".bin",
            ".pickle",
            ".pp3",
            ".py",
            ".rst",
            ".safetensors",
            ".sh",
            ".sha256",
            ".srt",
        ),
        *(".thm", ".tmp", ".toml", ".tsv", ".txt", ".url", ".vtt", ".xml", ".xmp", ".yaml", ".yml"),
    }
)
"""Suffixes of what lies beside images and is none: notes, side-cars, an image viewer's own files."""


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


@dataclass(slots=True, kw_only=True)
class Findings:
    """What the inputs hold.

    Attributes:
        jobs: the files to translate, in order.
        unread: files that nothing reads, and that are no hidden files, side-cars or notes either.
        earlier: files that an earlier run has written.
    """

    jobs: list[Job] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)

    @property
    def left_out(self) -> dict[str, int]:
        """How many files nothing reads, by suffix (in lower case, with the dot; or empty), the most frequent first."""
        return dict(Counter(Path(place).suffix.lower() for place in sorted(self.unread)).most_common())

    def describe(self) -> str:
        """What nothing reads, such as ``3 .psd, 1 .svg``."""
        return ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in self.left_out.items())

    def notes(self) -> Iterator[str]:
        """What a user should know of what is left out, a sentence each."""
        if self.unread:
            yield f"Left out {self.describe()}: not images or videos that can be read."
        if self.earlier:
            yield f"Left out {len(self.earlier)} that an earlier run has written."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file, where it goes below the output folder, and which folder that is when the user names none."""

    source: Path
    relative: Path
    default_out: Path
    beside: bool = False  # its default output is a neighbour, and needs a name of its own
    problem: str | None = None


def find_jobs(inputs: Sequence[str | Path], out: str | Path | None, options: RunOptions) -> Findings:
    """The files that `inputs` name, in order, each with its output.

    A folder is read recursively and mirrored: under `out`, or under ``FOLDER-translated`` beside it. Links to folders
    are followed, each folder once; hidden files, and what an earlier run has written below the folder, are left out. A
    folder named among other inputs is mirrored under ``out/FOLDER``. A glob matches image files and folders, mirrored
    from its first wildcard on. A file's output is its name under `out`, or ``NAME-translated`` beside it; where there
    is one file and `out` ends like a file, the output is `out` itself.

    Raises:
        DataError: an input does not exist, or holds no images.
        OptionError: `out` does not fit the inputs.
    """
    if not inputs:
        raise DataError("there is nothing to translate: name image files, folders or globs")
    if any(is_stream(str(text)) for text in inputs) or str(out) == STANDARD:
        return Findings(jobs=[_streamed_job(inputs, out, options)])
    is_folder = out is not None and str(out).endswith(("/", os.sep))
    out = Path(out).expanduser() if out is not None else None
    findings = Findings()
    if out is not None and not is_folder and not out.is_dir() and _names_a_file(out, inputs):
        findings.jobs.append(_job_of_one_file(inputs, out, options))
        return findings
    if out is not None and out.exists() and not out.is_dir():
        raise OptionError(
            f"the output {out} is a file: name a folder, or give it the extension of an image file"
        )

    manifests: dict[Path, Manifest] = {}
    jobs = []
    for found in _distinct(_expand(inputs, out, findings)):
        folder = found.default_out if out is None else out
        if folder not in manifests:
            manifests[folder] = Manifest(folder, _manifest_of(options))
        suffix = DEFAULT_SUFFIX if out is None and found.beside else ""
        mirrored = mirror(found.source, found.relative, options, suffix)
        output = folder if found.problem else folder / mirrored
        jobs.append(
            Job(source=found.source, output=output, manifest=manifests[folder], problem=found.problem)
        )
    findings.jobs = _with_alternatives(_without_own_outputs(jobs, findings))
    if options.shard is not None:
        findings.jobs = [job for job in findings.jobs if options.shard.holds(job.output_name)]
    return findings


def _manifest_of(options: RunOptions) -> str:
    """The name of the manifest that this run appends to."""
    return MANIFEST_NAME if options.shard is None else manifest_name(options.shard.name)


def mirror(source: Path, relative: Path, options: RunOptions, default_suffix: str = "") -> Path:
    """Where the translation of a file goes, below the output folder.

    Args:
        source: the file.
        relative: where it is, below the folder that is mirrored.
        options: say its format.
        default_suffix: added to its name where the options say none.
    """
    suffix = options.suffix or default_suffix
    return relative.with_name(_stem(relative, source) + suffix + _output_suffix(source, options))


def _stem(relative: Path, source: Path) -> str:
    """A name without the suffix of its format: ``.nii.gz`` is one, and a folder has none."""
    return relative.name if source.is_dir() else relative.name.removesuffix(suffix_as_written(relative.name))


def suffix_as_written(name: str) -> str:
    """The suffix of a file's name, with the letters that it has."""
    length = len(suffix_of(name))
    return name[-length:] if length else ""


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
    if options.raw is not None and address != STANDARD:
        raise OptionError("--raw says what standard input is: name the input -")
    name = (
        source.stem
        + (options.suffix or (DEFAULT_SUFFIX if out is None else ""))
        + _output_suffix(source, options)
    )
    if str(out) == STANDARD:
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
    if output.suffix.lower() not in WRITABLE_VIDEO_SUFFIXES:
        raise OptionError(
            f"videos cannot be written as {output.suffix!r}: "
            f"let the output end in one of {', '.join(sorted(WRITABLE_VIDEO_SUFFIXES))}"
        )
    return Job(
        source=source, output=output, manifest=Manifest(output.parent, _manifest_of(options)), address=address
    )


def _names_a_file(out: Path, inputs: Sequence[str | Path]) -> bool:
    """Whether an output that is no folder yet is meant as one file: a folder of several may have a dot in its name."""
    if suffix_of(out) in image_suffixes() | VIDEO_SUFFIXES:
        return True
    return bool(out.suffix) and len(inputs) == 1 and Path(inputs[0]).expanduser().is_file()


def _job_of_one_file(inputs: Sequence[str | Path], out: Path, options: RunOptions) -> Job:
    files = list(_distinct(_expand(inputs, None, Findings())))
    only = Path(inputs[0]).expanduser()
    if len(files) != 1 or not (only.is_file() or is_sequence(only)):
        raise OptionError(f"the output {out} is one file, but the input is not one: name a folder with -o")
    what, writable = _writable(files[0].source)
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
    return _with_alternatives([job])[0]


def _writable(source: Path) -> tuple[str, frozenset[str]]:
    """What a file is, and the suffixes that its translation may have."""
    if source.suffix.lower() in VIDEO_SUFFIXES or is_sequence(source):
        return "videos", WRITABLE_VIDEO_SUFFIXES
    if is_animation(source):
        return "animations", ANIMATION_SUFFIXES | WRITABLE_VIDEO_SUFFIXES | writable_suffixes()
    return "images", writable_suffixes()


def _expand(inputs: Sequence[str | Path], out: Path | None, findings: Findings) -> Iterator[_Found]:
    for text in inputs:
        path = Path(text).expanduser()
        if path.is_dir():
            named = path if path.name not in ("", "..") else path.resolve()
            below = Path(named.name) if len(inputs) > 1 and out is not None else Path()
            default_out = named.parent / f"{named.name}{DEFAULT_SUFFIX}"
            files = [
                _Found(
                    source=file,
                    relative=below / (file.relative_to(path) if file != path else Path(named.name)),
                    default_out=default_out,
                    problem=problem,
                )
                for file, problem in _walk(path, out, findings)
            ]
            if not files:
                others = f" that can be read, only {findings.describe()}" if findings.unread else ""
                raise DataError(
                    f"the folder {path} holds no images and no videos{others}: "
                    f"name one with {_some_suffixes()} files"
                )
            yield from files
        elif path.is_file() or is_sequence(path):
            yield _Found(source=path, relative=Path(path.name), default_out=path.parent, beside=True)
        elif path.exists():
            raise DataError(f"{path} is neither a file nor a folder: name image files, folders or globs")
        elif _is_pattern(path):
            yield from _matches(path, out, findings)
        else:
            raise DataError(f"there is no file or folder {path}: check the path")


def _is_pattern(path: Path) -> bool:
    return any(character in str(path) for character in "*?[")


def _matches(pattern: Path, out: Path | None, findings: Findings) -> Iterator[_Found]:
    base = next(parent for parent in pattern.parents if not _is_pattern(parent))
    below_base = out is not None and Path(os.path.realpath(base)) in Path(os.path.realpath(out)).parents
    matched = False
    for text in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (takes absolute patterns)
        path = Path(text)
        if out is not None and below_base and _is_within(path, out):
            continue
        if path.is_dir():
            files = _walk(path, out, findings)
        else:
            files = ((file, None) for file in _readable([path], findings))
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


def _walk(folder: Path, out: Path | None, findings: Findings) -> Iterator[tuple[Path, str | None]]:
    """The images below a folder; and what cannot be listed, and why."""
    problems: list[OSError] = []
    not_in = None if out is None or _is_within(folder, out) else out
    seen: set[tuple[int, int]] = set()
    earlier: dict[Path, Manifest] = {}  # of earlier runs, by folder

    def is_new(path: Path) -> bool:
        """Whether a folder was not entered before, by whatever name: a link may lead back to where it is."""
        try:
            status = path.stat()
        except OSError as error:
            problems.append(error)
            return False
        place = (status.st_dev, status.st_ino)
        if place in seen or (not_in is not None and _is_within(path, not_in)):
            return False
        seen.add(place)
        return True

    def is_output(path: Path) -> bool:
        sources = ((at, earlier[at].source_of(path)) for at in path.parents if at in earlier)
        # A folder of outputs may be translated in its turn; what lies beside its own source is no input of it.
        return any(
            source is not None and (at != folder or _is_within(source, folder)) for at, source in sources
        )

    roots = [folder]
    while roots:  # links come after all folders that are there by themselves, which keep their own names
        root = roots.pop(0)
        if not is_new(root):
            continue
        for parent, folders, files in os.walk(root, onerror=problems.append):
            inside = [Path(parent, name) for name in sorted(folders) if not name.startswith(".")]
            roots += [path for path in inside if path.is_symlink()]
            folders[:] = [path.name for path in inside if not path.is_symlink() and is_new(path)]
            if any(map(is_manifest, files)):
                earlier[Path(parent)] = Manifest(Path(parent))
            found = list(_readable((Path(parent, name) for name in sorted(files)), findings))
            for path in _with_series(found):
                if is_output(path):
                    findings.earlier.add(_place(path))
                else:
                    yield path, None
    for problem in problems:
        reason = f"the folder cannot be listed ({problem.strerror}): check its permissions"
        yield Path(problem.filename), reason


def _readable(paths: Iterable[Path], findings: Findings) -> Iterator[Path]:
    """The images and videos, by their names; the others are counted.

    Pipes and the like are none, a broken link is one that cannot be read.
    """
    for path in paths:
        if path.name.startswith(".") or not (path.is_file() or path.is_symlink()):
            continue
        suffix = suffix_of(path)
        if suffix in image_suffixes() | VIDEO_SUFFIXES:
            yield path
        elif suffix not in NO_IMAGES and path.is_file():
            findings.unread.add(_place(path))


def _with_series(files: list[Path]) -> list[Path]:
    """The files of one folder; those of a series are one, which is the folder itself."""
    slices = [path for path in files if is_slice(path)]
    if len(slices) < 2 or _are_apart(slices):
        return files
    return [*(path for path in files if not is_slice(path)), slices[0].parent]


def _are_apart(slices: list[Path]) -> bool:
    """Whether DICOM files are images of their own, as radiographs are, and no slices of one volume."""
    try:
        from translatekit.images.dicom import are_apart

        return are_apart(slices)
    except Exception:  # pydicom raises nearly anything on damaged files, and may not be installed
        return False  # whoever reads them says what is wrong


def _is_within(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _some_suffixes() -> str:
    return ", ".join(suffix for suffix in (".png", ".jpg", ".tiff", ".webp") if suffix in image_suffixes())


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


def _output_suffix(source: Path, options: RunOptions) -> str:
    if is_sequence(source) or is_stream(str(source)):
        return ".mp4" if options.container is None or is_stream(str(source)) else f".{options.container}"
    if source.is_dir():
        return "" if options.format == "keep" else SUFFIXES[options.format]
    suffix = suffix_as_written(source.name)
    still, moving = (output_suffix(suffix, options, moves) for moves in (False, True))
    return moving if still != moving and is_animation(source) else still


def output_suffix(suffix: str, options: RunOptions, moves: bool) -> str:
    """The suffix of a file's translation.

    Args:
        suffix: of the file, with the letters that it has.
        options: say what format is wanted.
        moves: whether it is an animation.
    """
    lower = suffix.lower()
    if lower in VIDEO_SUFFIXES:
        if options.container is not None:
            return f".{options.container}"
        return suffix if lower in KEPT_VIDEO_SUFFIXES else ".mp4"
    if lower not in image_suffixes():
        return ".mp4"
    if options.format != "keep":
        return SUFFIXES[options.format]
    return suffix if moves or _holds_any_image(lower) else ".png"


def _holds_any_image(suffix: str) -> bool:
    """Whether files of a suffix are written, be they gray or RGB: which of them a model gives is not known yet."""
    return suffix in writable_suffixes() and {1, 3} <= set(format_named(suffix).channels or (1, 3))


def _without_own_outputs(jobs: list[Job], findings: Findings) -> list[Job]:
    """The jobs without those whose input was translated from another input: outputs are not taken again."""
    places = {_place(job.source) for job in jobs}

    def is_own_output(job: Job) -> bool:
        source = job.manifest.source_of(job.source)
        return source is not None and _place(source) in places

    taken = [job for job in jobs if not is_own_output(job)]
    findings.earlier |= places - {_place(job.source) for job in taken}
    return taken


def _with_alternatives(jobs: list[Job]) -> list[Job]:
    """The jobs, those of one output as alternatives of the first; what is wrong where one would overwrite an input."""
    inputs = {place for job in jobs for place in (_place(job.source), os.path.realpath(job.source))}
    first: dict[str, Job] = {}
    alternatives = set()
    # A file that keeps its format has the first claim on its name: a.png before a.gif.
    for job in sorted(jobs, key=lambda job: job.output.suffix != job.source.suffix):
        if job.problem is not None:
            continue
        place = _place(job.output)
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
