"""A worker thread for a resource that only one thread may use."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_JOIN_TIMEOUT = 10.0  # seconds that a garbage collection or the end of the program waits for the thread


class WorkerThread(Generic[T]):
    """Makes a resource in a thread of its own, lets that thread alone use it, and frees it there.

    CUDA's contexts are current to a thread, and pycuda frees memory only where its context is. With a worker
    thread it does not matter which thread calls, nor which one the garbage collector runs in.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[T]], name: str) -> None:
        """Start the thread and make the resource.

        Args:
            make: gives a context manager, which is entered and left in the thread.
            name: of the thread.

        Raises:
            Exception: whatever `make` raised.
        """
        # A SimpleQueue may be put to from a garbage collection, whatever lock the interrupted code holds.
        tasks: SimpleQueue[Callable[[T], None] | None] = SimpleQueue()
        ready: Future[None] = Future()
        self._tasks = tasks
        # A daemon, as the program must be able to end before `close`; the finalizer then waits for it.
        self._thread = threading.Thread(target=_serve, args=(make, tasks, ready), name=name, daemon=True)
        self._thread.start()
        ready.result()
        self._finalizer = weakref.finalize(self, _stop, tasks, self._thread)

    def submit(self, function: Callable[[T], R]) -> Future[R]:
        """Call `function` with the resource in the worker thread, after all that was submitted before.

        Raises:
            RuntimeError: the worker thread was closed.
        """
        if not self._finalizer.alive:
            raise RuntimeError("the worker thread was closed")
        future: Future[R] = Future()

        def task(resource: T) -> None:
            try:
                result = function(resource)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.put(task)
        return future

    def close(self) -> None:
        """Free the resource, after all that was submitted; a second time does nothing."""
        if self._finalizer.detach() is not None:
            self._tasks.put(None)
            self._thread.join()


def _serve(
    make: Callable[[], AbstractContextManager[Any]],
    tasks: SimpleQueue[Callable[[Any], None] | None],
    ready: Future[None],
) -> None:
    try:
        manager = make()
        with manager as resource:
            ready.set_result(None)
            while (task := tasks.get()) is not None:
                task(resource)
                del task  # it may hold the last reference to a batch
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)


def _stop(tasks: SimpleQueue[Any], thread: threading.Thread) -> None:
    tasks.put(None)
    if thread is not threading.current_thread():
        thread.join(_JOIN_TIMEOUT)
