"""What a folder's translations were made from, so that a rerun does only what is missing."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from translatekit.storage import hash_bytes, hash_file
from translatekit_tools.bulk.unfinished import Unfinished
from translatekit_tools.journal import Journal

MANIFEST_NAME = ".translatekit-manifest.jsonl"


def hash_options(options: dict[str, Any]) -> str:
    """BLAKE2b of options, 128 bits in hexadecimal."""
    return hash_bytes(json.dumps(options, sort_keys=True).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One output: a line of the manifest.

    Attributes:
        input, output: paths relative to the manifest's folder.
        input_hash, output_hash, model_hash, options_hash: what it was made from, and what it is.
        output_size: in bytes.
    """

    input: str
    input_hash: str
    output: str
    output_hash: str
    output_size: int
    model_hash: str
    options_hash: str


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


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]


class Manifest:
    """The manifest of an output folder: a JSON object a line, only ever appended to.

    An entry is added before its output gets its name: whatever the moment a run is killed, every output that
    is there is known. A torn line is ignored, and so is an entry whose output is missing or has changed.

    Attributes:
        folder: the output folder.
        unfinished: which inputs were in progress when an earlier run was killed.
    """

    def __init__(self, folder: Path, name: str = MANIFEST_NAME) -> None:
        """Read what earlier runs have left.

        Args:
            folder: of the outputs.
            name: of the file.
        """
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100  (resolve() would follow a link that is an output)
        self._journal = Journal(self.folder / name)
        self.unfinished = Unfinished(self.folder)
        self._entries: dict[str, list[Entry]] = defaultdict(list)
        for record in self._journal.records:
            try:
                entry = Entry(**record)
            except TypeError:
                continue
            self._entries[entry.output].append(entry)

    def relative(self, path: Path) -> str:
        """A path as entries name it: relative to the folder, with forward slashes."""
        try:
            return Path(os.path.relpath(path, self.folder)).as_posix()
        except ValueError:  # another drive
            return path.as_posix()

    def find(self, output: Path, output_hash: str) -> Entry | None:
        """The newest entry that says that this output, with these bytes, is ours."""
        for entry in reversed(self._entries.get(self.relative(output), [])):
            if entry.output_hash == output_hash:
                return entry
        return None

    def source_of(self, output: Path) -> Path | None:
        """The file that this output was made from, where the manifest knows it."""
        entries = self._entries.get(self.relative(output))
        return self.folder / entries[-1].input if entries else None

    def add(self, entry: Entry) -> None:
        """Append an entry.

        Raises:
            OSError: it cannot be written.
        """
        self._journal.append(asdict(entry))
