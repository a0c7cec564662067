"""Several processes that train one model: started together, and ended together, whichever of them fails.

Each is a rank, as the field has it; rank 0 is the one that the user started, and alone speaks and writes. A rank that
ends, or that keeps the others waiting, ends the run with a sentence that names it.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from shlex import quote
from typing import Any, TypeVar

import torch.distributed
from torch.distributed.rendezvous import rendezvous

from translatekit.config import holds_run
from translatekit.errors import Stopped, TrainingError, TranslatekitError
from translatekit.storage import is_uri
from translatekit.training.fabric import Fabric, SLURMEnvironment, TorchElasticEnvironment
from translatekit.training.signals import Stop, end_at_once

T = TypeVar("T")

_children: dict[int, subprocess.Popen[bytes]] = {}  # by rank; of this program, which may train more than once

_LAUNCHER = "TRANSLATEKIT_LAUNCHER"  # the process that started this one as a further rank
_POLL = 0.1  # seconds between two looks at the other processes of this host
_GRACE = 5.0  # seconds in which a rank is to notice by itself that another has ended
_ANSWER = 3.0  # seconds in which ranks tell each other that they wait


class ProcessError(TrainingError):
    """A process was lost, or does not answer: the run can go on from its newest checkpoint."""


class Processes:
    """The ranks of a run, as one of them sees them.

    Args:
        fabric: the engine, not launched yet.
        timeout: minutes that one rank waits for another.
        place: of the run, for the sentence that says how to go on.

    Attributes:
        stopping: whether all ranks have agreed to stop.
    """

    def __init__(self, fabric: Fabric, timeout: float, place: str) -> None:
        self._fabric, self._timeout, self._place = fabric, timeout, place
        self._ended: dict[int, int] = {}  # exit statuses of ranks that failed
        launcher = os.environ.get(_LAUNCHER)
        self._launcher = int(launcher) if launcher and self.several else None
        self._done = threading.Event()
        self.stopping = False

    @property
    def several(self) -> bool:
        """Whether there is more than one rank."""
        return self._fabric.world_size > 1

    def start(self) -> None:
        """Start the other ranks of this host, unless a scheduler or launcher has done it, and keep an eye on them."""
        strategy: Any = self._fabric.strategy
        if not self.several:
            return
        if TorchElasticEnvironment.detect():
            _meet(self._fabric, self._timeout)
        if not strategy.cluster_environment.creates_processes_externally:
            self._start_children(strategy.num_processes, strategy.cluster_environment)
        if any(child.poll() is not None for child in _children.values()):
            raise TrainingError(
                "the other processes of this program have ended with an earlier training: start it again"
            )
        if self._explains:
            threading.Thread(target=self._watch, daemon=True).start()

    @property
    def _explains(self) -> bool:
        """Whether these processes watch each other, rather than a launcher."""
        return bool(_children) or self._launcher is not None

    def kill(self) -> None:
        """End the ranks that were started here, at once: they may be waiting for this one."""
        for child in _children.values():
            with suppress(OSError):
                child.kill()

    @contextmanager
    def ending_together(self, stop: Stop) -> Iterator[None]:
        """End all ranks where one fails within; rank 0 says why.

        Raises:
            Stopped: a signal has ended the others.
            TrainingError: another rank has failed or does not answer.
        """
        try:
            yield
            self._fabric.barrier()  # nobody leaves while others need this process
        except BaseException as error:
            if not self.several:
                raise
            if self._launcher is not None:
                self._give_up(error)
            reason: BaseException | None = None
            if stop.forced:
                reason = Stopped(stop.forced)
            elif isinstance(error, RuntimeError) and _is_communication_error(error):
                # A launcher knows itself why it ends the others and this one.
                told = stop.number and not self._explains
                reason = Stopped(stop.number) if told else self._explain(error)
            elif not isinstance(error, Stopped):
                self._publish(error)
            self.kill()
            if reason is not None:
                raise reason from None
            raise
        finally:
            self._done.set()

    def agree(self, what: str, value: T, remedy: str = "give all processes the same data and options") -> T:
        """Rank 0's value, which every rank must have.

        Raises:
            TrainingError: a rank has another.
        """
        if self.several:
            values: list[Any] = [None] * self._fabric.world_size
            torch.distributed.all_gather_object(values, value)
            for rank, other in enumerate(values):
                if other != values[0]:
                    raise TrainingError(
                        f"rank {rank} has {other} {what} and rank 0 has {values[0]}: {remedy}"
                    )
        return value

    # --- starting and watching -----------------------------------------------------------------------------------

    def _start_children(self, count: int, environment: Any) -> None:
        os.environ["MASTER_ADDR"] = environment.main_address
        os.environ["MASTER_PORT"] = str(environment.main_port)
        os.environ["NODE_RANK"] = str(environment.node_rank())
        os.environ["WORLD_SIZE"] = str(self._fabric.world_size)
        os.environ["LOCAL_RANK"] = "0"  # so that nobody starts them again
        for local_rank in range(1, count):
            _children[self._fabric.global_rank + local_rank] = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, "LOCAL_RANK": str(local_rank), _LAUNCHER: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C comes to rank 0 alone, which tells the others
            )
        atexit.register(_end_children)

    def _watch(self) -> None:
        while not self._done.wait(_POLL):
            if self._launcher is not None and os.getppid() != self._launcher:
                if self._fabric.local_rank == 1:
                    _say(self._sentence(f"rank {self._rank_of_launcher} was ended from outside"))
                end_at_once(1)
            for rank, child in _children.items():
                if child.poll():
                    self._ended[rank] = child.returncode
            if self._ended:
                self.kill()  # so that this rank, too, finds the connection closed
                if not self._done.wait(_GRACE):
                    _say(str(self._explain(None)))
                    end_at_once(1)
                return

    @property
    def _rank_of_launcher(self) -> int:
        return self._fabric.global_rank - self._fabric.local_rank

    # --- failing -------------------------------------------------------------------------------------------------

    def _give_up(self, error: BaseException) -> None:
        """End a rank that rank 0 has started: that one speaks for it, except where it is the one that is missing."""
        if isinstance(error, (Stopped, SystemExit)):
            end_at_once(0 if self.stopping else 1)
        if isinstance(error, RuntimeError) and _is_communication_error(error):
            self._publish(None)
            time.sleep(_GRACE + 2 * _ANSWER)  # in which rank 0 ends this process
            if self._fabric.local_rank == 1:
                missing = f"rank {self._rank_of_launcher} did not answer within {self._timeout:g} minutes"
                _say(self._sentence(missing, slow=True))
            if self._launcher == os.getppid():  # else it has ended, and its number may be another program's
                with suppress(OSError):
                    os.kill(self._launcher, signal.SIGKILL)
        else:
            if not isinstance(error, TranslatekitError):
                traceback.print_exception(error)
            self._publish(error)
        end_at_once(1)

    def _publish(self, error: BaseException | None) -> None:
        """Tell all ranks that this one has failed, or that it waits for another in vain."""
        if error is None:
            text = ""
        elif isinstance(error, TranslatekitError):
            text = str(error)
        else:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
        _within(_ANSWER, lambda: _store().set(_key(self._fabric.global_rank), text), None)

    def _published(self) -> dict[int, str]:
        """What ranks that have failed say, and '' of those that wait, by rank."""
        own = self._fabric.global_rank
        said: dict[int, str] = {}
        others = [rank for rank in range(self._fabric.world_size) if rank != own]

        end = time.monotonic() + _ANSWER
        while len(said) < len(others) and time.monotonic() < end:
            for rank in others:
                if (text := _said_by(rank)) is not None:
                    said[rank] = text
            time.sleep(_POLL)
        return said

    def _explain(self, error: RuntimeError | None) -> ProcessError:
        """Which rank is at fault for a connection that broke or timed out."""
        slow = error is not None and _is_timeout(error)
        if not slow:
            end = time.monotonic() + 10 * _POLL
            while _children and not self._ended and time.monotonic() < end:
                time.sleep(_POLL)
        self._publish(None)
        if self._ended:
            rank, status = min(self._ended.items())
            said = _said_by(rank)
            return ProcessError(
                self._sentence(f"rank {rank} {f'failed ({said})' if said else _exit_reason(status)}")
            )
        said_by = self._published()
        for rank, text in sorted(said_by.items()):
            if text:
                return ProcessError(self._sentence(f"rank {rank} failed ({text})"))
        silent = [
            rank
            for rank in range(self._fabric.world_size)
            if rank not in said_by and rank != self._fabric.global_rank
        ]
        if not silent:
            return ProcessError(self._sentence("the connection between the processes broke"))
        names = f"rank{'s' * (len(silent) > 1)} {', '.join(map(str, silent))}"
        what = f"did not answer within {self._timeout:g} minutes" if slow else "cannot be reached"
        return ProcessError(self._sentence(f"{names} {what}", slow=slow))

    def _sentence(self, what: str, slow: bool = False) -> str:
        if not is_uri(self._place) and not holds_run(self._place):
            again = "start it again"
        else:
            again = f"go on with translatekit train --resume {quote(self._place)}"
        more = ", with a longer --process-timeout if it was only slow" if slow else ""
        return f"{what}, which ended the training on {self._fabric.world_size} processes: {again}{more}"


# --- who starts the processes -----------------------------------------------------------------------------------


def launched_processes() -> tuple[int, int] | None:
    """Processes a host, and hosts, where torchrun or SLURM has started this process; None where neither has.

    Raises:
        TrainingError: the hosts have different numbers of processes.
    """
    if TorchElasticEnvironment.detect():
        world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        nodes, started_by = -(-world // local), "torchrun"
    elif SLURMEnvironment.detect():
        world, nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ.get("SLURM_NNODES", "1"))
        local, started_by = int(os.environ.get("SLURM_NTASKS_PER_NODE", world // nodes)), "SLURM"
    else:
        return None
    if local * nodes != world:
        raise TrainingError(
            f"{started_by} has started {world} processes and {local} of them on this host: "
            "give every host the same number of them"
        )
    return local, nodes


def _meet(fabric: Fabric, timeout: float) -> None:
    """Form the group of processes under torchrun, apart from all that earlier processes have left in its store.

    After a restart, torchrun hands the same store to the new processes, and a process that reads there before another
    has written finds the address of one that has ended. So rank 0 draws a name for the group, and tells it to whoever
    asks under a name that nobody has used before.
    """
    if torch.distributed.is_initialized():
        return
    rank, world_size, limit = fabric.global_rank, fabric.world_size, timedelta(minutes=timeout)
    store, _, _ = next(rendezvous("env://", rank, world_size, timeout=limit))
    group, met = uuid.uuid4().hex, threading.Event()
    if rank == 0:
        threading.Thread(target=_tell, args=(group, world_size, limit, met), daemon=True).start()
    else:
        store.set(f"translatekit/asks/{rank}", group)
        group = store.get(f"translatekit/told/{group}").decode()
    backend = "nccl" if fabric.device.type == "cuda" else "gloo"
    group_store = torch.distributed.PrefixStore(group, store)
    if backend == "nccl":
        torch.cuda.set_device(fabric.device)
    torch.distributed.init_process_group(
        backend, store=group_store, rank=rank, world_size=world_size, timeout=limit
    )
    torch.distributed.barrier()
    met.set()


def _tell(group: str, world_size: int, limit: timedelta, met: threading.Event) -> None:
    """Answer all that ask for the group's name, those that have ended among them, until all have met."""
    store = torch.distributed.TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=limit,
    )
    told: set[str] = set()
    while not met.wait(_POLL / 2):
        for rank in range(1, world_size):
            key = f"translatekit/asks/{rank}"
            if store.check([key]) and (name := store.get(key).decode()) not in told:
                store.set(f"translatekit/told/{name}", group)
                told.add(name)


# --- small things -----------------------------------------------------------------------------------------------


def _end_children() -> None:
    for child in _children.values():
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()


def _store() -> Any:
    """Where the ranks found each other; it outlives their connections."""
    return torch.distributed.distributed_c10d._get_default_store()


def _key(rank: int) -> str:
    return f"translatekit/{rank}"


def _said_by(rank: int) -> str | None:
    """What a rank has published; None where that is nothing, or cannot be read."""

    def ask() -> str | None:
        store = _store()
        return store.get(_key(rank)).decode(errors="replace") if store.check([_key(rank)]) else None

    return _within(_ANSWER, ask, None)


def _within(seconds: float, act: Callable[[], T], otherwise: T) -> T:
    """What a function gives, or `otherwise` where it fails or takes longer: the other side may be gone."""
    results: list[T] = []

    def run() -> None:
        with suppress(Exception):
            results.append(act())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else otherwise


def _is_communication_error(error: RuntimeError) -> bool:
    """Whether it comes from the connection between processes rather than from what they compute."""
    return isinstance(error, torch.distributed.DistError) or any(
        word in str(error) for word in ("gloo", "NCCL", "ProcessGroup", "Connection closed by peer")
    )


def _is_timeout(error: RuntimeError) -> bool:
    return "imed out" in str(error) or "timeout" in str(error).lower()


def _exit_reason(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    return f"was ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")


def _say(sentence: str) -> None:
    print(f"Error: {sentence}", file=sys.stderr, flush=True)
