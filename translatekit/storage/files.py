"""Files that are written whole or not at all, their hashes, and the user's cache folder."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b, new
from pathlib import Path
from typing import IO

from translatekit.errors import OptionError, StorageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VARIABLE = "TRANSLATEKIT_CACHE"

TEMPORARY = ".*.translatekit.tmp"
"""What files are called while they are written, as a pattern."""


def write_atomically(
    path: Path, data: bytes, *, before_rename: Callable[[], None] | None = None, shared: bool = False
) -> None:
    """Write a file so that at every moment either the old or the new one is there, whole.

    Args:
        path: where to; replaced when it exists.
        data: all of its bytes.
        before_rename, shared: as `atomic_path` has them.

    Raises:
        StorageError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    with atomic_path(path, before_rename=before_rename, shared=shared) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its name when it is complete and on the disk, and leaves nothing when it is not.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def atomic_path(
    path: Path, *, before_rename: Callable[[], None] | None = None, shared: bool = False
) -> Iterator[Path]:
    """A temporary path, whose file takes its name when it is complete and on the disk.

    Nothing is left behind when it is not. What a killed process leaves is replaced by the next one that writes the
    same file.

    Args:
        path: the name that the file will have; replaced when it exists.
        before_rename: called when the file is on the disk, before it takes its name.
        shared: several processes may write this file at the same moment, as they do a cache; the last one wins.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = temporary_path(path, shared=shared)
    try:
        yield temporary
        commit_file(temporary, path, before_rename)
    except OSError as error:
        raise write_error(error, path) from None
    finally:
        with contextlib.suppress(OSError):  # where the folder itself is at fault, there is nothing to remove
            temporary.unlink(missing_ok=True)


def commit_file(temporary: Path, path: Path, before_rename: Callable[[], None] | None = None) -> None:
    """Give a complete file its name, once it is on the disk.

    Args:
        temporary: the file, in the same folder.
        path: its name; replaced when it exists.
        before_rename: called when the file is on the disk, before it takes its name.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    if before_rename is not None:
        before_rename()
    temporary.replace(path)


def temporary_path(path: Path, *, shared: bool = False) -> Path:
    """Where a file is written before it is renamed: a hidden name beside it, of a length that every disk takes.

    Args:
        path: the name that the file will have.
        shared: each process has a temporary name of its own, on whatever machine it runs.
    """
    host = socket.gethostname() if shared else ""  # processes of two machines may have one number
    name = blake2b(os.fsencode(path.name) + host.encode(), digest_size=8).hexdigest()
    return path.with_name(f".{name}{f'.{os.getpid()}' if shared else ''}.translatekit.tmp")


def write_error(error: OSError, path: Path) -> StorageError:
    """The sentence for a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(
            f"{path} was not written, the disk is full ({error.strerror}): free some space and run again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path} may not be written ({error.strerror}): choose another folder")
    return StorageError(f"{path} was not written ({error.strerror}): choose another name or folder")


def hash_bytes(data: bytes) -> str:
    """BLAKE2b of bytes, 128 bits in hexadecimal."""
    return blake2b(data, digest_size=16).hexdigest()


def hash_file(path: Path, algorithm: str | None = None) -> str:
    """The digest of a file's bytes in hexadecimal.

    Args:
        path: of the file, which is read piece by piece.
        algorithm: as `hashlib` names it, such as ``sha256``; None for what `hash_bytes` computes.

    Raises:
        OSError: it cannot be read.
    """
    digest = blake2b(digest_size=16) if algorithm is None else new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder(*parts: str) -> Path:
    """``TRANSLATEKIT_CACHE``, or ``translatekit`` in the user's cache folder, with `parts` below it; not made.

    The cache holds downloads, measured speeds and what runtimes keep. Everything in it can be made again.

    Raises:
        OptionError: the user has no home folder, and the variable is not set.
    """
    import platformdirs

    try:
        chosen = os.environ.get(VARIABLE)
        base = (
            Path(chosen) if chosen else platformdirs.user_cache_path("translatekit", appauthor=False)
        ).expanduser()
    except RuntimeError:  # a "~" that stands for nothing
        raise OptionError(f"there is no home folder to keep a cache in: set {VARIABLE} to a folder") from None
    return base.joinpath(*parts)


def writable_cache(*parts: str) -> Path | None:
    """The folder, made where it was missing; None where nothing can be written, since a cache is no necessity."""
    try:
        folder = cache_folder(*parts)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, OptionError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


@contextlib.contextmanager
def folder_for_results(folder: Path) -> Iterator[None]:
    """A folder, made where it is missing, and in the end only kept where something has come into it.

    So what is refused leaves nothing behind, however late it is.

    Raises:
        OSError: it cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for each in missing:
            with contextlib.suppress(OSError):  # something is in it, or it is gone
                each.rmdir()


def empty_folder(folder: Path) -> None:
    """Remove all that is in a folder; the folder itself stays, since a process may hold it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the disk that a file or folder is to be moved to, which leaves nothing behind.

    Raises:
        StorageError: it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(folder_for_results(path.parent))
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=".translatekit-", dir=path.parent))
        except OSError as error:
            raise write_error(error, path) from None
        yield Path(name)


def check_writable(folder: Path) -> None:
    """See that files can be written to a folder, without making it where it is missing.

    Raises:
        OSError: they cannot.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextlib.contextmanager
def held(folder: Path, patience: float = 0.0) -> Iterator[bool]:
    """Hold a folder against other processes that would; the end of this process lets go of it, however it comes.

    Where the system or the file system knows no locks of folders, nothing is held.

    Args:
        folder: one that exists.
        patience: seconds to wait while another process holds it, such as one that was killed and whose children still
            end.

    Yields:
        False where another process holds it.
    """
    if fcntl is None:
        yield True
        return
    handle = os.open(folder, os.O_RDONLY)
    end = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                free = False
            except OSError:  # no locks there
                free = True
            if free or time.monotonic() >= end:
                break
            time.sleep(0.2)
        yield free
    finally:
        os.close(handle)
