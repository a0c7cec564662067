"""What all parts of a run have done together: how much is there, what failed, and what nobody has come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from translatekit.errors import OptionError, TranslatekitError
from translatekit.model_file import find_model
from translatekit_tools.bulk.addresses import is_sequence
from translatekit_tools.bulk.find import Job, find_jobs
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.places import are_places, find_place_jobs
from translatekit_tools.bulk.reading import is_done, look, read
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.single import hash_video
from translatekit_tools.bulk.task import Task, ignore


@dataclass(slots=True, kw_only=True)
class Collected:
    """What became of all inputs, over all parts.

    Attributes:
        done: how many outputs are there, made from the inputs as they are, by the model and with the options.
        failed: inputs that could not be translated when they were tried last, with the reason.
        missing: inputs that nobody has come to, or whose output is gone.
    """

    done: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything is there."""
        return not self.failed and not self.missing

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "done": self.done,
            "failed": [{"path": path, "reason": reason} for path, reason in self.failed],
            "missing": self.missing,
        }


def collect(
    inputs: Sequence[str | Path],
    model: str | Path,
    out: str | Path | None,
    options: RunOptions,
    progress: Callable[[int], object] = ignore,
) -> Collected:
    """Compare what is there with what the same command without ``--shard`` would make.

    By stamps alone: no image is read but those whose stamps are not as the manifests have them.

    Args:
        inputs, model, out: as of `translatekit_tools.bulk.translate`.
        options: of the run.
        progress: told now and then of how many inputs were looked at.

    Raises:
        TranslatekitError: as of `translatekit_tools.bulk.translate`.
    """
    if options.frames is not None:
        raise OptionError("--collect looks for translated files, and --frames writes folders: leave it out")
    if options.shard is not None:
        raise OptionError(f"--collect sums up all parts: leave out --shard {options.shard}")
    options = replace(options, dry_run=True, force=False)
    session = Session(options, find_model(model, options.direction, best=options.best), None, ignore)
    collected = Collected()
    for number, job in enumerate(_jobs(inputs, out, options)):
        progress(number)
        _count(collected, job, session)
    return collected


def _jobs(inputs: Sequence[str | Path], out: str | Path | None, options: RunOptions) -> Iterable[Job]:
    if not are_places(inputs, out):
        return find_jobs(inputs, out, options)
    found = find_place_jobs(inputs, out, options)
    if not found.manifest.is_local:
        found.manifest.list_outputs()
    return found


def _count(collected: Collected, job: Job, session: Session) -> None:
    """One output, whichever of its inputs it was made from."""
    if any(_is_there(each, session) for each in _with_alternatives(job)):
        collected.done += 1
        return
    reason = job.problem or job.manifest.failure(job.output_name, session.made_with)
    if reason is None:
        collected.missing.append(str(job.shown_source))
    else:
        collected.failed.append((str(job.shown_source), reason))


def _with_alternatives(job: Job) -> Iterator[Job]:
    yield job
    yield from job.alternatives


def _is_there(job: Job, session: Session) -> bool:
    if job.problem is not None:
        return False
    try:
        if look(session, job):
            return True
        if job.origin is not None or job.target is not None or not job.output.exists():
            return False
        task = Task(0, job)
        if job.address is not None or is_sequence(job.source):  # which are no files
            task.input_hash, _ = hash_video(job, job.source)
            return is_done(session, task)
        read(session, task)
    except TranslatekitError as error:
        job.problem = str(error)
        return False
    return task.outcome == "skipped"
