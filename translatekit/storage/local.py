"""Folders and files of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO

from translatekit.errors import StorageError
from translatekit.storage.files import TEMPORARY, atomic_path, write_error
from translatekit.storage.logs import AppendLog, local_writer, records_of
from translatekit.storage.places import Item, Sink, checked_name


class LocalPlace(Sink):
    """A folder, or one file, whose only object is called as it is itself.

    Args:
        path: of the folder or file; a folder that is written need not be there.
    """

    path: Path

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self.uri = str(self.path)
        self._folder = self.path.parent if self.path.is_file() else self.path

    def uri_of(self, item: Item | str) -> str:
        """The path of an object."""
        return str(self._folder / (item.name if isinstance(item, Item) else item))

    def list(self, prefix: str = "") -> Iterator[Item]:
        """All files, folder by folder, each sorted; a link to a folder that was entered already is not followed."""
        if self._folder != self.path:
            item = self.stat(self.path.name)
            if item is not None and item.name.startswith(prefix):
                yield item
            return
        start = prefix.rpartition("/")[0]
        entered: set[tuple[int, int]] = set()
        pending = [(self._folder / start, f"{start}/" if start else "")]
        while pending:
            folder, below = pending.pop()
            try:
                status = folder.stat()
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except FileNotFoundError as error:
                if below:  # removed since its parent was listed; or there is nothing of this prefix
                    continue
                raise _reading(error, folder) from None
            except OSError as error:
                raise _reading(error, folder) from None
            folders = []
            for entry in entries:
                name = below + entry.name
                if entry.is_dir():
                    if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                        folders.append((folder / entry.name, f"{name}/"))
                elif name.startswith(prefix) and not fnmatch(entry.name, TEMPORARY):
                    item = self.stat(name)
                    if item is not None:
                        yield item
            pending += reversed(folders)

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        path = self._path_of(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise _reading(error, path) from None

    def open(self, name: str) -> BinaryIO:
        """The open file."""
        path = self._path_of(name)
        try:
            return path.open("rb")
        except OSError as error:
            raise _reading(error, path) from None

    def stat(self, name: str) -> Item | None:
        """Size and stamp of a file; None where there is none."""
        path = self._path_of(name)
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _reading(error, path) from None
        if not path.is_file():
            return None
        return Item(name, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")

    def commit(self, name: str, data: bytes | BinaryIO | Path) -> Item:
        """Write a file under a temporary name, flush it to the disk and rename it."""
        path = self._path_of(checked_name(name, self.uri))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path, shared=True) as temporary:
                if isinstance(data, bytes):
                    temporary.write_bytes(data)
                elif isinstance(data, Path):
                    shutil.copyfile(data, temporary)
                else:
                    with temporary.open("wb") as file:
                        shutil.copyfileobj(data, file)
        except OSError as error:
            raise write_error(error, path) from None
        item = self.stat(name)
        assert item is not None
        return item

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self._path_of(checked_name(name, self.uri))
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be removed ({error.strerror}): check the permissions of its folder"
            ) from None

    def append_log(self, name: str) -> AppendLog:
        """A file that every record is appended to at once."""
        path = self._path_of(checked_name(name, self.uri))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(error, path) from None
        return AppendLog(local_writer(path))

    def read_log(self, name: str) -> Iterator[dict[str, Any]]:
        """The records of a file, line by line."""
        path = self._path_of(name)
        try:
            with path.open("rb") as file:
                yield from records_of(file)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise _reading(error, path) from None

    def _path_of(self, name: str) -> Path:
        return self._folder / name


def _reading(error: OSError, path: Path) -> StorageError:
    if isinstance(error, FileNotFoundError):
        return StorageError(f"there is no {path}: check the path")
    return StorageError(f"{path} cannot be read ({error.strerror}): check the path and its permissions")
