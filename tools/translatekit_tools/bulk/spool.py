"""Objects of stores as files of this machine, while they are translated by themselves."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from translatekit.storage import atomic_file, hash_bytes, writable_cache
from translatekit_tools.bulk.find import Job, Stored


@contextlib.contextmanager
def at_hand(job: Job) -> Iterator[tuple[Path, Path]]:
    """A job's input and output as local paths: what is in a store is fetched first, and put there by `Session.commit`.

    Fetched files and unfinished segments stay in the cache folder until the work is done, so that a run on the same
    machine that was stopped goes on. Another version of the object has another folder.

    Raises:
        StorageError: the object cannot be fetched.
        OSError: there is no room for it.
    """
    if job.origin is None and job.target is None:
        yield job.source, job.output
        return
    name = hash_bytes("\0".join((job.input_name, job.stamp, job.shown_output_text)).encode())
    base = writable_cache("spool") or Path(tempfile.gettempdir(), "translatekit-spool")
    folder = base / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        source, output = job.source, job.output
        if job.origin is not None:
            source = folder / f"input{_extension(job.source)}"
            _fetch(job.origin, source)
        if job.target is not None:
            output = folder / f"output{_extension(job.output)}"
        yield source, output
        shutil.rmtree(folder, ignore_errors=True)
    except Exception:
        # Segments are gone on with; without any, there is nothing to keep.
        if not any(each.is_dir() for each in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _extension(path: Path) -> str:
    from translatekit.images import suffix_of

    return suffix_of(path) or path.suffix.lower()


def _fetch(origin: Stored, path: Path) -> None:
    if path.exists() and path.stat().st_size == origin.size:
        return
    with origin.place.open(origin.name) as stream, atomic_file(path) as file:
        shutil.copyfileobj(stream, file, 2**20)
