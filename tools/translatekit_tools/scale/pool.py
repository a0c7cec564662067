"""Blocks of work over the actors of a cluster: bounded, retried, growing and shrinking with what waits."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Generic, Protocol, TypeVar

from translatekit.errors import OptionError, PluginError, TranslatekitError
from translatekit_tools.bulk.unfinished import MAX_ATTEMPTS
from translatekit_tools.scale import actor
from translatekit_tools.scale.cluster import Cluster, Demand
from translatekit_tools.scale.options import Workers

BLOCK = 64
"""Items that a worker is given at a time: enough that a call costs nothing beside them, few enough to do again."""

NAME_LENGTH = 12
"""Letters and digits of a worker's name."""

_OUTSTANDING = 2  # blocks a worker: one that is done, and one that is there when it is finished
_LEAST = 4  # items in the blocks at the end of the listing, where each worker gets its share of what is left
_AHEAD = 32  # blocks of the listing that wait for a worker, at most
_IDLE = 10.0  # seconds, after which a worker without work is let go
_MAX_FAILED_STARTS = 3  # one after another, after which the work is given up
_LOOK_AROUND = 1.0  # seconds between two looks at the cluster
_PATIENCE = 20.0  # seconds, after which it is said that the work waits for room
_CLOSING = 30.0  # seconds that workers have to finish what is open

T = TypeVar("T")
R = TypeVar("R")


def killer(attempts: int) -> str:
    """Why an item is given up.

    Args:
        attempts: how many workers have died of it.
    """
    return (
        f"{attempts} workers have died while it was in progress, as those do that are killed for memory: "
        "replace or remove it"
    )


Report = dict[str, Any]
"""What `Actor.look` says of a node."""


class Opening(Protocol):
    """Makes, in a worker's process, what does its blocks. Is sent there once, and so must be small and picklable."""

    def __call__(self, name: str) -> Callable[[list[Any]], list[Any]]:
        """What does a block, for the worker of that name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Work(Generic[T, R]):
    """What is to be done on a cluster.

    Attributes:
        opening: makes what does a block; an answer for each of its items, in any order.
        given_up: the answer for an item of which several workers have died, which it is told how many.
        check: refuses a node by what it says of itself.
        distributions: packages whose versions it is to say.
        paths: files and folders that it is to see.
        key: tells items apart.
        block: items in a block.
        follow: what is to be done because of an answer, each by itself.
    """

    opening: Opening
    given_up: Callable[[T, int], R]
    check: Callable[[Report], None]
    distributions: Sequence[str] = ()
    paths: Sequence[str] = ()
    key: Callable[[T], Hashable]
    block: int = BLOCK
    follow: Callable[[R], Iterable[T]] = lambda answer: ()


@dataclass(eq=False, slots=True)
class _Member:
    """An actor: it is looked at, opened, and then has blocks to do."""

    handle: Any
    step: str  # looking, opening, ready
    since: float
    blocks: deque[tuple[Any, list[Any]]] = field(default_factory=deque)


class Pool(Generic[T, R]):
    """Actors, and what is given to them.

    Args:
        cluster: where they live.
        work: what they do.
        workers: how many there may be; None for as many as there is room for.
        demand: what each takes of its node.
        timeout: seconds to wait for the first.
        say: told what the user should know.

    Attributes:
        peak: how many there were at a time, at most.
        lost: how many died.
        repeated: how many items were given out again for it.
    """

    def __init__(
        self,
        cluster: Cluster,
        work: Work[T, R],
        workers: Workers | None,
        demand: Demand,
        timeout: float,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        ray = cluster.ray
        self._cluster, self._ray, self._work, self._workers = cluster, ray, work, workers
        self._demand, self._timeout, self._say = demand, timeout, say
        ray.cloudpickle.register_pickle_by_value(actor)
        try:
            remote = ray.remote(actor.Actor)
            # An actor that Ray itself restarts would be one that nobody has looked at, and a call that Ray itself
            # repeats would hide that its item kills whoever works on it.
            self._remote = remote.options(
                num_cpus=demand.cpus, num_gpus=demand.gpus, max_restarts=0, max_task_retries=0
            )
            self._opening = self._sent(work.opening)
            self._members: list[_Member] = []
            self._calls: dict[Any, _Member] = {}
            self._attempts: Counter[Hashable] = Counter()
            self._failed_starts = 0
            self._has_worked = False
            self._waiting_since = self._looked = time.monotonic()
            self._told_of_waiting = False
            self._room = 0
        except BaseException:
            ray.cloudpickle.unregister_pickle_by_value(actor)
            raise
        self.peak = self.lost = self.repeated = 0

    def run(self, items: Iterable[T]) -> Generator[R, None, None]:
        """The answers for all items, in any order.

        Args:
            items: pulled, in a thread, as blocks are done: a listing without an end takes no memory.

        Raises:
            TranslatekitError: a worker may not or cannot be started, or a block cannot be done at all.
        """
        listing = _Listing(items, self._work.block)
        again: deque[list[T]] = deque()  # blocks of dead workers, and what follows from answers
        try:
            while True:
                self._grow(listing.waiting() + len(again))
                self._give_out(listing, again)
                if listing.ended and not again and not any(member.blocks for member in self._members):
                    return
                self._let_go(listing.ended and not again)
                calls = list(self._calls)
                if not calls:
                    listing.wait(_LOOK_AROUND if self._members else 0.05)
                    continue
                # A listing that has nothing yet must not be waited for while answers come, nor the other way round.
                hungry = any(
                    member.step == "ready" and not member.blocks for member in self._members
                ) and not (listing.ended)
                ready, _ = self._ray.wait(calls, num_returns=1, timeout=0.05 if hungry else _LOOK_AROUND)
                for call in ready:
                    yield from self._answered(call, again)
        finally:
            listing.close()
            self._close()

    def _sent(self, opening: Opening) -> Any:
        """Send every node what it begins with, a model most of all, once.

        Raises:
            OptionError: there is no room for it.
        """
        try:
            return self._ray.put(opening)
        except self._full() as error:
            raise self._no_room(error) from None

    def _full(self) -> tuple[type[Exception], ...]:
        """What Ray raises where a node's object store has no room, and its disk none for what would be moved there."""
        from ray.exceptions import ObjectStoreFullError, OutOfDiskError

        return ObjectStoreFullError, OutOfDiskError

    def _no_room(self, error: Exception) -> OptionError:
        return OptionError(
            f"{self._cluster.name} has no room for what is sent to its workers, such as the model "
            f"({str(error).strip().splitlines()[0].rstrip('.')}): free space on the disk of /tmp/ray, to which Ray "
            "moves nothing once it is 95 % full, or start Ray with a larger --object-store-memory"
        )

    def _grow(self, waiting: int) -> None:
        """Start as many workers as there are blocks that wait for one, within the bounds and what there is room for."""
        now = time.monotonic()
        busy = sum(bool(member.blocks) for member in self._members)
        if now - self._looked >= _LOOK_AROUND or not self._room:
            self._looked, self._room = now, self._cluster.room(self._demand)
        if self._workers is None:
            minimum, maximum = 0, max(1, self._room)
        else:
            minimum, maximum = self._workers.minimum, self._workers.maximum
        wanted = min(maximum, max(minimum, busy + waiting))
        for _ in range(wanted - len(self._members) if waiting else 0):
            handle = self._remote.remote()
            member = _Member(handle, "looking", now)
            self._members.append(member)
            self._calls[handle.look.remote(list(self._work.distributions), list(self._work.paths))] = member
        self.peak = max(self.peak, sum(member.step == "ready" for member in self._members))
        self._see_that_there_is_room(now)

    def _see_that_there_is_room(self, now: float) -> None:
        pending = sum(member.step == "looking" for member in self._members)
        if not pending:
            self._waiting_since = now
            return
        waited = now - self._waiting_since
        if pending < len(self._members):
            if waited > _PATIENCE and not self._told_of_waiting:
                self._told_of_waiting = True
                self._say(
                    f"{len(self._members) - pending} of {len(self._members)} workers are there: "
                    f"{self._cluster.name} has no room for more yet."
                )
            return
        fits = self._room > 0
        if fits or not (self._cluster.is_local or waited > self._timeout):
            if waited > _PATIENCE and not self._told_of_waiting:
                self._told_of_waiting = True
                self._say(f"Waiting for a worker: {self._cluster.name} has no {self._demand} free yet.")
            if waited <= self._timeout:
                return
        flag = " or --gpus-per-actor" if self._demand.gpus else ""
        why = self._cluster.describe(self._demand) if not fits else "other work takes all that it has"
        raise OptionError(
            f"{self._cluster.name} has had no room for a worker with {self._demand} for {waited:.0f} s: {why}; lower "
            f"--cpus-per-actor{flag}, or add nodes"
        )

    def _give_out(self, listing: _Listing[T], again: deque[list[T]]) -> None:
        """Blocks to the workers, those that have the fewest first; to one with a suspect nothing else.

        The answer for a block may be lost with a worker that dies at the beginning of the next: which of two has killed
        it would not be known.
        """
        for outstanding in range(_OUTSTANDING):
            for member in self._members:
                if member.step != "ready" or len(member.blocks) != outstanding:
                    continue
                if any(self._is_suspect(block) for _, block in member.blocks):
                    continue
                if not again:
                    block = listing.next(len(self._members))
                elif outstanding and self._is_suspect(again[0]):
                    continue
                else:
                    block = again.popleft()
                if not block:
                    return
                call = member.handle.work.remote(block)
                member.blocks.append((call, block))
                self._calls[call] = member

    def _is_suspect(self, block: list[T]) -> bool:
        return len(block) == 1 and self._attempts[self._work.key(block[0])] > 0

    def _answered(self, call: Any, again: deque[list[T]]) -> Iterator[R]:
        member = self._calls.pop(call, None)
        if member is None:
            return  # of a worker that is dead by now
        try:
            answer = self._ray.get(call)
        except Exception as error:
            yield from self._failed(member, error, again)
            return
        member.since = time.monotonic()
        if member.step == "looking":
            self._work.check(answer)
            member.step = "opening"
            self._calls[member.handle.open.remote(self._opening, uuid.uuid4().hex[:NAME_LENGTH])] = member
        elif member.step == "opening":
            member.step = "ready"
            self._failed_starts = 0
        else:
            self._has_worked = True
            (block,) = (block for made, block in member.blocks if made == call)
            member.blocks = deque(one for one in member.blocks if one[0] != call)
            if self._attempts:
                for item in block:
                    self._attempts.pop(self._work.key(item), None)
            for each in answer:
                again.extend([item] for item in self._work.follow(each))
                yield each

    def _failed(self, member: _Member, error: Exception, again: deque[list[T]]) -> Iterator[R]:
        """What has become of a call that was not answered."""
        from ray.exceptions import RayTaskError

        if isinstance(error, RayTaskError):  # the process lives; its work has raised
            cause = error.cause
            if isinstance(cause, TranslatekitError):
                raise cause
            if member.step == "ready":
                raise error
            last = str(cause).strip().splitlines()[-1]
            raise PluginError(
                f"a worker cannot begin ({last}): install on its node what is installed here"
            ) from error
        if isinstance(error, self._full()):
            raise self._no_room(error) from None
        self._members.remove(member)
        self._calls = {call: each for call, each in self._calls.items() if each is not member}
        with contextlib.suppress(Exception):
            self._ray.kill(member.handle)  # one that only cannot be reached must not go on
        self.lost += 1
        if member.step != "ready":
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise OptionError(
                    f"{self._failed_starts} workers in a row have died before they were ready "
                    f"({' '.join(str(error).split())[:400]}): try the model with translatekit run on one of the nodes"
                ) from None
            return
        blocks = [block for _, block in member.blocks]
        again.extendleft(reversed(blocks[1:]))  # not begun
        for item in blocks[0] if blocks else ():
            self._attempts[key := self._work.key(item)] += 1
            if (attempts := self._attempts[key]) >= MAX_ATTEMPTS:
                del self._attempts[key]
                answer = self._work.given_up(item, attempts)
                again.extend([each] for each in self._work.follow(answer))
                yield answer
            else:  # alone, so that one that kills its worker takes no others along
                self.repeated += 1
                again.append([item])

    def _let_go(self, ended: bool) -> None:
        """Give back what a worker takes that has nothing to do."""
        now = time.monotonic()
        minimum = 0 if ended or self._workers is None else self._workers.minimum
        for member in list(self._members):
            starting = member.step != "ready"
            idle = not member.blocks and (ended or (not starting and now - member.since > _IDLE))
            if idle and len(self._members) > minimum and not (starting and not self._has_worked):
                self._members.remove(member)
                self._calls = {call: each for call, each in self._calls.items() if each is not member}
                self._end([member])

    def _end(self, members: Sequence[_Member]) -> None:
        """End workers, those that work after they have finished what is begun, and not what only waits for them."""
        open_ones = [member for member in members if member.step == "ready"]
        with contextlib.suppress(Exception):
            for member in open_ones:
                for call, _ in list(member.blocks)[1:]:
                    self._ray.cancel(call)
            closing = [member.handle.close.remote() for member in open_ones]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSING)
        for member in members:
            with contextlib.suppress(Exception):
                self._ray.kill(member.handle)

    def _close(self) -> None:
        members, self._members, self._calls = self._members, [], {}
        self._end(members)
        self._ray.cloudpickle.unregister_pickle_by_value(actor)


class _Listing(Generic[T]):
    """The blocks of a listing, which is read in a thread: it may take its time, and answers come meanwhile."""

    def __init__(self, items: Iterable[T], size: int) -> None:
        self._size = size
        self._queue: Queue[list[T]] = Queue(_AHEAD)
        self._rest: list[T] = []
        self._error: BaseException | None = None
        self._is_closed, self._came, self._is_read = Event(), Event(), Event()
        self._thread = Thread(target=self._read, args=(items,), daemon=True, name="listing")
        self._thread.start()

    def _read(self, items: Iterable[T]) -> None:
        following = iter(items)
        try:
            while (block := list(islice(following, self._size))) and self._put(block):
                pass
        except BaseException as error:
            self._error = error
        finally:
            self._is_read.set()
            self._came.set()
            close = getattr(following, "close", None)
            if close is not None:
                close()

    def _put(self, block: list[T]) -> bool:
        while not self._is_closed.is_set():
            with contextlib.suppress(Full):
                self._queue.put(block, timeout=0.2)
                self._came.set()
                return True
        return False

    @property
    def ended(self) -> bool:
        """Whether there is no more of it."""
        return self._is_read.is_set() and self._error is None and not self._rest and self._queue.empty()

    def waiting(self) -> int:
        """How many blocks are there, about."""
        return self._queue.qsize() + bool(self._rest)

    def next(self, workers: int) -> list[T]:
        """A block; none where there is none yet. Of what is left at the end, each worker gets its share.

        Args:
            workers: that there are.

        Raises:
            BaseException: what reading the listing has raised.
        """
        is_read = self._is_read.is_set()  # before the queue is looked at
        if not self._rest:
            try:
                self._rest = self._queue.get_nowait()
            except Empty:
                if is_read and self._error is not None:
                    raise self._error from None
                return []
        size = self._size
        if is_read:
            left = len(self._rest) + self._size * self._queue.qsize()
            size = min(size, max(_LEAST, -(-left // (_OUTSTANDING * max(workers, 1)))))
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    def wait(self, seconds: float) -> None:
        """Until there may be another block, or so long."""
        self._came.clear()
        if self._queue.empty() and not self._is_read.is_set():
            self._came.wait(seconds)

    def close(self) -> None:
        """Stop reading."""
        self._is_closed.set()
        self._thread.join(_CLOSING)
