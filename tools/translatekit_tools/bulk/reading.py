"""Reading an input, and telling whether its translation is there."""

from __future__ import annotations

from translatekit.errors import DataError
from translatekit.storage import hash_bytes
from translatekit_tools.bulk.manifest import hash_path, size_of
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.task import Task

_SMALL_FILE = 2**25  # bytes; files up to this are read ahead


def read(session: Session, task: Task) -> None:
    """Read the file, and skip it if its translation is there."""
    job = task.job
    if job.problem is not None:
        raise DataError(job.problem)
    data = b""
    try:
        task.bytes_read = size_of(job.source)
        # Decoded from where it is, when its turn comes.
        if task.bytes_read > _SMALL_FILE or job.source.is_dir():
            task.input_hash = hash_path(job.source)
        else:
            data = job.source.read_bytes()
            task.input_hash, task.bytes_read = hash_bytes(data), len(data)
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror}): check it and its permissions") from None
    if is_done(session, task):
        task.finish("skipped")
    elif not session.options.dry_run:
        task.data = data


def is_done(session: Session, task: Task) -> bool:
    """Whether the output is there, made from this input by this model with these options.

    Raises:
        DataError: something else is there.
    """
    job, output = task.job, task.job.output
    if session.options.force or not output.exists():
        return False
    ours = output.is_file() or job.source.is_dir()
    entry = job.manifest.find(output, hash_path(output)) if ours else None
    if entry is None:
        raise DataError(
            f"{output} exists and is not what an earlier run wrote there: "
            "pass --force to overwrite it, or choose another name with -o or --suffix"
        )
    source_hashes = (entry.input_hash, entry.model_hash, entry.options_hash)
    known = bool(session.model_hash and task.input_hash)
    return known and source_hashes == (task.input_hash, session.model_hash, session.options_hash)
