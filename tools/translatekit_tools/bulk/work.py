"""A model on one device and the bounded pipeline around it: what a shard, a device and a cluster's actor run alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Literal

from translatekit.errors import TranslatekitError
from translatekit.interfaces import Translator
from translatekit.model_file import find_model
from translatekit.storage import Item, open_sink, open_source
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.links import OutputFolders
from translatekit_tools.bulk.manifest import MANIFEST_NAME, Manifest
from translatekit_tools.bulk.naming import Names
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.places import Found, job_of, output_name
from translatekit_tools.bulk.runner import Runner
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.split import Made, Part, Parts, Split
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.summary import Result, VideoResult
from translatekit_tools.bulk.task import Task


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
        remarks: what the user should know.
        parts: of a video that others will make, and whose outcome is ``split``.
        video: what became of a video or an animation.
    """

    name: str
    output: str
    outcome: Literal["done", "skipped", "failed", "split"]
    reason: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
    parts: Parts | None = None
    video: VideoResult | None = None


class Worker:
    """Translates what it is given, from one place to another. The model is loaded when an input needs it.

    Args:
        source: the folder or place that the inputs are below.
        sink: the folder or place that the outputs go to, under the same names.
        model: a model file, or a run's folder; or a loaded translator, whose outputs no later run recognizes.
        options: of the run; `device` takes the place of theirs.
        manifest_name: of the file in the output folder that this worker alone appends to.
        device: that the model runs on.
        workers: how many there are, among which long videos are split.

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
        workers: int = 1,
    ) -> None:
        options = replace(options, device=device)
        self._source, self._names = open_source(source), Names(options)
        place = open_sink(sink)
        self._manifest = Manifest(place.path or place, manifest_name)
        self._folders = OutputFolders(self._manifest)
        if isinstance(model, str | Path):
            model_file, translator = find_model(model, options.direction, best=options.best), None
        else:
            model_file, translator = None, model
        self._told = _Told()
        self._session = Session(options, model_file, translator, self._told.say)
        self._session.workers = workers
        self._runner = Runner(self._session, self._told)

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

    def make(self, part: Part) -> Made:
        """Make a part of a video that was split."""
        from translatekit_tools.bulk.video.parts import make
        from translatekit_tools.bulk.video.reader import MisplacedError

        try:
            make(self._session, part, self._source, self._manifest.sink, self._told.say)
        except TranslatekitError as error:
            return Made(part, str(error), isinstance(error, MisplacedError), self._told.taken())
        return Made(part, remarks=self._told.taken())

    def join(self, split: Split) -> Row:
        """Make a video of its parts, which are all there."""
        return self._alone(split, split)

    def translate_whole(self, split: Split) -> Row:
        """Translate a video that cannot be split after all."""
        row, sink = self._alone(split, None), self._manifest.sink
        for item in list(sink.list(f"{split.folder}/")):
            sink.delete(item.name)
        return row

    def _alone(self, split: Split, joined: Split | None) -> Row:
        job = self._job(split.item)
        job.split, job.is_whole = joined, True
        with closing(self._runner.run([job])) as tasks:
            (row,) = map(self._row, tasks)
        return row

    def stats(self) -> Stats:
        """Where the time went so far."""
        return self._runner.stats()

    def _job(self, item: Item) -> Job:
        try:
            found = Found(item, output_name(self._names, self._source, item.name))
        except TranslatekitError as error:
            found = Found(item, item.name, str(error))
        return job_of(self._source, found, self._manifest, self._folders)

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
            remarks=self._told.taken(),
            parts=task.parts,
            video=task.video,
        )


class _Told:
    """Keeps what the user should know until a row takes it along."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._lock = Lock()

    def __call__(self, result: Result) -> None:
        """Rows tell of results."""

    def say(self, text: str) -> None:
        """Keep a sentence."""
        with self._lock:
            self._said.append(text)

    def taken(self) -> tuple[str, ...]:
        """All that was kept, once."""
        with self._lock:
            said, self._said = tuple(self._said), []
        return said
