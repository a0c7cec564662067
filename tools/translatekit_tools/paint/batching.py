"""One model for many clients: images of one shape that wait together are translated together."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from translatekit.inference.batching import Request, translate_batches
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import Translator


@dataclass(frozen=True, slots=True)
class Translated:
    """What became of one image.

    Attributes:
        pixels: (H, W, C) of the model's output, as large as what came in.
        queue_seconds: seconds until the model began.
        model_seconds: seconds of the model, for the whole batch.
        batch: how many images it was translated with, itself included.
    """

    pixels: np.ndarray
    queue_seconds: float
    model_seconds: float
    batch: int


@dataclass(slots=True, eq=False)
class _Job:
    request: Request
    future: asyncio.Future[Translated]
    since: float = field(default_factory=time.perf_counter)

    @property
    def shape(self) -> tuple[object, ...]:
        """What those of one batch have in common: size, channels and dtype."""
        pixels = self.request.fitted.pixels
        return (*pixels.shape, pixels.dtype.str)


class Batcher:
    """Runs a model in a thread of its own, for asyncio.

    The model is loaded in that thread too, because a runtime's context may belong to the thread that made it. No
    time is spent waiting for a batch to fill: it is made of what came while the one before was computed. An image
    that nobody waits for any more (its task was cancelled) is left out.

    Attributes:
        predictor: of the model.
        translated: images so far.
        seconds: the model's time for an image, a moving average.
    """

    def __init__(self, load: Callable[[], Translator], max_batch: int = 8) -> None:
        """Load the model.

        Args:
            load: makes the translator; what it raises is raised here.
            max_batch: images at once.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._jobs: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self.translated = 0
        self.seconds = 0.0
        try:
            self.predictor = self._thread.submit(lambda: Predictor(load(), batch_size=max_batch)).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def __aenter__(self) -> Batcher:
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._worker is not None
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        for job in self._jobs:
            job.future.cancel()
        self._thread.shutdown(cancel_futures=True)

    async def translate(self, pixels: np.ndarray) -> Translated:
        """Translate one image (H, W, C) of the model's input, of any size.

        Raises:
            Exception: what the model raises for this image; other images of its batch are not concerned.
        """
        job = _Job(self.predictor.request(pixels), asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._wake.set()
        return await job.future

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._next_batch()
            if batch:
                await self._translate(batch)
            else:
                self._wake.clear()

    def _next_batch(self) -> list[_Job]:
        """The longest waiting image with those of its shape; the others keep their order."""
        waiting = [job for job in self._jobs if not job.future.done()]
        batch = [job for job in waiting if job.shape == waiting[0].shape]
        batch = batch[: batch[0].request.max_batch] if batch else []
        self._jobs = deque(job for job in waiting if job not in batch)
        return batch

    async def _translate(self, batch: list[_Job]) -> None:
        began = time.perf_counter()
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: list(translate_batches([batch]))
            )
        except asyncio.CancelledError:  # the server ends
            for job in batch:
                job.future.cancel()
            raise
        model_seconds = time.perf_counter() - began
        self._count(sum(job.request.error is None for job in batch), model_seconds)
        for job in batch:
            if job.future.done():
                continue
            if job.request.error is not None:
                job.future.set_exception(job.request.error)
                continue
            batched_with = job.request.batched_with
            job.future.set_result(
                Translated(job.request.result(), began - job.since, model_seconds, batched_with)
            )

    def _count(self, images: int, model_seconds: float) -> None:
        if images:
            self.translated += images
            recent = model_seconds / images
            self.seconds = recent if not self.seconds else 0.8 * self.seconds + 0.2 * recent
