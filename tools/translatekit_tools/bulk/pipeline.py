"""The pipeline that translates images: read -> decode -> batch by shape -> translate -> encode -> write."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from translatekit.errors import TranslatekitError
from translatekit.images import suffix_of
from translatekit.inference.batching import by_shape, translate_batches
from translatekit.inference.stages import Pause, background, in_order, ordered_map
from translatekit.storage import hash_bytes, temporary_path, write_atomically, write_error
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.images import decode, encode
from translatekit_tools.bulk.manifest import stamp_of
from translatekit_tools.bulk.memory import MemoryBudget
from translatekit_tools.bulk.reading import read
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.task import Task, guarded

THREADS = min(8, (os.cpu_count() or 1) + 2)
"""That read, decode, encode and write: more than cores, since some wait for the disk."""

_AHEAD = 2 * THREADS  # length of each queue between stages
_READY = 2  # decoded batches that wait for the translator


class ImagePipeline:
    """The stages of images that go through the model as one each."""

    def __init__(self, session: Session, pool: ThreadPoolExecutor) -> None:
        self._session, self._pool = session, pool
        self._timer = session.timer

    def run(self, jobs: Iterable[Job | list[Job]]) -> Generator[Task, None, None]:
        """All jobs, finished, in order.

        Args:
            jobs: lists of those that an earlier run has done go through as one task each.
        """
        start = (_task(index, each) for index, each in enumerate(jobs))
        found = ordered_map(self._stage("read", partial(read, self._session)), start, self._pool, _AHEAD)
        if self._session.options.dry_run:
            yield from _without_translation(found)
            return
        budget = MemoryBudget()
        decoded = ordered_map(
            self._stage("decode", self._decode), self._admitted(found, budget), self._pool, _AHEAD
        )
        batches = by_shape(decoded, window=_AHEAD + 2 * (self._session.options.batch_size or 8))
        # Threads of their own: the model waits neither for a file to be flushed nor, as long as a batch is
        # ready, for one to be decoded.
        with (
            closing(background(batches, _READY)) as ready,
            closing(
                background(translate_batches(self._timer.waiting(ready, "wait"), self._timer.stage), _AHEAD)
            ) as translated,
            closing(budget),
        ):
            yield from in_order(ordered_map(guarded(self._write), translated, self._pool, _AHEAD))

    def _stage(self, name: str, stage: Callable[[Task], None]) -> Callable[[Task], Task]:
        def timed(task: Task) -> None:
            with self._timer.stage(name):
                stage(task)

        return guarded(timed)

    def _admitted(self, tasks: Iterable[Task], budget: MemoryBudget) -> Iterator[Task | Pause]:
        """The tasks, each when there is memory for it; before the first that needs the model, that is loaded."""
        for task in tasks:
            if task.outcome is None:
                yield from self._admit(task, budget)
            yield task

    def _admit(self, task: Task, budget: MemoryBudget) -> Iterator[Pause]:
        planner = self._session.planner
        height, width, image_bytes = self._session.extent(task)
        if planner.must_measure(height, width):
            yield Pause()
            budget.wait_until_idle()
        try:
            max_batch = self._session.predictor.batch_size(height, width)
            task.predictor, task.max_batch = planner.plan(
                height, width, image_bytes, max_batch, share=0.5 ** max(0, task.attempts - 1)
            )
        except TranslatekitError as error:
            task.finish("failed", str(error))
            return
        if task.predictor is not self._session.predictor:
            self._session.warn_once(
                "tiles", f"{task.job.shown_source}: {planner.tiling_note(height, width, task.predictor)}"
            )
        if not budget.fits(image_bytes, planner.limit // 2):
            yield Pause()
        if task.attempts:
            self._session.say(
                f"{task.job.shown_source}: an earlier run ended abruptly while it was in progress: "
                "it is translated after the others, by itself"
            )
        task.release = budget.acquire(image_bytes, planner.limit // 2)
        task.job.manifest.unfinished.start(task.name)

    def _decode(self, task: Task) -> None:
        """From the file's bytes to what the model is asked."""
        assert task.predictor is not None
        task.image = self._session.told(decode(task.job.source, task.data, task.predictor, task.max_batch))
        task.data = b""

    def _write(self, task: Task) -> None:
        """Encode and write, whole or not at all."""
        assert task.image is not None
        job = task.job
        options = self._session.options
        with self._timer.stage("encode"):
            data = encode(task.image, suffix_of(job.output), options.quality, options.compression)
        with self._timer.stage("write"):
            if job.target is None:
                self._write_file(task, data)
            else:
                made = job.manifest.sink.commit(job.target.name, data)
                self._session.record(task, hash_bytes(data), len(data), made.stamp)
        task.finish("translated")

    def _write_file(self, task: Task, data: bytes) -> None:
        output = task.job.output

        def record() -> None:
            self._session.record(task, hash_bytes(data), len(data), stamp_of(temporary_path(output)))

        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(output, data, before_rename=record)
        except OSError as error:
            raise write_error(error, output) from None


def _task(index: int, jobs: Job | list[Job]) -> Task:
    if isinstance(jobs, Job):
        return Task(index, jobs)
    return Task(index, jobs[0], outcome="skipped", also_skipped=jobs[1:])


def _without_translation(tasks: Iterable[Task]) -> Iterator[Task]:
    """Finish what a dry run does not go on with."""
    for task in tasks:
        if task.outcome is None:
            task.finish("translated")
        yield task
