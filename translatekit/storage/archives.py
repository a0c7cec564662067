"""Zip archives and tar shards, which are read where they lie."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar, cast

from translatekit.errors import StorageError
from translatekit.storage.places import Item, Source

T = TypeVar("T")


class Archive(Source):
    """What an archive holds below a folder of it.

    Args:
        place: what the archive lies in.
        name: of the archive there.
        inside: the folder, or the one file; "" for all.
        uri: how the place is shown; that of the archive where it is not given.
    """

    scheme: str

    def __init__(self, place: Source, name: str, inside: str = "", uri: str | None = None) -> None:
        self.uri = uri or place.uri_of(name)
        self._place = place
        self._archive = name
        self._inside = inside.strip("/")
        self._file: tuple[int, Any] | None = None
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._place, self._archive, self._inside, self.uri)

    def uri_of(self, item: Item | str) -> str:
        """Where a file lies in the archive."""
        name = item.name if isinstance(item, Item) else item
        return f"{self.scheme}://{self._path_of(name)}::{self._place.uri_of(self._archive)}"

    def _opened(self, make: Callable[[BinaryIO], T]) -> T:
        """The archive, opened once by each process for itself.

        Raises:
            StorageError: it is none.
        """
        with self._lock:
            if self._file is None or self._file[0] != os.getpid():
                try:
                    self._file = os.getpid(), make(self._place.open(self._archive))
                except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
                    raise StorageError(
                        f"{self._place.uri_of(self._archive)} is damaged or no archive ({error}): copy it again"
                    ) from None
            return cast("T", self._file[1])

    @property
    def _is_single(self) -> bool:
        """Whether the folder is a file."""
        return bool(self._inside) and self._find(self._inside) is not None

    def _path_of(self, name: str) -> str:
        if self._is_single:
            return self._inside
        return f"{self._inside}/{name}" if self._inside else name

    def _below(self, path: str) -> str | None:
        """The name of a file of the archive, below the folder; None where it lies elsewhere."""
        if not self._inside:
            return path
        if path == self._inside:
            return path.rpartition("/")[2]
        return path[len(self._inside) + 1 :] if path.startswith(f"{self._inside}/") else None

    def stat(self, name: str) -> Item | None:
        """What the archive says of a file."""
        found = self._find(self._path_of(name))
        return None if found is None else Item(name, found.size, found.stamp)

    def list(self, prefix: str = "") -> Iterator[Item]:
        """All files, in the order of the archive."""
        for item in self._all():
            name = self._below(item.name)
            if name is not None and name.startswith(prefix):
                yield Item(name, item.size, item.stamp)

    def _all(self) -> Iterator[Item]:
        raise NotImplementedError

    def _find(self, path: str) -> Item | None:
        raise NotImplementedError

    def _missing(self, name: str) -> StorageError:
        return StorageError(f"there is no {name} in {self._place.uri_of(self._archive)}: check the name")


class ZipArchive(Archive):
    """A zip archive. Its names are read at once, from its end, since there is where it keeps them."""

    scheme = "zip"

    @property
    def _zip(self) -> zipfile.ZipFile:
        return self._opened(zipfile.ZipFile)

    def _all(self) -> Iterator[Item]:
        return (self._item(info) for info in self._zip.infolist() if not info.is_dir())

    def _find(self, path: str) -> Item | None:
        try:
            info = self._zip.getinfo(path)
        except KeyError:
            return None
        return None if info.is_dir() else self._item(info)

    @staticmethod
    def _item(info: zipfile.ZipInfo) -> Item:
        return Item(info.filename, info.file_size, f"{info.CRC:08x}-{info.file_size}")

    def read(self, name: str) -> bytes:
        """All bytes of a file, checked against the archive's checksum."""
        try:
            return self._zip.read(self._path_of(name))
        except KeyError:
            raise self._missing(name) from None
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError, EOFError) as error:
            raise self._unreadable(name, error) from None

    def open(self, name: str) -> BinaryIO:
        """A file of the archive; going back in it reads it again from its beginning."""
        try:
            return cast("BinaryIO", self._zip.open(self._path_of(name)))
        except KeyError:
            raise self._missing(name) from None
        except (RuntimeError, NotImplementedError, zipfile.BadZipFile, OSError) as error:
            raise self._unreadable(name, error) from None

    def _unreadable(self, name: str, error: Exception) -> StorageError:
        return StorageError(
            f"{name} in {self._place.uri_of(self._archive)} cannot be read ({error}): "
            "make the archive again, without a password"
        )


class TarArchive(Archive):
    """An uncompressed tar file, such as a shard of images.

    It has no list of its names, so that listing it reads it through. What is listed is remembered, a few hundred
    bytes a file, so that files are then read by range.
    """

    scheme = "tar"

    def __init__(self, place: Source, name: str, inside: str = "", uri: str | None = None) -> None:
        super().__init__(place, name, inside, uri)
        self._places: dict[str, tuple[int, Item]] = {}
        self._whole = False

    def _all(self) -> Iterator[Item]:
        if not self._whole:
            yield from self._read_through()
        else:
            yield from [item for _, item in self._places.values()]

    def _read_through(self) -> Iterator[Item]:
        try:
            with self._place.open(self._archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    tar.members = []  # type: ignore[attr-defined] # it would keep all of them
                    if member.isfile():
                        stamp = f"{member.size}-{member.mtime:.0f}-{member.offset_data}"
                        name = member.name.removeprefix("./")  # as tar names what it packs of "."
                        item = Item(name, member.size, stamp)
                        self._places[name] = member.offset_data, item
                        yield item
        except (tarfile.TarError, EOFError) as error:
            raise StorageError(
                f"{self._place.uri_of(self._archive)} is damaged or no uncompressed tar file ({error}): make it again, "
                "uncompressed"
            ) from None
        self._whole = True

    def _located(self, path: str) -> tuple[int, Item] | None:
        with self._lock:
            if path not in self._places and not self._whole:
                for _ in self._read_through():
                    pass
        return self._places.get(path)

    def _find(self, path: str) -> Item | None:
        found = self._located(path)
        return None if found is None else found[1]

    def read(self, name: str) -> bytes:
        """All bytes of a file, by range."""
        found = self._located(self._path_of(name))
        if found is None:
            raise self._missing(name)
        offset, item = found
        with self._lock:
            file = self._opened(lambda file: file)
            file.seek(offset)
            data = file.read(item.size or 0)
        if len(data) != item.size:
            raise StorageError(
                f"{self._place.uri_of(self._archive)} was changed while it was read: run again"
            )
        return data

    def open(self, name: str) -> BinaryIO:
        """A file of the archive, in memory."""
        return io.BytesIO(self.read(name))


KINDS: dict[str, type[Archive]] = {".zip": ZipArchive, ".tar": TarArchive}
"""By suffix."""
