"""Jobs through the pipelines: images side by side, other files one after the other, suspects last and alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain

from translatekit.errors import TranslatekitError
from translatekit.inference.stages import ordered_map
from translatekit_tools.bulk.find import Job, clash
from translatekit_tools.bulk.manifest import Claim, Manifest
from translatekit_tools.bulk.pipeline import THREADS, ImagePipeline
from translatekit_tools.bulk.reading import claim_of, look
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.single import fetch, kind_of_job, translate_single
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.summary import Progress
from translatekit_tools.bulk.task import Task, guarded
from translatekit_tools.bulk.unfinished import MAX_ATTEMPTS

_DEFERRED = 256
"""Files other than images that wait, at most, for the images of an endless list to be translated before them."""

_TOGETHER = 500
"""Inputs that an earlier run has done, and that go through the stages as one."""

_FIRST_BLOCK, _LARGEST_BLOCK = 8, 512
"""Objects that are claimed at once: work starts with the first few."""


class Runner:
    """Threads, and the pipelines that they work in. To be closed.

    Args:
        session: what all files share.
        progress: told how far a long file is.
        largest_block: of objects that are claimed at once.
    """

    def __init__(
        self, session: Session, progress: Progress | None = None, *, largest_block: int = _LARGEST_BLOCK
    ) -> None:
        self._session, self._progress = session, progress
        self._largest_block = largest_block
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="translatekit")
        self._images = ImagePipeline(session, self._pool)
        self._manifests: dict[int, Manifest] = {}

    def close(self) -> None:
        """Finish what is being written, and drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for manifest in self._manifests.values():
            manifest.close()

    def stats(self) -> Stats:
        """Where the time went so far."""
        return self._session.timer.stats(THREADS)

    def run(self, jobs: Iterable[Job]) -> Generator[Task, None, None]:
        """All jobs, finished: images, then videos and animations; then the alternatives of those that failed.

        Args:
            jobs: pulled as images are translated, so that they may be a stream without an end. Every `_DEFERRED`
                other files, those are translated before more is pulled.
        """
        looked = self._looked(jobs)
        while True:
            singles: list[Job] = []
            retries: list[Job] = []
            alternatives: list[Job] = []
            images = self._images_of(looked, singles, retries)
            with (
                closing(self._images.run(images)) as translated,
                closing(self._by_themselves(singles)) as others,
                closing(self._one_by_one(retries)) as tried_again,
            ):
                for task in chain(translated, others, tried_again):
                    if task.outcome == "failed":
                        self._session.record_failure(task)
                    alternatives += _next_alternatives(task)
                    yield task
                    for job in task.also_skipped:
                        alternatives += _next_alternatives(also := Task(0, job, outcome="skipped"))
                        yield also
            if alternatives:
                looked = chain(self._looked(alternatives), looked)
            elif not singles and not retries:
                return

    def _images_of(
        self, looked: Iterator[tuple[Job, bool]], singles: list[Job], retries: list[Job]
    ) -> Iterator[Job | list[Job]]:
        """The images, and what is done; all else is put into the lists, until those are full."""
        done: list[Job] = []
        while len(singles) + len(retries) < _DEFERRED and (found := next(looked, None)) is not None:
            job, is_current = found
            if is_current:
                if (task := Task(0, job)).attempts:
                    task.finish("skipped")
                done.append(job)
                if len(done) < _TOGETHER:
                    continue
            if done:
                yield done
                done = []
            if is_current:
                continue
            if job.problem is None and ((kind := kind_of_job(job)) is None or kind.way != "image"):
                singles.append(job)
            elif Task(0, job).attempts:
                retries.append(job)
            else:
                self._warn_of_dropped_frames(job)
                yield job
        if done:
            yield done

    def _warn_of_dropped_frames(self, job: Job) -> None:
        if job.kind is not None and job.kind.drops_frames:
            self._session.warn_once(
                "frames",
                f"only the first frame or page of {job.shown_source} is translated, and of others like it, since the "
                "output's format holds one: another --format, or another extension of -o, keeps all",
            )

    def _looked(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, bool]]:
        """The jobs, and whether each is known to be done; objects of stores are claimed and fetched."""
        stored: list[Job] = []
        limit = _FIRST_BLOCK
        for job in jobs:
            self._manifests[id(job.manifest)] = job.manifest
            if job.origin is None and job.target is None:
                yield job, look(self._session, job)
                continue
            stored.append(job)
            if len(stored) == limit:
                yield from self._looked_stored(stored)
                stored, limit = [], min(2 * limit, self._largest_block)
        if stored:
            yield from self._looked_stored(stored)

    def _looked_stored(self, jobs: list[Job]) -> Iterator[tuple[Job, bool]]:
        """A block: what is to be written of it is claimed at once."""
        known = all(job.manifest.is_listed for job in jobs)
        are_current = list(map(self._look, jobs) if known else self._pool.map(self._look, jobs))
        if all(are_current):
            yield from zip(jobs, are_current, strict=True)
            return
        claims: dict[int, list[Claim]] = defaultdict(list)
        for job, is_current in zip(jobs, are_current, strict=True):
            if is_current or job.problem is not None or job.target is None or self._session.options.dry_run:
                continue
            if claim := claim_of(self._session, job):
                claims[id(job.manifest)].append(claim)
        for manifest, some in claims.items():
            self._manifests[manifest].claim(some)
        yield from ordered_map(self._fetched, zip(jobs, are_current, strict=True), self._pool, THREADS)

    def _look(self, job: Job) -> bool:
        try:
            return look(self._session, job)
        except TranslatekitError as error:
            job.problem = str(error)
            return False

    def _fetched(self, found: tuple[Job, bool]) -> tuple[Job, bool]:
        job, is_current = found
        if not is_current and job.problem is None and job.origin is not None:
            try:
                fetch(self._session, job)
            except TranslatekitError as error:
                job.problem = str(error)
        return found

    def _one_by_one(self, jobs: Sequence[Job]) -> Generator[Task, None, None]:
        """Those that an earlier run may have died of: last, and alone, the likeliest at the end."""
        for attempts, job in sorted(((Task(0, job).attempts, job) for job in jobs), key=lambda pair: pair[0]):
            if attempts >= MAX_ATTEMPTS and not self._session.options.force:
                job.problem = (
                    f"{attempts} runs have ended abruptly while it was in progress, as those do that are killed for "
                    "memory: replace or remove it, or pass --force to try again"
                )
            with closing(self._images.run([job])) as tasks:
                yield from tasks

    def _by_themselves(self, jobs: Sequence[Job]) -> Generator[Task, None, None]:
        """All videos, animations and other files that are translated by themselves, one after the other, finished."""
        for index, job in enumerate(jobs):
            yield guarded(partial(translate_single, self._session, progress=self._progress))(Task(index, job))


def _next_alternatives(task: Task) -> list[Job]:
    """What is to be done of those that would have the output of a task: the first where it failed, else none."""
    alternatives, task.job.alternatives = task.job.alternatives, []
    if task.outcome == "failed" and alternatives:
        alternatives[0].alternatives = alternatives[1:]
        return alternatives[:1]
    for job in alternatives:
        job.problem = clash(job.output, task.job.source)
    return alternatives
