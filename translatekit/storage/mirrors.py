"""Folders that lie elsewhere, for what needs a local one: a mirror in the cache folder, and changes written back."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from translatekit.errors import StorageError
from translatekit.storage.copies import cannot_cache, fetch, local_file
from translatekit.storage.files import cache_folder, write_atomically
from translatekit.storage.local import LocalPlace
from translatekit.storage.opening import open_sink, open_source, place_of
from translatekit.storage.places import Item, Sink, Source, checked_name
from translatekit.storage.uris import is_uri, shown

RECORD = ".translatekit-mirror.json"
"""Which objects of the store a mirror holds: their stamps there, by name, and those of the local files."""

_LEFT_FREE = 512 * 2**20  # bytes, for whatever else writes to the disk
_THREADS = 16

T = TypeVar("T")
R = TypeVar("R")


def local_folder(text: str | Path) -> Path:
    """The local folder with the files of a place: what is given where it is local, and else a mirror in the cache.

    Only what has changed in the store since the last time is fetched, and what is not there any more is removed. The
    mirror is as large as the place: it stops before the disk is full.

    Args:
        text: a path, or an address; of a folder or an archive.

    Raises:
        StorageError: there is nothing at the address, or the store or the cache folder fails.
        PluginError: the store's library is not installed.
    """
    if not is_uri(text):
        path = Path(text).expanduser()
        if path.suffix.lower() not in (".zip", ".tar") or not path.is_file():
            return path
        text = str(path.resolve())
    folder = _mirror_of(str(text))
    if not _pull(open_source(text), folder):
        raise StorageError(f"there is nothing at {shown(text)}: check the address")
    return folder


def local_place(text: str | Path) -> Path:
    """The local file or folder with what is at an address: see `local_file` and `local_folder`.

    Args:
        text: a path, or an address; one that ends in a slash is a folder's for certain.

    Raises:
        StorageError: there is nothing at the address, or the store or the cache folder fails.
        PluginError: the store's library is not installed.
    """
    if (
        is_uri(text)
        and not str(text).endswith("/")
        and PurePosixPath(shown(text)).suffix not in ("", ".zip", ".tar")
    ):
        source, name = place_of(text)
        if source.stat(name) is not None:
            return local_file(text)
    return local_folder(text)


@contextlib.contextmanager
def written_folder(text: str | Path) -> Iterator[Path]:
    """A local folder to write to, whose changes are committed to the place at the end, also where an error ends it.

    Args:
        text: a path, which is what is written to itself, or the address of a folder.

    Raises:
        StorageError: the store or the cache folder fails.
        PluginError: the store's library is not installed.
    """
    if not is_uri(text):
        yield Path(text).expanduser()
        return
    sink, folder = open_sink(text), _mirror_of(str(text))
    _pull(sink, folder, goes_on=True)
    try:
        yield folder
    except Exception:
        _push(folder, sink)
        raise
    _push(folder, sink)


def write_file(place: str | Path, data: bytes) -> None:
    """Write one file, whole or not at all.

    Args:
        place: its path or address.
        data: all of its bytes.

    Raises:
        StorageError: it cannot be written; nothing is left behind.
    """
    if is_uri(place):
        folder, _, name = str(place).rpartition("/")
        open_sink(folder).commit(name, data)
    else:
        write_atomically(Path(place).expanduser(), data)


def _mirror_of(uri: str) -> Path:
    key = blake2b(uri.rstrip("/").encode(), digest_size=12).hexdigest()
    return cache_folder("mirrors", key, PurePosixPath(shown(uri).rstrip("/")).name or "folder")


def _pull(source: Source, folder: Path, goes_on: bool = False) -> int:
    """Make a mirror what the place is; how many objects it has.

    Args:
        source: the place.
        folder: the mirror.
        goes_on: keep journals as they are here, where those in the store are still what they were: a run that was
            killed has written more of them than it has written back.
    """
    known = _read(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_cache(error, source.uri, folder) from None
    here = LocalPlace(folder)
    entries: dict[str, list[str]] = {}

    def fetched(item: Item) -> None:
        local, before = here.stat(item.name), known.get(item.name, ["", ""])
        if goes_on and local is not None and _is_hidden(item.name) and before[0] == item.stamp:
            entries[item.name] = before  # so that what is new in it is written back
            return
        if local is None or before != [item.stamp, local.stamp]:
            path = folder / checked_name(item.name, source.uri)
            if shutil.disk_usage(folder).free - (item.size or 0) < _LEFT_FREE:
                raise StorageError(
                    f"{source.uri} does not fit on the disk of {folder}: name a part of it, or set TRANSLATEKIT_CACHE "
                    "to a folder on a larger one"
                )
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_cache(error, source.uri, folder) from None
            fetch(source, item, path)
            local = here.stat(item.name)
            assert local is not None
        entries[item.name] = [item.stamp, local.stamp]  # also of what is still fetched when another fails

    try:
        for _ in _in_threads(fetched, source.list()):
            pass
    except BaseException:
        _write(folder, {**known, **entries})  # a stopped one goes on
        raise
    for name in known.keys() - entries.keys():  # what was never in the store is not ours to remove
        (folder / name).unlink(missing_ok=True)
    _write(folder, entries)
    return len(entries)


def _push(folder: Path, sink: Sink) -> None:
    """Commit what has changed in a mirror since it was pulled, hidden journals first, and remove what is gone."""
    known = _read(folder)
    here = LocalPlace(folder)
    local = {item.name: item for item in here.list() if item.name != RECORD}
    changed = [item for item in local.values() if known.get(item.name, ["", ""])[1] != item.stamp]

    def committed(item: Item) -> tuple[Item, Item]:
        return item, sink.commit(item.name, folder / item.name)

    try:
        for hidden in (True, False):
            items = [item for item in changed if _is_hidden(item.name) is hidden]
            for item, there in _in_threads(committed, items):
                known[item.name] = [there.stamp, item.stamp]
        for name in known.keys() - local.keys():
            sink.delete(name)
            del known[name]
    finally:
        _write(folder, known)


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def _in_threads(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `work` makes of each item, in order; some are under way, and no more are taken than that."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="translatekit-mirror") as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                if len(under_way) == 2 * _THREADS:
                    yield under_way.popleft().result()
                under_way.append(pool.submit(work, item))
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read(folder: Path) -> dict[str, list[str]]:
    try:
        found: Any = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(folder: Path, entries: dict[str, list[str]]) -> None:
    write_atomically(folder / RECORD, json.dumps(entries).encode(), shared=True)
