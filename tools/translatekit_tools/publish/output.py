"""The folder that is published: made aside, and brought into place without touching what is not ours."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from translatekit import __version__
from translatekit.errors import OptionError
from translatekit.storage import folder_beside, hash_file, write_atomically, write_error

RECORD = ".translatekit-published.json"
"""Which files of a folder we have written, and their hashes."""


@contextlib.contextmanager
def new_folder(out: Path, kind: str, last: str, force: bool = False) -> Iterator[Path]:
    """A folder to write files into, which come to `out` when the context ends without an error.

    `out` may be new, or empty but for hidden files (as a fresh checkout is); or one that was published before, whose
    files are then replaced, and removed where they are no longer written. What else lies in it stays.

    Args:
        out: where the files go.
        kind: what is published.
        last: the name of the file that makes the others count, which comes last.
        force: add to a folder that holds other files, and overwrite those of the same names.

    Raises:
        OptionError: `out` is no folder, holds what is not ours, or ours was changed; nothing has been written.
        StorageError: the disk is full, or the folder cannot be written.
    """
    _check(out, kind, force)
    with folder_beside(out) as made:
        yield made
        try:
            _bring(made, out, kind, last, force)
        except OSError as error:
            raise write_error(error, out) from None


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def refuse_existing(out: Path, force: bool) -> None:
    """See that a file may be written.

    Raises:
        OptionError: it is there already, and is not to be overwritten.
    """
    if out.is_dir():
        raise OptionError(f"{out} is a folder: name a file with -o, such as {out / 'model.html'}")
    if out.exists() and not force:
        raise OptionError(
            f"{out} exists already and is not overwritten: pass --force, or choose another name with -o"
        )


def _check(out: Path, kind: str, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file: name a folder with -o")
    if not out.is_dir() or force:
        return
    if (out / RECORD).is_file():
        published = _read(out).get("kind")
        if published != kind:
            raise OptionError(
                f"{out} was published --as {published}, not --as {kind}: choose another folder with -o"
            )
        return
    foreign = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    if foreign:
        raise OptionError(
            f"{out} holds files that were not published, such as {foreign[0]}: choose another folder with -o, or pass "
            "--force to add to them"
        )


def _bring(made: Path, out: Path, kind: str, last: str, force: bool) -> None:
    known = {name: digest for name, digest in _read(out).get("files", {}).items() if _is_below(name)}
    new = {path.relative_to(made).as_posix(): hash_file(path) for path in made.rglob("*") if path.is_file()}
    for name, digest in new.items():
        there = out / name
        if not force and there.exists() and hash_file(there) not in (known.get(name), digest):
            raise OptionError(
                f"{there} is not as it was published: move it away, or pass --force to overwrite it"
            )
    record: dict[str, Any] = {"kind": kind, "version": __version__, "files": {**known, **new}}
    out.mkdir(exist_ok=True)
    # Until all are there, the record holds the old ones and the new ones: what a killed process leaves is known too.
    _write(out, record)
    for name in sorted(new, key=lambda name: name == last):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(out / name)
    for name in known.keys() - new.keys():
        if (out / name).is_file() and hash_file(out / name) == known[name]:
            (out / name).unlink()
            with contextlib.suppress(OSError):  # other files are in it
                (out / name).parent.rmdir()
    _write(out, {**record, "files": new})


def _read(out: Path) -> dict[str, Any]:
    try:
        content = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _is_below(name: str) -> bool:
    """Whether a name that a record holds is one of its folder's: who wrote the record is not known."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _write(out: Path, record: dict[str, Any]) -> None:
    write_atomically(out / RECORD, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
