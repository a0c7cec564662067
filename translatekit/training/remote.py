"""Runs whose folder is in an object store: worked on in a local copy, which is written there aside from the training.

In the store, a checkpoint is complete when the small JSON file beside it is there, which is written last and says the
checkpoint's hash. What a run goes on from is the newest that is complete.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from shlex import quote
from types import TracebackType

from translatekit.errors import Stopped, StorageError, TrainingError
from translatekit.storage import (
    TEMPORARY,
    Sink,
    atomic_path,
    cache_folder,
    empty_folder,
    hash_bytes,
    hash_file,
    is_uri,
    open_sink,
    open_source,
    shown,
    write_atomically,
)
from translatekit.training.losses import LossError

_IDENTITY = "run.json"  # tells one run from another that had the same address
_UNSENT = "unsent"  # lies in the local copy while the store lacks what the training ended with
_CHECKPOINTS = "checkpoints"
OWN_FILES = "loggers"  # a folder in the run's where loggers may keep files
_LOGS = (".jsonl", ".html", ".toml", ".json")
_PAUSE = 30.0  # seconds between two attempts to write what the store did not take


class Keeper:
    """What keeps a run beside its local folder; this one has nothing to do.

    Attributes:
        place: the run's folder or address, as people may type it.
        say: prints a sentence; called by another thread.
    """

    say: Callable[[str], None] = staticmethod(lambda sentence: None)

    def __init__(self, place: str) -> None:
        self.place = place

    def pull(self) -> None:
        """Bring what the run has kept into the local folder, to go on from."""

    def start(self) -> None:
        """Make room for a new run."""

    def saved(self) -> None:
        """Keep the checkpoint and the models that have just been saved.

        Raises:
            TrainingError: those before could not be kept.
        """

    def changed(self) -> None:
        """Keep the logs and the page, when nothing else is being kept."""

    def __enter__(self) -> Keeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class RemoteRun(Keeper):
    """Writes a run's local folder to its address, from a thread of its own.

    Args:
        uri: the run's address.
        folder: the local copy.
        keep: how many checkpoints are kept.
    """

    def __init__(self, uri: str, folder: Path, keep: int) -> None:
        super().__init__(shown(uri))
        self._sink: Sink = open_sink(uri)
        self._folder, self._keep = folder, max(keep, 1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._work: Future[None] | None = None
        self._now = threading.Event()
        self._written: dict[str, tuple[int, int]] = {}
        self._is_ahead = False

    def start(self) -> None:
        """Leave nothing of an earlier run that had this address, and tell this one from it.

        Raises:
            TrainingError: the store could not take all of the earlier run, which lies here.
        """
        self._check_sent()
        empty_folder(self._folder)
        write_atomically(self._folder / _IDENTITY, json.dumps({"run": uuid.uuid4().hex}).encode())

    def pull(self) -> None:
        """The newest complete checkpoint and what was logged, as far as they are not here already.

        Raises:
            StorageError: the store fails, or an object is damaged.
        """
        there = self._sink.read(_IDENTITY) if self._sink.stat(_IDENTITY) is not None else b""
        with suppress(FileNotFoundError):
            if (self._folder / _IDENTITY).read_bytes() != there:
                self._check_sent()
                empty_folder(self._folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        here = max(
            (_step_of(path.name) for path in (self._folder / _CHECKPOINTS).glob("step-*.pt")), default=-1
        )
        complete = self._complete()
        newest = max(complete, default=-1)
        if here >= newest and (self._folder / "config.toml").exists():
            # An upload had failed or was cut off, and this machine has more than the store.
            self._is_ahead = here > newest or (self._folder / _UNSENT).exists()
            return
        for item in self._sink.list():
            if not item.name.startswith(f"{_CHECKPOINTS}/"):
                self._fetch(item.name)
        for path in (self._folder / _CHECKPOINTS).glob("step-*.pt"):
            path.unlink()
        if not complete:
            return
        name = f"{_CHECKPOINTS}/step-{newest:08d}.pt"
        self._fetch(name)
        wanted = json.loads(self._sink.read(_manifest(name)))["hash"]
        if hash_file(self._folder / name) != wanted:
            (self._folder / name).unlink()
            raise StorageError(
                f"{self._sink.uri_of(name)} is damaged: delete it and the .json beside it to go on from the one before"
            )

    def _wait(self) -> None:
        """Let the thread finish, its last attempt made at once.

        Raises:
            TrainingError: the store does not take what was saved.
        """
        if self._work is None:
            return
        self._now.set()
        try:
            self._work.result()
        except StorageError as error:
            (self._folder / _UNSENT).touch()
            place = self.place if self._is_there() else str(self._folder)
            raise TrainingError(
                f"the run could not be kept at {self.place} ({error}); what is not there lies in {self._folder}: "
                f"go on from it, on this machine, with translatekit train --resume {quote(place)}"
            ) from None
        finally:
            self._work = None
            self._now.clear()

    def _is_there(self) -> bool:
        """Whether the store has what a run is known by; where it does not answer, it may have."""
        try:
            return self._sink.stat("config.toml") is not None
        except StorageError:
            return True

    def _check_sent(self) -> None:
        if (self._folder / _UNSENT).exists():
            raise TrainingError(
                f"an earlier run could not be kept at {self.place} and lies in {self._folder}: "
                "copy that folder elsewhere or remove it, and start again"
            )

    def saved(self) -> None:
        """Write all that is new: the checkpoint last, and behind it what makes it count.

        At most one checkpoint is on its way: this waits for the one before.
        """
        self._wait()
        self._work = self._thread.submit(self._write, True)

    def changed(self) -> None:
        """Write logs, samples and the page."""
        if self._work is None or self._work.done():
            self._wait()
            self._work = self._thread.submit(self._write, False)

    def __enter__(self) -> RemoteRun:
        if self._is_ahead:  # there may be no further step to save the newest checkpoint and the models
            self.saved()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._wait()
            if error is None or isinstance(error, (Stopped, LossError)):  # whose page says what ended the run
                self._work = self._thread.submit(self._write, False)
                self._wait()
        except TrainingError as lost:
            if error is None or isinstance(error, Stopped):
                raise
            self.say(str(lost))
        finally:
            self._thread.shutdown(wait=False)

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _write(self, checkpoint: bool) -> None:
        while True:
            last = self._now.is_set()
            try:
                self._write_once(checkpoint)
                return
            except StorageError as error:
                if last:
                    raise
                self.say(f"{error}; trying again")
                self._now.wait(_PAUSE)

    def _write_once(self, checkpoint: bool) -> None:
        for path in self._files():
            name = path.relative_to(self._folder).as_posix()
            if not checkpoint and path.suffix == ".safetensors":
                continue
            with suppress(FileNotFoundError):  # replaced or deleted meanwhile
                known = path.stat()
                stamp = (known.st_size, known.st_mtime_ns)
                if self._written.get(name) != stamp:
                    growing = (
                        path.suffix in _LOGS or "tfevents" in path.name or name.startswith(f"{OWN_FILES}/")
                    )
                    self._sink.commit(name, path.read_bytes() if growing else path)
                    self._written[name] = stamp
        if checkpoint:
            self._write_checkpoint()
            (self._folder / _UNSENT).unlink(missing_ok=True)

    def _write_checkpoint(self) -> None:
        path = max((self._folder / _CHECKPOINTS).glob("step-*.pt"))
        name = path.relative_to(self._folder).as_posix()
        known = path.stat()
        if self._written.get(name) == (known.st_size, known.st_mtime_ns):
            return  # it was there already when the one before it came to be written
        content = {"step": _step_of(path.name), "size": path.stat().st_size, "hash": hash_file(path)}
        self._sink.commit(name, path)
        self._sink.commit(_manifest(name), json.dumps(content).encode())
        self._written[name] = (known.st_size, known.st_mtime_ns)
        for step in self._complete()[: -self._keep]:
            old = f"{_CHECKPOINTS}/step-{step:08d}.pt"
            self._sink.delete(_manifest(old))  # first, so that what is there without its .pt never counts
            self._sink.delete(old)

    # --- small things ----------------------------------------------------------------------------------------------

    def _files(self) -> Iterator[Path]:
        for path in sorted(self._folder.rglob("*")):
            inside = path.relative_to(self._folder)
            if (
                path.is_file()
                and inside.parts[0] not in (_CHECKPOINTS, _UNSENT)
                and not path.match(TEMPORARY)
            ):
                yield path

    def _complete(self) -> list[int]:
        """The steps of the complete checkpoints in the store, in order."""
        names = {item.name for item in self._sink.list(f"{_CHECKPOINTS}/")}
        return sorted(_step_of(name) for name in names if name.endswith(".pt") and _manifest(name) in names)

    def _fetch(self, name: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, self._sink.open(name) as there, temporary.open("wb") as here:
            shutil.copyfileobj(there, here, 2**22)


def make_keeper(place: str, folder: Path, keep: int, rank: int) -> Keeper:
    """What keeps a run: rank 0 does, where its place is the address of a store."""
    return RemoteRun(place, folder, keep) if is_uri(place) and rank == 0 else Keeper(shown(place))


def working_folder(place: str | Path) -> Path:
    """The local folder of a run: its place itself, or, of an address, one in the cache folder."""
    return (
        cache_folder("runs", hash_bytes(str(place).rstrip("/").encode()))
        if is_uri(place)
        else Path(place).expanduser()
    )


def is_taken(uri: str) -> bool:
    """Whether anything is at an address."""
    return next(iter(open_source(f"{uri.rstrip('/')}/").list()), None) is not None


def holds_checkpoint(place: str) -> bool:
    """Whether a run has a checkpoint to go on from: in its folder, or whole in its store."""
    if is_uri(place):
        items = open_source(f"{place.rstrip('/')}/").list(f"{_CHECKPOINTS}/")
        return any(item.name.endswith(".json") for item in items)
    return any((Path(place).expanduser() / _CHECKPOINTS).glob("step-*.pt"))


def _step_of(name: str) -> int:
    return int(Path(name).stem.removeprefix("step-"))


def _manifest(name: str) -> str:
    return f"{name.removesuffix('.pt')}.json"
