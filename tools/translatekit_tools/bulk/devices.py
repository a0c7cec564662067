"""Several processes of one machine, a device each, that share one run's inputs."""

from __future__ import annotations

import os
import pickle
import queue
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import psutil

from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit_tools.bulk.find import Job
from translatekit_tools.bulk.manifest import manifest_name, write_as
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.runner import Runner
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.stats import Stats
from translatekit_tools.bulk.summary import Progress, Result
from translatekit_tools.bulk.task import ignore

_BLOCK = 8
"""Inputs that a process is given at once, when its pipeline has room for them."""

_HUNG = 300.0
"""Seconds in which a process that has something to do says and computes nothing, and is ended."""

_AWAKE = 0.5
"""Seconds of a processor that count as computing: what only waits takes a little, too."""

_GRACE = 10.0
"""Seconds in which a process ends by itself where the run fails; whatever it writes is written whole or not at all."""

_LOOK = 1.0
"""Seconds between two looks at processes that say nothing."""

_LENGTH = struct.Struct("<Q")


def devices_of(text: str) -> list[str]:
    """What ``--devices`` names, one for each process: ``0,1`` are GPUs, ``auto`` all there are, else the CPU.

    Raises:
        OptionError: it names none.
    """
    if text.strip() == "auto":
        return [f"cuda:{number}" for number in range(_gpus())] or ["cpu"]
    devices = [word.strip() for word in text.split(",")]
    if not all(devices):
        raise OptionError(f"--devices takes devices such as 0,1,2,3 or cpu,cpu, or auto, got {text!r}")
    return [f"cuda:{word}" if word.isdecimal() else word for word in devices]


def _gpus() -> int:
    """How many GPUs of NVIDIA this process may use, asked without loading CUDA into it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([word for word in visible.split(",") if word.strip() not in ("", "-1")])
    if (program := shutil.which("nvidia-smi")) is None:
        return 0
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


@dataclass(eq=False)
class _Process:
    """A process, and what it is at.

    Attributes:
        program: it.
        device: that it works on.
        at: the inputs that it was given and has not told of, by their numbers.
        is_idle: whether it waits for something to do, with nothing begun.
        heard: when it said something last, or was seen to compute.
        computed: seconds of a processor that it had taken by then.
        is_hung: whether it was ended because it did nothing.
    """

    program: subprocess.Popen[bytes]
    device: str
    at: dict[int, Job] = field(default_factory=dict)
    is_idle: bool = False
    heard: float = field(default_factory=time.monotonic)
    computed: float = 0.0
    is_hung: bool = False

    @property
    def name(self) -> str:
        """Of it, for people."""
        return f"the process of {self.device}"

    def end_if_hung(self, after: float) -> bool:
        """End it where it has neither said nor computed anything for so many seconds; whether it was."""
        computed = _processor_seconds(self.program.pid)
        if computed - self.computed >= _AWAKE:
            self.heard, self.computed = time.monotonic(), computed
        if time.monotonic() - self.heard < after or self.is_hung:
            return False
        self.is_hung = True
        self.program.kill()
        return True

    def send(self, message: Any) -> None:
        """Where it is no more, the end of its messages says so."""
        assert self.program.stdin is not None
        with suppress(OSError):
            _send(self.program.stdin, message)


class Devices:
    """Deals jobs to processes, and gives what a dead one had begun to the others. To be closed.

    Args:
        devices: one for each process.
        options: of the run.
        model_file: that each loads.
        progress: told what they say.
    """

    def __init__(
        self, devices: list[str], options: RunOptions, model_file: Path, progress: Progress | None
    ) -> None:
        self._progress = progress
        self._messages: queue.SimpleQueue[tuple[_Process, Any]] = queue.SimpleQueue()
        self._stats: list[Stats] = []
        self._reported: dict[int, set[str]] = {}
        self._remarked: set[str] = set()
        self._has_failed = False
        environment = dict(os.environ)
        on_cpu = sum(device == "cpu" for device in devices)
        if on_cpu > 1 and "OMP_NUM_THREADS" not in environment:
            environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // on_cpu))
        shard = f"{options.shard.name}-" if options.shard is not None else ""
        options = replace(options, devices=None, memory=options.memory.among(len(devices)))
        self._processes: list[_Process] = []
        for number, device in enumerate(devices):
            program = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import work; work()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
            )
            process = _Process(program, device)
            process.send((replace(options, device=device), model_file, f"{shard}device-{number}"))
            self._processes.append(process)
            threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def close(self) -> None:
        """End all processes, when what they are writing is written."""
        for process in self._processes:
            process.send("stop")
            with suppress(OSError):
                process.program.stdin.close()  # type: ignore[union-attr]
        deadline = time.monotonic() + _GRACE
        for process in self._processes:
            while process.program.poll() is None:
                if self._has_failed and time.monotonic() > deadline:
                    process.program.kill()
                elif process.end_if_hung(_HUNG):
                    self._say(f"{process.name} did not end, and {_did_nothing()}: it was killed")
                with suppress(subprocess.TimeoutExpired):
                    process.program.wait(_LOOK)
                while not self._messages.empty():  # what still finishes a file tells of it
                    self._messages.get()[0].heard = time.monotonic()

    def stats(self) -> Stats | None:
        """Where the time of all went; None where none has told."""
        if not self._stats:
            return None
        seconds = {
            stage: sum(each.seconds[stage] for each in self._stats) for stage in self._stats[0].seconds
        }
        threads = sum(each.threads for each in self._stats)
        return Stats(seconds=seconds, wall=max(each.wall for each in self._stats), threads=threads)

    def run(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """The results of all jobs, as they come.

        Raises:
            TranslatekitError: a process cannot work at all, or all have died.
        """
        waiting: deque[tuple[int, Job]] = deque()
        numbered = enumerate(jobs)
        alive = list(self._processes)
        following = next(numbered, None)
        while True:
            is_over = following is None and not waiting
            if is_over and not any(process.at for process in alive):
                break
            if not is_over:
                for process in alive:
                    if process.is_idle and (following or waiting):
                        following = self._deal(process, waiting, numbered, following)
            process, message = self._next_message(alive)
            kind, *values = message
            if kind == "result":
                number, key, result = values
                yield from self._take(process, number, key, result)
            elif kind == "wants":
                process.is_idle = values[0]
                if not process.is_idle:  # there are some in its stages, which wait for the next or the end
                    following = self._deal(process, waiting, numbered, following)
            elif kind == "failure":
                self._has_failed = True
                error = values[0]
                if isinstance(error, TranslatekitError) and process.device != "cpu":
                    raise TranslatekitError(f"{process.device}: {error}")
                raise error
            elif kind == "remark":
                self._remark_once(*values)
            elif kind in ("say", "frames"):
                getattr(self._progress, kind, ignore)(*values)
            elif kind == "stats":
                self._stats.append(values[0])
            elif kind == "ended":
                alive.remove(process)
                waiting.extend(process.at.items())
                if not alive:
                    self._has_failed = True
                    raise DataError(
                        f"all {len(self._processes)} processes have ended abruptly, as those do that are killed for "
                        "memory: run the same command again to go on, with fewer --devices or less --memory"
                    )
                why = f"{_did_nothing()} and was ended" if process.is_hung else "has ended abruptly"
                self._say(f"{process.name} {why}: the others do the {len(process.at)} that it was at")
                process.at = {}
        self._finish(alive)

    def _deal(
        self,
        process: _Process,
        waiting: deque[tuple[int, Job]],
        numbered: Iterator[tuple[int, Job]],
        following: tuple[int, Job] | None,
    ) -> tuple[int, Job] | None:
        """Give a process a block, or tell it that there is no more for now; returns the next of all jobs."""
        block: list[tuple[int, Job]] = []
        while len(block) < _BLOCK and (waiting or following is not None):
            if waiting:
                block.append(waiting.popleft())
            else:
                assert following is not None
                block.append(following)
                following = next(numbered, None)
        process.at.update(block)
        process.is_idle = False
        process.send(block)
        return following

    def _take(self, process: _Process, number: int, key: str, result: Result) -> Iterator[Result]:
        """A result, unless a process that died has told of it before."""
        reported = self._reported.setdefault(number, set())
        is_new = key not in reported
        reported.add(key)
        job = process.at.get(number)
        if job is None or len(reported) == 1 + len(job.alternatives):
            process.at.pop(number, None)
            del self._reported[number]
        if is_new:
            yield result

    def _finish(self, alive: list[_Process]) -> None:
        """Let all end, and hear where their time went."""
        for process in alive:
            process.send("stop")
        while alive:
            process, message = self._next_message(alive)
            if message[0] == "stats":
                self._stats.append(message[1])
            elif message[0] == "remark":
                self._remark_once(*message[1:])
            elif message[0] == "ended":
                alive.remove(process)

    def _next_message(self, alive: list[_Process]) -> tuple[_Process, Any]:
        """What a process says next; one that has something to do, and does nothing, is ended and says so by that."""
        while True:
            try:
                process, message = self._messages.get(timeout=_LOOK)
            except queue.Empty:
                for each in alive:
                    if each.is_idle and not each.at:
                        each.heard = time.monotonic()
                    else:
                        each.end_if_hung(_HUNG)
                continue
            process.heard = time.monotonic()
            return process, message

    def _say(self, sentence: str) -> None:
        getattr(self._progress, "say", ignore)(sentence)

    def _remark_once(self, about: str, sentence: str) -> None:
        """What holds for many images is said of the first, whichever process has it."""
        if about not in self._remarked:
            self._remarked.add(about)
            self._say(sentence)

    def _listen(self, process: _Process) -> None:
        assert process.program.stdout is not None
        try:
            while True:
                self._messages.put((process, _receive(process.program.stdout)))
        except (EOFError, OSError, pickle.UnpicklingError):
            pass
        finally:  # whatever it was that could not be understood
            self._messages.put((process, ("ended",)))


# In the process


class _StopError(Exception):
    """Nothing more is wanted of this process."""


def work() -> None:
    """Do what comes in on standard input, and tell of it on standard output, in messages of pickle."""
    for name in ("SIGINT", "SIGHUP"):  # of the terminal; the one that deals the jobs says when to end
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is written there
    lock = threading.Lock()

    def tell(*message: Any) -> None:
        with lock:
            _send(outgoing, message)

    options, model_file, name = _receive(incoming)
    write_as(manifest_name(name))
    blocks: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            try:
                message = _receive(incoming)
            except (EOFError, OSError):
                os._exit(1)  # whoever deals the jobs has died
            except BaseException as error:  # such as a manifest that cannot be read
                message = error
            blocks.put(message)
            if message == "stop" or isinstance(message, BaseException):
                return

    threading.Thread(target=listen, daemon=True).start()
    try:
        _translate(options, model_file, blocks, tell)
    except TranslatekitError as error:
        tell("failure", error)
    except Exception:
        tell("failure", RuntimeError(traceback.format_exc()))


def _translate(
    options: RunOptions, model_file: Path, blocks: queue.SimpleQueue[Any], tell: Callable[..., None]
) -> None:
    class Told:
        """Hands on what is said."""

        def __call__(self, result: Result) -> None:
            raise AssertionError

        def say(self, text: str) -> None:
            tell("say", text)

        def frames(self, done: int, total: int, unit: str = "frame") -> None:
            tell("frames", done, total, unit)

    told = Told()
    session = Session(options, model_file, None, told.say, remark=partial(tell, "remark"))
    numbers: dict[str, int] = {}
    with closing(Runner(session, told, largest_block=64)) as runner:
        try:
            while True:
                with closing(runner.run(_jobs(blocks, tell, numbers))) as tasks:
                    for task in tasks:
                        key = _key(task.job)
                        tell("result", numbers.pop(key), key, task.result(0))
        except _StopError:
            tell("stats", runner.stats())


def _jobs(
    blocks: queue.SimpleQueue[Any], tell: Callable[..., None], numbers: dict[str, int]
) -> Iterator[Job]:
    is_first = True
    while True:
        tell("wants", is_first)
        block = blocks.get()
        if isinstance(block, BaseException):
            raise block
        if block == "stop":
            raise _StopError
        if not block:
            return
        is_first = False
        for number, job in block:
            for each in (job, *job.alternatives):
                numbers[_key(each)] = number
            yield job


def _key(job: Job) -> str:
    return f"{job.input_name}\0{job.output_name}"


def _did_nothing() -> str:
    return f"did nothing for {_HUNG / 60:.2g} minutes"


def _processor_seconds(pid: int) -> float:
    """That a process has taken so far; 0 where it is no more."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _send(file: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def _receive(file: IO[bytes]) -> Any:
    header = file.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # from a process of this very run
