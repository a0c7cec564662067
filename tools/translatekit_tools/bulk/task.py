"""One input on its way through the pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from translatekit.errors import TranslatekitError
from translatekit.inference.batching import Request
from translatekit.inference.predictor import Predictor
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.images import Decoded
from translatekit_tools.bulk.summary import Outcome, Result

if TYPE_CHECKING:
    from translatekit_tools.bulk.split import Parts
    from translatekit_tools.bulk.summary import VideoResult


@dataclass(slots=True)
class Task:
    """One input on its way; each stage takes what it needs and frees it.

    Those that an earlier run has done need no stage: many of them go through as one.
    """

    index: int
    job: Job
    outcome: Outcome | None = None
    reason: str = ""
    input_hash: str = ""
    data: bytes = b""
    predictor: Predictor | None = None
    max_batch: int = 1
    image: Decoded | None = None
    release: Callable[[], None] | None = None
    bytes_read: int = 0
    bytes_written: int = 0
    video: VideoResult | None = None
    parts: Parts | None = None
    also_skipped: list[Job] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """Say what became of it, and free what it holds."""
        self.outcome, self.reason = outcome, reason
        self.seconds = time.perf_counter() - self.started
        self.data, self.image = b"", None
        if self.release is not None:
            self.release()
            self.release = None
            self.job.manifest.unfinished.finish(self.name)
        elif outcome == "skipped" and self.attempts:
            self.job.manifest.unfinished.finish(self.name)

    @property
    def request(self) -> Request | None:
        """What the model is asked; None where it is not."""
        return None if self.image is None else self.image.request

    @property
    def name(self) -> str:
        """Its input's, in the notes of what was in progress; that of a file that was replaced is another."""
        return f"{self.job.input_name} {self.job.stamp}"

    def result(self, total: int) -> Result:
        """What its caller is told, once it is finished.

        Args:
            total: how many inputs there are; 0 where nobody knows.
        """
        assert self.outcome is not None
        return Result(
            source=self.job.shown_source,
            output=self.job.shown_output,
            outcome=self.outcome,
            reason=self.reason,
            total=total,
            bytes_read=self.bytes_read,
            bytes_written=self.bytes_written,
            video=self.video,
        )

    @property
    def attempts(self) -> int:
        """How many runs have ended abruptly while it was in progress."""
        attempts = self.job.manifest.unfinished.attempts
        return attempts[self.name] if attempts else 0


def guarded(stage: Callable[[Task], None]) -> Callable[[Task], Task]:
    """A stage that lets finished tasks pass, and turns a user's error into a failed task."""

    def run(task: Task) -> Task:
        if task.outcome is None:
            try:
                stage(task)
            except TranslatekitError as error:
                task.finish("failed", str(error))
            except MemoryError:
                task.finish("failed", "the image does not fit into memory: pass --tile or --size")
        return task

    return run


def ignore(*_: object, **__: object) -> None:
    """Where nobody wants to know."""
