"""Reading an input, and telling whether its translation is there."""

from __future__ import annotations

import stat
from dataclasses import replace

from translatekit.errors import DataError
from translatekit.storage import hash_bytes
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.index import digest
from translatekit_tools.bulk.manifest import Claim, Entry, hash_path, size_of, stamp_of
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.task import Task

SMALL_FILE = 2**25
"""Bytes; files up to this are read ahead."""


def look(session: Session, job: Job) -> bool:
    """Whether the translation is there, as far as the stamps of input and output tell: neither is read.

    Raises:
        StorageError: a store cannot be asked.
    """
    if job.problem is not None or job.frames is not None or job.address is not None or job.to_standard_output:
        return False
    manifest, options = job.manifest, session.options
    job.stamp = stamp_of(job.source) if job.origin is None else job.origin.stamp
    if job.target is None:
        if options.force or options.verify:
            return False
        name = job.output_name
        job.state = manifest.output_state(name)
        return manifest.is_current(name, job.stamp, job.state, session.made_with)
    job.state = manifest.output_state(job.target.name)
    manifest.settle(job.target.name)
    if options.force or options.verify:
        return False
    if manifest.is_current(job.target.name, job.stamp, job.state, session.made_with):
        return True
    if not manifest.is_made(job.target.name, job.stamp, job.state, session.made_with):
        return False
    made = manifest.sink.stat(job.target.name)
    if made is None or digest(made.stamp) != job.state:
        return False
    if not options.dry_run:
        manifest.add(
            Entry(
                input=job.input_name,
                input_hash="",  # nobody has told, and reading it again would cost more than it is worth
                output=job.target.name,
                output_hash="",
                output_size=made.size or 0,
                model_hash=session.model_hash,
                options_hash=session.options_hash,
                stamp=job.stamp,
                output_stamp=made.stamp,
            )
        )
    return True


def claim_of(session: Session, job: Job) -> Claim | None:
    """What is claimed before an output is written into a store; None, and the job has a problem, where it must not be.

    Raises:
        StorageError: the store cannot be asked.
    """
    try:
        if not session.options.force:
            _entry_of_stored(job)
    except DataError as error:
        job.problem = str(error)
        return None
    return Claim(
        output=job.output_name,
        stamp=job.stamp,
        model_hash=session.model_hash,
        options_hash=session.options_hash,
        before=job.state,
    )


def read(session: Session, task: Task) -> None:
    """Read the file, and skip it if its translation is there."""
    job = task.job
    if job.problem is not None:
        raise DataError(job.problem)
    data = job.data
    try:
        if job.origin is not None:
            if session.options.dry_run:  # whose contents would be the same is read by nobody
                _entry_of_file(job) if job.target is None else _entry_of_stored(job)
                return
            if not data:
                raise DataError("the file is empty: replace or remove it")
            task.input_hash, task.bytes_read = hash_bytes(data), len(data)
            job.data = b""
        else:
            status = job.source.stat()
            # Decoded from where it is, when its turn comes.
            if status.st_size > SMALL_FILE or stat.S_ISDIR(status.st_mode):
                task.input_hash, task.bytes_read = hash_path(job.source), size_of(job.source)
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
    """Whether the output is there, made from this input by this model with these options, by what was read of it.

    Raises:
        DataError: something else is there.
    """
    job = task.job
    if session.options.force:
        return False
    entry = _entry_of_stored(job) if job.target is not None else _entry_of_file(job)
    if entry is None:
        return False
    source_hashes = (entry.input_hash, entry.model_hash, entry.options_hash)
    known = bool(session.model_hash and task.input_hash)
    if not known or source_hashes != (task.input_hash, session.model_hash, session.options_hash):
        return False
    if not session.options.dry_run:
        made = entry.output_stamp if job.target is not None else stamp_of(job.output)
        if job.stamp and (entry.stamp, entry.output_stamp) != (job.stamp, made):
            # The next run need not read it.
            job.manifest.add(replace(entry, stamp=job.stamp, output_stamp=made))
    return True


def _entry_of_file(job: Job) -> Entry | None:
    """The entry of the output that is there; None where there is no output."""
    output = job.output
    if not output.exists():
        return None
    if output.is_file() or job.source.is_dir():
        output_hash = hash_path(output)
        entry = job.manifest.find(output, output_hash)
        if entry is None:  # another writer may have written it meanwhile
            job.manifest.refresh()
            entry = job.manifest.find(output, output_hash)
        if entry is not None:
            return entry
    raise DataError(
        f"{output} exists and is not what an earlier run wrote there: "
        "pass --force to overwrite it, or choose another name with -o or --suffix"
    )


def _entry_of_stored(job: Job) -> Entry | None:
    """The entry of the output that is in a store; None where there is none, or one of which only a claim is known."""
    assert job.target is not None
    if not job.state:
        return None
    for refreshes in (False, True):
        if refreshes:
            job.manifest.refresh()
        for entry in job.manifest.entries(job.target.name):
            if entry.output_stamp and digest(entry.output_stamp) == job.state:
                return entry
        if job.manifest.is_claimed(job.target.name, job.state):
            return None
    raise DataError(
        f"{job.target.uri} exists and is not what an earlier run wrote there: "
        "pass --force to overwrite it, or choose another place with -o or --suffix"
    )
