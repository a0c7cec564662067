"""The lines of all journals of a kind that lie in one place, each with where it is."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from translatekit.errors import DataError
from translatekit.storage import Sink

_OFFSET_BITS = 44  # of a place: 16 TiB of a file, and a million files


class Records:
    """Journals whose names begin alike. Local ones are read where they are; others are copied to a temporary file.

    Args:
        place: what they lie in.
        stem: what their names begin with; they end in ``.jsonl``.
    """

    def __init__(self, place: Sink, stem: str) -> None:
        self._place, self._stem = place, stem
        self._paths: list[Path] = []
        self._read_to: dict[str, int] = {}  # bytes of a local file; of a store's, 0
        self._copy: IO[bytes] | None = None

    def new(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Records that were appended since they were asked for last, and the place of each.

        Raises:
            TranslatekitError: one of the files is there and cannot be read.
        """
        if self._place.path is not None:
            yield from self._new_local(self._place.path)
        else:
            yield from self._new_stored()

    def at(self, place: int) -> dict[str, Any]:
        """The record at a place."""
        number, offset = place >> _OFFSET_BITS, place & (1 << _OFFSET_BITS) - 1
        with self._paths[number].open("rb") as file:
            file.seek(offset)
            record: dict[str, Any] = json.loads(file.readline())
        return record

    def _new_local(self, folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        try:
            found = sorted(folder.glob(f"{self._stem}*.jsonl"))
        except OSError:
            found = []
        for path in found:
            if path.name not in self._read_to:
                self._read_to[path.name] = 0
                self._paths.append(path)
            number = self._paths.index(path)
            try:
                if path.stat().st_size > self._read_to[path.name]:
                    with path.open("rb") as file:
                        yield from self._of_file(file, number, self._read_to[path.name])
                        self._read_to[path.name] = self._end
            except OSError as error:
                raise DataError(
                    f"{path} cannot be read ({error.strerror}): mend or delete it, or choose another folder with -o"
                ) from None

    def _new_stored(self) -> Iterator[tuple[int, dict[str, Any]]]:
        segments = [item.name for item in self._place.list(self._stem) if item.name not in self._read_to]
        segments = [name for name in segments if name.endswith(".jsonl")]
        if not segments:
            return
        if self._copy is None:
            self._copy = tempfile.NamedTemporaryFile(prefix="translatekit-")  # noqa: SIM115 (as long as the process)
            self._paths.append(Path(self._copy.name))
        start = self._copy.seek(0, 2)
        for name in sorted(segments, key=_natural):
            self._read_to[name] = 0
            data = self._place.read(name)
            self._copy.write(data if data.endswith(b"\n") else data + b"\n")
        self._copy.flush()
        with self._paths[0].open("rb") as file:
            yield from self._of_file(file, 0, start)

    def _of_file(self, file: IO[bytes], number: int, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """From an offset on; where a line is cut off at the end, it is read again when there is more."""
        file.seek(start)
        self._end = start
        for line in file:
            offset = self._end
            try:
                record = json.loads(line.decode())  # which spares it a look at the encoding
            except ValueError:
                if not line.endswith(b"\n"):
                    return
                record = None
            self._end += len(line)
            if isinstance(record, dict):
                yield number << _OFFSET_BITS | offset, record


def _natural(name: str) -> list[str | int]:
    """Numbers by their size: segment 10000 comes after 9999."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
