"""The folder that a preparation writes to: whole files only, and nothing that is somebody else's."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from translatekit.errors import DataError
from translatekit.storage import hash_bytes, hash_file, write_atomically
from translatekit_tools.journal import Journal

JOURNAL_NAME = ".translatekit-prepare.jsonl"

_JOURNALS = ".translatekit-prepare*.jsonl"  # those of a cluster's workers among them, one writer each

PART = "#"
"""Between the name of a source and that of its part, in the journal."""

Made = dict[str, bytes]
"""What a source becomes: the contents of files by their paths below the output folder."""


class Output:
    """A folder that is written to: whole files only, and never over an original or over what others wrote.

    A hidden journal in the folder says what each file was made from. A rerun leaves alone what is there already, and
    does again what was made with other options.

    Args:
        root: the folder; it is made when the first file is written.
        sources: the originals.
        force: replace what is there already, whoever wrote it.
        worker: the name of one of several processes that write to it at the same time; each has a journal of its own.

    Raises:
        DataError: it is a file, or a journal cannot be read.
    """

    def __init__(
        self, root: Path, sources: Iterable[Path], force: bool = False, worker: str | None = None
    ) -> None:
        self.root = root.expanduser()
        self.force = force
        self._originals = {os.path.realpath(path) for path in sources}
        if self.root.exists() and not self.root.is_dir():
            raise DataError(f"the output {root} is a file: name a folder with -o")
        name = JOURNAL_NAME if worker is None else _JOURNALS.replace("*", f"-{worker}")
        self._journal = Journal(self.root / name)
        self._made: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)  # source, made from, path: hash
        self._own: set[tuple[str, str]] = set()
        self._read_journals()

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, which reads the journals itself."""
        return type(self), (self.root, sorted(self._originals), self.force)

    def of_worker(self, worker: str) -> Output:
        """The same folder, for one of several processes that write to it at the same time."""
        return Output(self.root, map(Path, self._originals), self.force, worker)

    def _read_journals(self) -> None:
        for path in sorted(self.root.glob(_JOURNALS)):
            for record in Journal(path).records:
                try:
                    outputs = dict(record["outputs"])
                    self._made[record["source"]][record["made_from"]] = outputs
                except (KeyError, TypeError, ValueError):
                    continue
                self._own.update(outputs.items())

    def check(self, path: Path) -> None:
        """Find out whether a file may be written.

        Raises:
            DataError: it is an original, or is there, was not written here as it is, and `force` is not given.
        """
        if os.path.realpath(path) in self._originals:
            raise DataError(f"{path} would overwrite an original: choose another folder with -o")
        if os.path.lexists(path) and not self.force and not self._is_own(path):
            self._read_journals()  # of a worker that has died since
        if os.path.lexists(path) and not self.force and not self._is_own(path):
            raise DataError(
                f"{path} exists already: pass --force to replace it, or choose another folder with -o"
            )

    def done(self, source: str, made_from: str) -> list[Path] | None:
        """The files that an earlier run made of a source in the same way; None unless all are as it left them.

        None, too, where files are left that were made of it in another way.
        """
        ways = self._made.get(source, {})
        if self.force or made_from not in ways:
            return None
        outputs = ways[made_from]
        paths = {self.root / relative: digest for relative, digest in outputs.items()}
        if not all(path.is_file() and hash_file(path) == digest for path, digest in paths.items()):
            return None
        others = {relative for way in ways.values() for relative in way} - outputs.keys()
        return None if any(map(self._is_own, map(self.root.joinpath, others))) else list(paths)

    def parts_of(self, source: str) -> list[str]:
        """The parts of a source that earlier runs have made, in whatever way."""
        return [name for name in self._made if name.startswith(f"{source}{PART}")]

    def own_files(self, source: str) -> list[Path]:
        """The files that earlier runs made of a source, in whatever way, as far as they are as they left them."""
        outputs = {relative for way in self._made.get(source, {}).values() for relative in way}
        return [path for path in map(self.root.joinpath, sorted(outputs)) if self._is_own(path)]

    def commit(self, source: str, made_from: str, made: Made) -> list[Path]:
        """Write what a source became, all of it or nothing.

        The journal is told first: whatever the moment a run is killed, every file that is there is known.

        Raises:
            TranslatekitError: something may not or cannot be written.
        """
        paths = {self.root / relative: data for relative, data in made.items()}
        for path in paths:
            self.check(path)
        stale = [path for path in self.own_files(source) if path not in paths]
        self.refuse_mixture(stale)
        make_folder(self.root)
        for path in paths:
            make_folder(path.parent)
        outputs = {relative: hash_bytes(data) for relative, data in made.items()}
        try:
            self._journal.append({"source": source, "made_from": made_from, "outputs": outputs})
        except OSError as error:
            raise DataError(
                f"{self._journal.path} cannot be written ({error.strerror}): free some space, "
                "or choose another folder with -o"
            ) from None
        for path, data in paths.items():
            write_atomically(path, data)
        for path in stale:
            path.unlink(missing_ok=True)
        return list(paths)

    def refuse_mixture(self, stale: Sequence[Path]) -> None:
        """Refuse to write beside files that were made of the same source with other options, unless they are to go.

        Raises:
            DataError: there are such files, and `force` is not given.
        """
        if stale and not self.force:
            raise DataError(
                f"{stale[0]} was made of it with other options and would stay among the new files: "
                "pass --force to replace it, or choose another folder with -o"
            )

    def write(self, relative: str, data: bytes) -> tuple[Path, bool]:
        """Write one file; where it is there already with just these contents, it stays.

        Returns:
            Its path, and whether it is new.

        Raises:
            TranslatekitError: it may not or cannot be written.
        """
        path = self.root / relative
        if path.is_file() and read_bytes(path) == data and os.path.realpath(path) not in self._originals:
            return path, False
        return self.commit(relative, "", {relative: data})[0], True

    def _is_own(self, path: Path) -> bool:
        """Whether a file is one that was written here, as it was written."""
        return path.is_file() and (path.relative_to(self.root).as_posix(), hash_file(path)) in self._own


def origins(folder: Path) -> dict[Path, str]:
    """What each file that preparations wrote below a folder was made of, or cut out of, as their journals say."""
    found: dict[Path, str] = {}
    for path in sorted(folder.glob(_JOURNALS)):
        for record in Journal(path).records:
            with suppress(KeyError, TypeError):
                source = re.sub(f"{PART}(\\d+|y\\d+_x\\d+)$", "", record["source"])
                found |= {folder / relative: source for relative in record["outputs"]}
    return found


def refuse_inside(out: Path, place: Path) -> None:
    """Refuse an output folder among the inputs, where a second run would take its own outputs.

    Raises:
        DataError: it lies there.
    """
    here, there = (Path(os.path.realpath(path.expanduser())) for path in (out, place))
    if here.is_relative_to(there):
        raise DataError(
            f"the output folder {out} lies in {place}, whose images are read: choose one beside it"
        )


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        DataError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be made ({error.strerror}): choose another with -o"
        ) from None


def read_bytes(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check it and its permissions") from None
