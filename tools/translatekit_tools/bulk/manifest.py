"""What translations were made from, so that a rerun does only what is missing."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from translatekit.storage import (
    AppendLog,
    Item,
    Sink,
    Source,
    hash_bytes,
    hash_file,
    open_sink,
    writable_cache,
)
from translatekit_tools.bulk.index import Index, digest
from translatekit_tools.bulk.records import Records
from translatekit_tools.bulk.unfinished import JOURNAL_NAME, Unfinished

MANIFEST_NAME = ".translatekit-manifest.jsonl"

_STEM = MANIFEST_NAME.removesuffix(".jsonl")
_CLAIMS = ".translatekit-claims"
_FOLDERS = 1000  # of which it is remembered where they are


def manifest_name(worker: str) -> str:
    """What the manifest of one of several writers is called, such as of ``003-of-016`` or ``node-a-17``."""
    return f"{_STEM}-{re.sub(r'[^A-Za-z0-9-]+', '-', worker)}.jsonl"


def is_manifest(name: str) -> bool:
    """Whether a file is a manifest, of whatever writer."""
    return name.startswith(_STEM) and name.endswith(".jsonl")


def hash_options(options: dict[str, Any]) -> str:
    """BLAKE2b of options, 128 bits in hexadecimal."""
    return hash_bytes(json.dumps(options, sort_keys=True).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One output: a line of the manifest.

    Attributes:
        input, output: paths relative to the manifest's folder; an input elsewhere by its address.
        input_hash, output_hash, model_hash, options_hash: what it was made from, and what it is.
        output_size: in bytes.
        stamp, output_stamp: of input and output, such as size and time of change: while both are what they were, so
            are the contents. Empty where nobody knows.
    """

    input: str
    input_hash: str
    output: str
    output_hash: str
    output_size: int
    model_hash: str
    options_hash: str
    stamp: str = ""
    output_stamp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An input that could not be translated: a line of the manifest, too.

    Attributes:
        failed: why, in one sentence.
    """

    input: str
    output: str
    failed: str
    model_hash: str
    options_hash: str
    stamp: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An output that is about to be written.

    Attributes:
        output: its name.
        stamp: of its input.
        model_hash, options_hash: of what makes it.
        before: the state of what is in its place (see `Manifest.output_state`).
        time: in seconds since 1970.
    """

    output: str
    stamp: str
    model_hash: str
    options_hash: str
    before: int
    time: float = field(default_factory=time.time)


_ENTRY_FIELDS, _FAILURE_FIELDS = (tuple(each.name for each in fields(kind)) for kind in (Entry, Failure))
_ENTRY = frozenset(_ENTRY_FIELDS)
_NEEDED = _ENTRY - {"stamp", "output_stamp"}
_CLAIM = frozenset(each.name for each in fields(Claim))


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder.

    Raises:
        OSError: they cannot be read.
    """
    return sum(each.stat().st_size for each in _files(path))


def hash_path(path: Path) -> str:
    """The hash of a file, or of the names and bytes of those in a folder.

    Raises:
        OSError: they cannot be read.
    """
    if not path.is_dir():
        return hash_file(path)
    return hash_options({"files": [[each.name, hash_file(each)] for each in _files(path)]})


def stamp_of(path: Path) -> str:
    """Size and time of change of a file, or of those in a folder; empty where it is not there.

    A file that was changed to another of its size, and given its old time of change, has the same.
    """
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            return f"{status.st_size}-{status.st_mtime_ns}"
        return hash_options({"files": [[each.name, stamp_of(each)] for each in _files(path)]})
    except OSError:
        return ""


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]


class Manifest:
    """The manifests of a place of outputs: a JSON object a line, only ever appended to, one file for each writer.

    Locally, an entry is added before its output gets its name: whatever the moment a run is killed, every output that
    is there is known. An object store is given many entries at a time; there, what is about to be written is claimed
    before (see `claim`). A torn line is ignored, and so is an entry whose output is missing or has changed.

    Of what earlier runs have left, `Index` keeps 24 bytes a name in memory, and the rest stays where it is.

    Attributes:
        folder: the output folder; of a store, one that is not there.
        sink: the place.
        name: of the file that this writer appends to.
        unfinished: which inputs were in progress when an earlier run was killed. It is on this machine, even where
            the outputs are not.
    """

    def __init__(self, place: Path | Sink, name: str = MANIFEST_NAME) -> None:
        """Read what earlier runs have left.

        Args:
            place: of the outputs.
            name: of this writer's file (see `manifest_name`).

        Raises:
            TranslatekitError: it is there and cannot be read.
        """
        # resolve() would follow a link that is an output
        self.sink = open_sink(Path(os.path.abspath(place))) if isinstance(place, Path) else place  # noqa: PTH100
        self.name = name
        local = self.sink.path
        self.folder = Path() if local is None else Path(os.path.abspath(local))  # noqa: PTH100
        writer = name.removeprefix(_STEM).removesuffix(".jsonl")
        journal = f"{JOURNAL_NAME.removesuffix('.jsonl')}{writer}.jsonl"
        if local is None:
            where = writable_cache("unfinished") or Path(tempfile.gettempdir())
            self.unfinished = Unfinished(where, f"{hash_bytes(self.sink.uri.encode())}{journal}")
        else:
            self.unfinished = Unfinished(self.folder, journal)
        self._lock = threading.Lock()
        self._records, self._index = Records(self.sink, _STEM), Index()
        self._claims, self._claimed = Records(self.sink, _CLAIMS), Index()
        self._claims_name = f"{_CLAIMS}{writer}.jsonl"
        self._unsettled: set[int] = (
            set()
        )  # outputs that were claimed and are not looked at yet, by their digests
        self._old_claims: set[str] = set()
        self._log: AppendLog | None = None
        self._claims_log: AppendLog | None = None
        self._outputs: Index | None = None
        self._relative: dict[str, str] = {}
        self.refresh()

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened_here, (self.sink.path or self.sink, self.name)

    @property
    def is_local(self) -> bool:
        """Whether the outputs are files of this machine."""
        return self.sink.path is not None

    @property
    def is_alone(self) -> bool:
        """Whether this is the manifest of a run on one machine into a folder of its own, which nobody else sums up."""
        return self.is_local and self.name == MANIFEST_NAME

    @property
    def is_listed(self) -> bool:
        """Whether all outputs that are there are known, without asking for each."""
        return self._outputs is not None or self.is_local

    @property
    def index_bytes(self) -> int:
        """That are kept in memory of earlier runs."""
        return sum(each.bytes for each in (self._index, self._claimed, self._outputs) if each is not None)

    def refresh(self) -> None:
        """Read what was appended since, by whatever writer.

        Raises:
            TranslatekitError: it cannot be read.
        """
        with self._lock:
            for place, record in self._records.new():
                output = record.get("output")
                if isinstance(output, str):
                    self._index.add(output, _state_of(record), place)
            if self.is_local:
                return
            claims = [Claim(**record) for _, record in self._claims.new() if record.keys() == _CLAIM]
            self._unsettled.update(digest(claim.output) for claim in claims)
            for claim in sorted(claims, key=lambda claim: claim.time):  # of several writers
                self._claimed.add(
                    claim.output, digest(claim.stamp, claim.model_hash, claim.options_hash), claim.before
                )

    def relative(self, path: Path) -> str:
        """A path as entries name it: relative to the folder, with forward slashes."""
        if not self.is_local:
            return path.as_posix()
        parent, name = os.path.split(path)
        if name in ("", os.curdir, os.pardir):
            return self._below(os.fspath(path))
        below = self._below(parent or os.curdir)
        return name if below == os.curdir else f"{below}/{name}"

    def _below(self, folder: str) -> str:
        """As `relative` has it; remembered, since folders have many files."""
        if (known := self._relative.get(folder)) is None:
            try:
                known = Path(os.path.relpath(folder, self.folder)).as_posix()
            except ValueError:  # another drive
                known = Path(folder).as_posix()
            if len(self._relative) >= _FOLDERS:
                self._relative.clear()
            self._relative[folder] = known
        return known

    def is_current(self, output: str, stamp: str, state: int, made_with: tuple[str, str]) -> bool:
        """Whether an output is known to be made from an input as it is now, by their stamps alone.

        Args:
            output: its name, as entries have it.
            stamp: of the input; an empty one is never known.
            state: of the output (see `output_state`).
            made_with: hashes of the model and the options.
        """
        if not (stamp and state and made_with[0]):
            return False
        with self._lock:
            return self._index.has(output, digest(stamp, str(state), *made_with))

    def entries(self, output: str) -> Iterator[Entry]:
        """All that were made of that name, the newest first."""
        for record in self._of(output):
            if record.keys() >= _NEEDED:
                yield Entry(**{key: value for key, value in record.items() if key in _ENTRY})

    def failure(self, output: str, made_with: tuple[str, str]) -> str | None:
        """Why the translation of that name failed when it was tried last; None where it did not."""
        for record in self._of(output):
            if record.keys() >= _NEEDED:
                return None
            if "failed" in record and (record.get("model_hash"), record.get("options_hash")) == made_with:
                return str(record["failed"])
        return None

    def _of(self, output: str) -> Iterator[dict[str, Any]]:
        with self._lock:
            places = self._index.places(output)
        for place in places:
            record = self._records.at(place)
            if record.get("output") == output:
                yield record

    def find(self, output: Path, output_hash: str) -> Entry | None:
        """The newest entry that says that this output, with these bytes, is ours."""
        return next(
            (each for each in self.entries(self.relative(output)) if each.output_hash == output_hash), None
        )

    def source_of(self, output: Path) -> Path | None:
        """The file that this output was made from, where the manifest knows it."""
        entry = next(self.entries(self.relative(output)), None)
        return None if entry is None else self.folder / entry.input

    def is_made_from(self, item: Item, name: str, source: Source) -> bool:
        """Whether an object that lies among the outputs is one, made of what is in a place.

        Args:
            item: the object, as the place lists it.
            name: of it among the outputs, as entries have it.
            source: the place.
        """
        entry = next(self.entries(name), None)
        if entry is None:  # a writer that was killed may have had no time for one
            return not self.is_local and self.is_claimed(name, digest(item.stamp))
        if source.path is not None:
            return Path(os.path.abspath(self.folder / entry.input)).is_relative_to(source.path.absolute())  # noqa: PTH100
        return entry.input.startswith(f"{source.uri}/")

    def add(self, entry: Entry | Failure) -> None:
        """Append an entry.

        Raises:
            StorageError: it cannot be written.
        """
        with self._lock:
            if self._log is None:
                self._log = self.sink.append_log(self.name)
        names = _ENTRY_FIELDS if isinstance(entry, Entry) else _FAILURE_FIELDS
        record = {name: getattr(entry, name) for name in names}
        self._log.append({key: value for key, value in record.items() if value != "" or key in _NEEDED})

    def list_outputs(self) -> None:
        """List what is in the place, once, in place of asking for each output by itself: 16 bytes a name."""
        self._outputs = Index(has_places=False)
        for item in self.sink.list():
            self._outputs.add(item.name, digest(item.stamp))

    def output_state(self, output: str) -> int:
        """The digest of an output's stamp; 0 where there is no output.

        Raises:
            StorageError: the store cannot be asked.
        """
        if self._outputs is not None:
            with self._lock:
                return self._outputs.newest(output) or 0
        if self.is_local:
            stamp = stamp_of(self.folder / output)
            return digest(stamp) if stamp else 0
        item = self.sink.stat(output)
        return 0 if item is None else digest(item.stamp)

    def is_made(self, output: str, stamp: str, state: int, made_with: tuple[str, str]) -> bool:
        """Whether an output was claimed by a writer that was killed before its entry was written, and is whole.

        It is if it was not there, or was another, when it was claimed for the input as it is now.

        Args:
            output: its name.
            stamp: of the input.
            state: of the output.
            made_with: hashes of the model and the options.
        """
        if not (stamp and state and made_with[0]):
            return False
        with self._lock:
            newest = next(iter(self._claimed.items(output)), None)
        if newest is None or newest[0] != digest(stamp, *made_with) or newest[1] == state:
            return False
        return not any(digest(entry.output_stamp) == state for entry in self.entries(output))

    def is_claimed(self, output: str, state: int) -> bool:
        """Whether an output of that state was written after somebody had claimed it, for whatever input."""
        with self._lock:
            return any(before != state for _, before in self._claimed.items(output))

    def claim(self, claims: Iterable[Claim]) -> None:
        """Say what will be written, before any of it is: what is there without an entry is known by it.

        Raises:
            StorageError: it cannot be written.
        """
        if self._claims_log is None:
            self._old_claims = set(self._segments_of_claims())
            self._claims_log = self.sink.append_log(self._claims_name)
        for claim in claims:
            self._claims_log.append(asdict(claim))
        self._claims_log.flush()

    def settle(self, output: str) -> None:
        """Take note that what an earlier run has claimed of that name is known by now, or will be claimed anew."""
        if self._unsettled:
            self._unsettled.discard(digest(output))

    def close(self) -> None:
        """Write what waits, and remove the claims that are needed no more.

        Raises:
            StorageError: it cannot be written.
        """
        if self._log is not None:
            self._log.close()
        self.unfinished.close()
        if self._claims_log is not None:
            # Those of a run that was killed stay until another has come to all of their outputs.
            kept = self._old_claims if self._unsettled else set()
            for name in self._segments_of_claims():
                if name not in kept:
                    self.sink.delete(name)

    def _segments_of_claims(self) -> list[str]:
        stem = self._claims_name.removesuffix(".jsonl")
        own = re.compile(rf"{re.escape(stem)}\.\d+\.jsonl")
        return [item.name for item in self.sink.list(f"{stem}.") if own.fullmatch(item.name)]


_writer: str | None = None
_opened: dict[str, Manifest] = {}


def write_as(name: str) -> None:
    """Let all manifests that come to this process from another be those of a writer of its own."""
    global _writer
    _writer = name


def _opened_here(place: Path | Sink, name: str) -> Manifest:
    """A manifest that comes from another process: one for each place."""
    key = str(place) if isinstance(place, Path) else place.uri
    if key not in _opened:
        _opened[key] = Manifest(place, _writer or name)
    return _opened[key]


def _state_of(record: dict[str, Any]) -> int:
    """What an entry says in short; 0 where it says nothing."""
    stamp, made = record.get("stamp"), record.get("output_stamp")
    if not (stamp and made):
        return 0
    return digest(*map(str, (stamp, digest(made), record.get("model_hash"), record.get("options_hash"))))
