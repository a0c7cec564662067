"""Images in object stores, archives and folders as these list them, without ever having all names in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import is_image
from translatekit.storage import Item, Sink, Source, is_uri, open_sink, open_source
from translatekit.storage.places import checked_name
from translatekit_tools.bulk.addresses import STANDARD
from translatekit_tools.bulk.find import Job, Stored, check_frames, clash
from translatekit_tools.bulk.kinds import is_animation
from translatekit_tools.bulk.links import OutputFolders
from translatekit_tools.bulk.manifest import MANIFEST_NAME, Manifest, manifest_name
from translatekit_tools.bulk.naming import NO_IMAGES, Names
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.walk import LeftOut

_STREAMS = ("rtmp://", "rtmps://", "rtsp://", "rtp://", "udp://", "tcp://", "srt://", "mms://", "ftp://")
"""Addresses of videos as they are sent, of which nothing is an object."""

_ARCHIVES = frozenset({".zip", ".tar"})


def are_places(inputs: Sequence[str | Path], out: str | Path | None) -> bool:
    """Whether an input or the output is in a place that is no folder of this machine.

    A video at a web address is a stream, and none.
    """
    if STANDARD in (*inputs, out):
        return False
    texts = [*map(str, inputs), *([] if out is None else [str(out)])]
    return any(map(_is_place, texts))


def _is_place(text: str) -> bool:
    if not is_uri(text):
        return Path(text).suffix.lower() in _ARCHIVES and Path(text).expanduser().is_file()
    if text.lower().startswith(_STREAMS):
        return False
    return not text.lower().startswith(("http://", "https://")) or is_image(text.partition("?")[0])


def _is_archive(uri: str) -> bool:
    return uri.startswith(("zip://", "tar://")) or Path(uri).suffix.lower() in _ARCHIVES


def output_name(names: Names, source: Source, name: str) -> str:
    """The name of the output of an object, which is looked into where its name does not tell.

    Raises:
        StorageError: it must be looked into, and cannot be read; or its name would lead out of the place of the
            outputs, as an absolute one in an archive does.
    """
    if source.path is None:
        checked_name(name, source.uri)
    if source.path is not None and not names.kind(names.suffix(name)).is_readable:  # the folder of a series
        return names.output_of_folder(name)

    def moves() -> bool:
        with source.open(name) as file:
            return is_animation(Path(name), file)

    return names.output(name, moves)


@dataclass(frozen=True, slots=True)
class Found:
    """An object that can be translated.

    Attributes:
        item: as its place lists it.
        output: the name of its output.
        problem: why it cannot be done, where that is known before it is read.
    """

    item: Item
    output: str
    problem: str | None = None


@dataclass(slots=True)
class Listing:
    """What a place holds that can be translated, as it is listed; hidden files, notes and outputs are left out.

    Two objects that would have the same output, such as ``a.gif`` and ``a.png``, follow each other in a sorted list but
    for names that begin like them: the one that keeps its suffix has it, else the first. The other has a problem.

    Attributes:
        source: the place.
        options: of the run.
        sink: where the outputs go to.
        left_out: what nothing reads, and what earlier runs have written, counted as it is listed.
        manifest: of the outputs, which tells those that lie among the inputs.
    """

    source: Source
    options: RunOptions
    sink: Sink
    left_out: LeftOut = field(default_factory=partial(LeftOut, tells_apart=False))
    manifest: Manifest | None = None

    def __iter__(self) -> Iterator[Found]:
        shard = self.options.shard
        for found in self._with_one_output_each():
            if shard is None or shard.holds(found.output):
                yield found

    def _named(self) -> Iterator[Found]:
        names = Names(self.options)
        outputs, among = self._outputs_below(), self._among_outputs()
        items: Iterable[Item] = self.source.list()
        # An archive has whatever order, and all names in memory anyway. What this run itself writes is no input of it.
        if _is_archive(self.source.uri) or among is not None:
            items = sorted(items, key=lambda item: item.name)
        for item in items:
            name = item.name
            if name.startswith(".") or "/." in name or (outputs and name.startswith(outputs)):
                continue
            suffix = names.suffix(name)
            kind = names.kind(suffix)
            if not kind.is_readable:
                if suffix.lower() not in NO_IMAGES:
                    self.left_out.add_unread(name, suffix)
                continue
            if (
                among is not None
                and self.manifest
                and self.manifest.is_made_from(item, among + name, self.source)
            ):
                self.left_out.add_earlier(name)
                continue
            problem = None
            output = name
            try:
                output = output_name(names, self.source, name)
            except TranslatekitError as error:
                problem = str(error)
            if kind.is_slice:
                problem = (
                    "it is a slice, and a series is translated as a whole from a local folder: copy that"
                )
            elif self.sink.uri == self.source.uri and output == name:
                problem = (
                    f"the output {self.sink.uri_of(output)} would overwrite an input: "
                    "pass --suffix, or another place with -o"
                )
            yield Found(item, output, problem)

    def _among_outputs(self) -> str | None:
        """What inputs are called among the outputs before their names, where they lie there; else None."""
        source, sink = self.source.uri.rstrip("/") + "/", self.sink.uri.rstrip("/") + "/"
        return source[len(sink) :] if source.startswith(sink) else None

    def _outputs_below(self) -> str:
        """What the names of outputs begin with, where they lie among the inputs."""
        source, sink = self.source.uri.rstrip("/") + "/", self.sink.uri.rstrip("/") + "/"
        return sink[len(source) :] if sink != source and sink.startswith(source) else ""

    def _with_one_output_each(self) -> Iterator[Found]:
        suffix_of = Names(self.options).suffix
        open_stems: list[tuple[str, list[Found], set[str]]] = []  # each begins with the one before
        for found in self._named():
            name = found.item.name
            while open_stems and not name.startswith(open_stems[-1][0]):
                yield from self._left(open_stems.pop())
            suffix = suffix_of(name)
            stem = name[: len(name) - len(suffix)] + "."
            if not open_stems or open_stems[-1][0] != stem:
                open_stems.append((stem, [], set()))
            _, waiting, taken = open_stems[-1]
            if found.output != name and suffix_of(found.output) != suffix:
                waiting.append(found)  # one that keeps its suffix may come
            else:
                taken.add(found.output)
                yield found
        while open_stems:
            yield from self._left(open_stems.pop())

    def _left(self, stem: tuple[str, list[Found], set[str]]) -> Iterator[Found]:
        _, waiting, taken = stem
        for found in waiting:
            problem = found.problem
            if found.output in taken:
                problem = clash(found.output, "another")
            taken.add(found.output)
            yield Found(found.item, found.output, problem)


@dataclass(slots=True)
class PlaceJobs:
    """The jobs of all inputs, as they are listed.

    Attributes:
        inputs: places, folders or files; each place or folder of several is mirrored below its own name.
        sink: where the outputs go to.
        options: of the run.
        manifest: of the outputs.
        left_out: as `Listing` has it, of all.
        total: how many there are, which nobody knows.
    """

    inputs: Sequence[str | Path]
    sink: Sink
    options: RunOptions
    manifest: Manifest
    left_out: LeftOut = field(default_factory=partial(LeftOut, tells_apart=False))
    total: int = 0

    def __iter__(self) -> Iterator[Job]:
        folders = OutputFolders(self.manifest)
        is_alone = len(self.inputs) == 1
        files: set[str] = set()  # outputs of inputs that are files by themselves
        for text in self.inputs:
            source = _source_of(text)
            is_empty = True
            for found in Listing(source, self.options, self.sink, self.left_out, self.manifest):
                is_empty = False
                is_file = is_alone or source.uri_of(found.item) == source.uri
                if is_file and found.output in files:
                    found = replace(found, problem=clash(found.output, "another"))
                elif is_file and not is_alone:
                    files.add(found.output)
                below = "" if is_file else f"{_own_name(source)}/"
                yield job_of(source, found, self.manifest, folders, below)
            if is_empty and self.options.shard is None:
                raise DataError(
                    f"{source.uri} holds no images and no videos that can be read: check the address"
                )


def job_of(source: Source, found: Found, manifest: Manifest, folders: OutputFolders, below: str = "") -> Job:
    """What is to be done with an object.

    Args:
        source: that it is in.
        found: it.
        manifest: of the outputs.
        folders: of the outputs, where these are files of this machine.
        below: what the name of its output begins with.
    """
    item, output = found.item, below + found.output
    is_local, is_local_output = source.path is not None, manifest.is_local
    path = Path(source.uri_of(item)) if is_local else Path(item.name)
    made = manifest.folder / output if is_local_output else Path(output)
    problem = found.problem
    if problem is None and is_local and is_local_output:
        problem = folders.problem(path, made)
    return Job(
        source=path,
        output=made,
        manifest=manifest,
        problem=problem,
        origin=None if is_local else Stored(source, item.name, item.size, item.stamp),
        target=None if is_local_output else Stored(manifest.sink, output),
        item=item,
    )


def find_place_jobs(inputs: Sequence[str | Path], out: str | Path | None, options: RunOptions) -> PlaceJobs:
    """The jobs of inputs of which one, or the output, is in a place that is no folder of this machine.

    Raises:
        OptionError: nobody says where the outputs go, two places would go to the same, or an option is for local files.
        StorageError: a place is none.
    """
    if out is None:
        raise OptionError(f"{inputs[0]} is no folder of this machine: say with -o where the outputs go")
    if options.frames is not None:
        raise OptionError("--frames writes the frames of local videos into a local folder: leave it out")
    check_frames(inputs, options)
    _see_that_names_differ(inputs)
    sink = open_sink(out if is_uri(str(out)) else Path(out).expanduser())
    name = MANIFEST_NAME if options.shard is None else manifest_name(options.shard.name)
    return PlaceJobs(inputs, sink, options, Manifest(sink.path or sink, name))


def _source_of(text: str | Path) -> Source:
    return open_source(text if is_uri(text) else Path(text).expanduser())


def _own_name(source: Source) -> str:
    """What outputs go below, where a place is one of several."""
    return source.uri.rstrip("/").rpartition("/")[2]


def _see_that_names_differ(inputs: Sequence[str | Path]) -> None:
    """Refuse places of one name, whose outputs would replace each other.

    Raises:
        OptionError: there are two.
    """
    known: dict[str, str] = {}
    for source in map(_source_of, inputs):
        if (name := _own_name(source)) in known:
            raise OptionError(
                f"{known[name]} and {source.uri} would both be translated into {name}: translate them apart, each "
                "with an -o of its own"
            )
        known[name] = source.uri
