"""Jobs through the pipelines: images side by side, other files one after the other, suspects last and alone."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain

from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.manifest import Manifest
from translatekit_tools.bulk.pipeline import THREADS, ImagePipeline
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.single import translation_of
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.summary import Progress
from translatekit_tools.bulk.task import Task, guarded
from translatekit_tools.bulk.unfinished import MAX_ATTEMPTS

_DEFERRED = 256
"""Files other than images that wait, at most, for the images of an endless list to be translated before them."""


class Runner:
    """Threads, and the pipelines that they work in. To be closed."""

    def __init__(self, session: Session, progress: Progress | None = None) -> None:
        self._session, self._progress = session, progress
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="translatekit")
        self._images = ImagePipeline(session, self._pool)
        self._manifests: dict[int, Manifest] = {}

    def close(self) -> None:
        """Finish what is being written, and drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for manifest in self._manifests.values():
            manifest.unfinished.close()

    def stats(self) -> Stats:
        """Where the time went so far."""
        return self._session.timer.stats(THREADS)

    def run(self, jobs: Iterable[Job]) -> Generator[Task, None, None]:
        """All jobs, finished: images, then videos and animations; then the alternatives of those that failed.

        Args:
            jobs: pulled as images are translated, so that they may be a stream without an end. Every `_DEFERRED`
                other files, those are translated before more is pulled.
        """
        following = iter(jobs)
        while True:
            of_frames: list[Job] = []
            retries: list[Job] = []
            alternatives: list[Job] = []
            images = self._of_images(following, of_frames, retries)
            with (
                closing(self._images.run(images)) as translated,
                closing(self._by_themselves(of_frames)) as videos,
                closing(self._one_by_one(retries)) as others,
            ):
                for task in chain(translated, videos, others):
                    alternatives += _next_alternatives(task)
                    yield task
            if alternatives:
                following = chain(alternatives, following)
            elif not of_frames and not retries:
                return

    def _of_images(self, jobs: Iterator[Job], of_frames: list[Job], retries: list[Job]) -> Iterator[Job]:
        """The jobs that are images; the others are put into the lists, until those are full."""
        while len(of_frames) + len(retries) < _DEFERRED and (job := next(jobs, None)) is not None:
            self._manifests[id(job.manifest)] = job.manifest
            if job.problem is None and translation_of(job) is not None:
                of_frames.append(job)
            elif Task(0, job).attempts:
                retries.append(job)
            else:
                yield job

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
            yield guarded(self._by_itself)(Task(index, job))

    def _by_itself(self, task: Task) -> None:
        """Translate a file that does not go through the stages as one image."""
        translate = translation_of(task.job)
        assert translate is not None
        translate(self._session, task, self._progress)


def _next_alternatives(task: Task) -> list[Job]:
    """What is to be done of those that would have the output of a task: the first where it failed, else none."""
    alternatives, task.job.alternatives = task.job.alternatives, []
    if task.outcome == "failed" and alternatives:
        alternatives[0].alternatives = alternatives[1:]
        return alternatives[:1]
    for job in alternatives:
        job.problem = (
            f"the output {job.output} is already that of {task.job.source}: "
            "rename one, or translate them apart with another -o, --suffix or --format (such as keep)"
        )
    return alternatives
