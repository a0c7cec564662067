"""The stages of a pipeline: each is an iterator that pulls from the one before.

A stage that works beside the others hands its items to a pool of threads and holds a bounded queue of their
futures, so memory stays flat however long the input is, order is kept, and an exception in any stage surfaces
where the pipeline is read from. Nothing here knows of images: frames of a video pass just as well.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from queue import Full, Queue
from typing import Protocol, TypeVar, cast, overload

T = TypeVar("T")
R = TypeVar("R")


class Pause:
    """Stands between two items: what waits in a stage leaves it before the next item is asked for.

    A stage yields one before it waits for earlier items to be finished. Without it, those might be waiting in a batch
    that is not full yet, for the item that this stage does not make.
    """


class Numbered(Protocol):
    """Anything with a place in the order of the input, counted from 0."""

    @property
    def index(self) -> int:
        """Its place in the input, from 0."""
        ...


N = TypeVar("N", bound=Numbered)


@overload
def ordered_map(
    function: Callable[[T], R], items: Iterable[T], pool: Executor, ahead: int
) -> Iterator[R]: ...
@overload
def ordered_map(
    function: Callable[[T], R], items: Iterable[T | Pause], pool: Executor, ahead: int
) -> Iterator[R | Pause]: ...
def ordered_map(
    function: Callable[[T], R], items: Iterable[T | Pause], pool: Executor, ahead: int
) -> Iterator[R | Pause]:
    """`function` of each item, computed in the pool, in the order of the items.

    Args:
        function: must be safe to call from several threads.
        items: pulled in the caller's thread, at most `ahead` more than were given back.
        pool: may be shared by several stages.
        ahead: length of the queue, at least 1.
    """
    queue: deque[Future[R]] = deque()
    try:
        for item in items:
            if isinstance(item, Pause):
                while queue:
                    yield queue.popleft().result()
                yield item
                continue
            queue.append(pool.submit(function, item))
            if len(queue) >= ahead:
                yield queue.popleft().result()
        while queue:
            yield queue.popleft().result()
    finally:
        for future in queue:
            future.cancel()


def batch_by(
    key: Callable[[T], Hashable | None],
    items: Iterable[T | Pause],
    size: Callable[[Hashable], int],
    window: int,
) -> Iterator[list[T]]:
    """Batches of items with one key.

    Items overtake each other, but never by more than `window`: a batch that has waited that long leaves
    unfilled.

    Args:
        key: what must be equal within a batch, such as the shape; an item whose key is None leaves at once,
            alone.
        items: to be batched.
        size: of a full batch with that key.
        window: how many items may come after one that waits.

    Returns:
        The batches, and an empty one for each pause.
    """
    waiting: dict[Hashable, list[T]] = {}  # in the order in which each batch's first item came
    since: dict[Hashable, int] = {}
    for position, item in enumerate(items):
        if isinstance(item, Pause):
            yield from waiting.values()
            waiting, since = {}, {}
            yield []
            continue
        item_key = key(item)
        if item_key is None:
            yield [item]
        else:
            waiting.setdefault(item_key, []).append(item)
            since.setdefault(item_key, position)
            if len(waiting[item_key]) >= size(item_key):
                del since[item_key]
                yield waiting.pop(item_key)
        if waiting and position - since[oldest := next(iter(waiting))] >= window:
            del since[oldest]
            yield waiting.pop(oldest)
    yield from waiting.values()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one as long as it comes."""
    following = iter(items)
    while batch := list(islice(following, size)):
        yield batch


def in_order(items: Iterable[N]) -> Iterator[N]:
    """The items by their index, each as soon as all before it have come."""
    early: dict[int, N] = {}
    following = 0
    for item in items:
        early[item.index] = item
        while following in early:
            yield early.pop(following)
            following += 1


def background(
    items: Iterable[T], ahead: int, stop: Callable[[], None] = lambda: None
) -> Generator[T, None, None]:
    """The items, made in a thread of their own, up to `ahead` of them before they are taken.

    An exception in the thread is raised where the items are taken; when no more are taken, the thread ends.

    Args:
        items: pulled in the thread.
        ahead: length of the queue.
        stop: called when no more are taken, before the thread is waited for: it lets go on whatever `items` wait for.
    """
    queue: Queue[tuple[bool, T | BaseException | None]] = Queue(ahead)
    stopped = threading.Event()

    def put(item: tuple[bool, T | BaseException | None]) -> None:
        while not stopped.is_set():
            with contextlib.suppress(Full):
                return queue.put(item, timeout=0.1)

    def work() -> None:
        try:
            for item in items:
                put((True, item))
                if stopped.is_set():
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=work, name="translatekit-background", daemon=True)
    thread.start()
    try:
        while True:
            more, item = queue.get()
            if more:
                yield cast(T, item)
            elif item is None:
                return
            else:
                raise cast(BaseException, item)
    finally:
        stopped.set()
        stop()
        thread.join()
