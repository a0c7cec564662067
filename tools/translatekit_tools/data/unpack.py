"""Unpacking untrusted archives: nothing leaves the folder, nothing but files and folders comes out of them."""

from __future__ import annotations

import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from translatekit.errors import DataError

MAX_BYTES = 50 * 2**30
"""What an archive may unpack to, unless another limit is given."""
MAX_FILES = 1_000_000

_CHUNK = 1 << 20


class ArchiveError(DataError):
    """An archive is damaged, or holds what it should not."""


def unpack(archive: Path, folder: Path, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> int:
    """Unpack a tar (gzip, bzip2, xz) or zip archive into an empty folder.

    Permissions and owners are not taken over. The limits hold for what is really written, whatever headers say.

    Args:
        archive: the file.
        folder: is made.
        max_bytes: of all files together.
        max_files: and folders.

    Returns:
        How many files there were.

    Raises:
        ArchiveError: it is damaged, encrypted or no archive; a name leads out of the folder; it holds links or
            devices; or it exceeds the limits. What was unpacked before is left there.
    """
    budget = _Budget(archive, max_bytes, max_files)
    with _explained(archive):
        folder.mkdir(parents=True, exist_ok=True)
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return _unpack_zip(opened, folder, budget)
        with tarfile.open(archive, "r:*") as tar:
            return _unpack_tar(tar, folder, budget)


class _Budget:
    def __init__(self, archive: Path, max_bytes: int, max_files: int) -> None:
        self.archive, self.bytes, self.files = archive, max_bytes, max_files

    def file(self) -> None:
        self.files -= 1
        if self.files < 0:
            raise ArchiveError(f"{self.archive} holds too many files: it is not the data set; remove it")

    def write(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise ArchiveError(
                f"{self.archive} unpacks to more than a data set of its kind may have: it is not that; remove it"
            )


def _unpack_tar(tar: tarfile.TarFile, folder: Path, budget: _Budget) -> int:
    count = 0
    for member in tar:
        budget.file()
        target = _inside(folder, member.name, budget.archive)
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        elif member.isreg():
            source = tar.extractfile(member)
            assert source is not None
            with source:
                _write(source, target, budget)
            count += 1
        else:
            raise _refused(budget.archive, member.name)
    return count


def _unpack_zip(opened: zipfile.ZipFile, folder: Path, budget: _Budget) -> int:
    count = 0
    for member in opened.infolist():
        budget.file()
        target = _inside(folder, member.filename, budget.archive)
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(budget.archive, member.filename)
        if member.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        with opened.open(member) as source:
            _write(source, target, budget)
        count += 1
    return count


def _write(source: IO[bytes], target: Path, budget: _Budget) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:  # a name that comes twice is no honest archive's
        while chunk := source.read(_CHUNK):
            budget.write(len(chunk))
            file.write(chunk)


def _inside(folder: Path, name: str, archive: Path) -> Path:
    """Where a member goes; backslashes and drives count as what Windows makes of them."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise ArchiveError(
            f"{archive} would write outside of its folder, to {name!r}: do not trust it; remove it"
        )
    return folder.joinpath(*path.parts)


def _refused(archive: Path, name: str) -> ArchiveError:
    return ArchiveError(
        f"{archive} holds {name!r}, which is a link or a device and no file: do not trust it; remove it"
    )


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    damaged = (
        tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError,
        NotImplementedError, ValueError, RuntimeError,
    )  # fmt: skip
    try:
        yield
    except FileExistsError as error:
        raise ArchiveError(
            f"{archive} holds {error.filename!r} twice: it is damaged; download it again"
        ) from None
    except damaged as error:
        raise ArchiveError(
            f"{archive} cannot be unpacked ({error}): it is damaged, encrypted or no archive; remove it and try again"
        ) from None
    except OSError as error:
        raise ArchiveError(
            f"{archive} cannot be unpacked ({error.strerror or error}): free some space, or choose another folder"
        ) from None
