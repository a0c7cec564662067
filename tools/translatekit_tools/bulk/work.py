"""A model on one device and the bounded pipeline around it: what a shard, a device and a cluster's actor run alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from translatekit.errors import TranslatekitError
from translatekit.interfaces import Translator
from translatekit.model_file import find_model
from translatekit.storage import Item, open_sink, open_source
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.manifest import MANIFEST_NAME, Manifest
from translatekit_tools.bulk.naming import Names
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.places import Found, job_of, output_name
from translatekit_tools.bulk.runner import Runner
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.task import Task, ignore


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one input: small, and without pixels.

    Attributes:
        name: of the input, below its place.
        output: of the translation, below the place it goes to.
        outcome: ``skipped`` is what an earlier run has done.
        reason: one sentence, of a failed one.
        bytes_in, bytes_out: sizes of the files.
        seconds: from when it was read to when it was written, waiting for others included.
    """

    name: str
    output: str
    outcome: Literal["done", "skipped", "failed"]
    reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0


class Worker:
    """Translates what it is given, from one place to another. The model is loaded when an input needs it.

    Args:
        source: the folder or place that the inputs are below.
        sink: the folder or place that the outputs go to, under the same names.
        model: a model file, or a run's folder; or a loaded translator, whose outputs no later run recognizes.
        options: of the run; `device` takes the place of theirs.
        manifest_name: of the file in the output folder that this worker alone appends to.
        device: that the model runs on.

    Raises:
        TranslatekitError: a place or the model does not exist.
    """

    def __init__(
        self,
        source: str,
        sink: str,
        model: str | Path | Translator,
        options: RunOptions,
        *,
        manifest_name: str = MANIFEST_NAME,
        device: str = "auto",
    ) -> None:
        options = replace(options, device=device)
        self._source, self._names = open_source(source), Names(options)
        place = open_sink(sink)
        self._manifest = Manifest(place.path or place, manifest_name)
        if isinstance(model, str | Path):
            session = Session(options, find_model(model, options.direction, best=options.best), None, ignore)
        else:
            session = Session(options, None, model, ignore)
        self._runner = Runner(session)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is being written, and let go of the threads."""
        self._runner.close()

    def translate(self, items: Iterable[Item]) -> Iterator[Row]:
        """Translate objects of the source, pulled as there is room for them.

        Args:
            items: of the source; may be called again and again with more.

        Returns:
            A row each, in the order of the items but for videos and other files that are translated by themselves, and
            those that an earlier run may have died of: these come after the images.
        """
        with closing(self._runner.run(map(self._job, items))) as tasks:
            for task in tasks:
                yield self._row(task)

    def stats(self) -> Stats:
        """Where the time went so far."""
        return self._runner.stats()

    def _job(self, item: Item) -> Job:
        try:
            found = Found(item, output_name(self._names, self._source, item.name))
        except TranslatekitError as error:
            found = Found(item, item.name, str(error))
        return job_of(self._source, found, self._manifest)

    def _row(self, task: Task) -> Row:
        assert task.outcome is not None
        job = task.job
        root = self._source.path
        return Row(
            name=str(job.source) if root is None else job.source.relative_to(root).as_posix(),
            output=job.output_name,
            outcome="done" if task.outcome == "translated" else task.outcome,
            reason=task.reason,
            bytes_in=task.bytes_read,
            bytes_out=task.bytes_written,
            seconds=task.seconds,
        )
