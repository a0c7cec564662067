"""Programs that tests start, forked from a process that has imported what they all import.

Most of what ``python -m translatekit train`` takes is the import of PyTorch and its like: some seconds of a processor,
again and again. Here one process, the origin, imports them once, keeps to a single thread and computes nothing. A
program is a fork of it that then runs what Python would have run, as a child of whoever asked: with arguments, folder,
environment, streams, signals and exit status of its own. One that starts others itself, the ranks of a training, has an
origin of its own, which it was forked with.

`forked` puts `Program` in the place of `subprocess.Popen`, so that tests start programs as anyone does. What a fork
cannot stand for is started as ever: ``python -c``, by which tests look at what is imported; environments that libraries
read when they are imported; commands that import little. It needs Linux.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

COMMANDS = {"train", "run", "evaluate", "compile", "distill", "demo", "paint", "bench", "sample", "publish"}
MODULES = {"torch.distributed.run", "translatekit_tools.bench.worker"}
IMPORTED = (
    "translatekit.training.loop",
    "translatekit_tools.bulk.video.pipeline",
    "translatekit_tools.evaluate",
    "torch.distributed.launcher.api",
)
# Variables that are read when libraries are imported: a fork has those of its origin.
READ_EARLY = ("ATEN_", "CUDA_", "KMP_", "LD_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHON")
NAME = "origin"  # what the kernel calls an origin
SET_NAME, SET_CHILD_SUBREAPER = 15, 36  # of prctl(2)

libc = ctypes.CDLL(None)


class Request(NamedTuple):
    """What is to be run: a command line of Python, where, and whether in a session of its own."""

    words: list[str]
    folder: str
    environment: dict[str, str]
    session: bool


class Origin:
    """An origin, as those see it who may ask it for programs."""

    def __init__(self, channel: socket.socket, environment: Mapping[str, str]) -> None:
        self.channel, self.environment = channel, dict(environment)

    def may_have(self, environment: Mapping[str, str]) -> bool:
        """Whether what libraries read of an environment when they are imported is what it has itself."""
        read = {name for name in self.environment.keys() | environment.keys() if name.startswith(READ_EARLY)}
        return all(self.environment.get(name) == environment.get(name) for name in read - {"PYTHONPATH"})

    def fork(self, request: Request, streams: list[int]) -> int:
        """Start a program; the number of its process, which is a child of this one as if this had forked."""
        # The process between ends at once, and an orphan goes to the nearest of those above that ask for orphans.
        libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self.channel, [json.dumps(request).encode()], streams)
            return int(self.channel.recv(20))
        finally:
            libc.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Program(subprocess.Popen):  # type: ignore[type-arg]
    """A `subprocess.Popen` that forks where a fork is the same as a start."""

    origin: Origin | None = None
    starts_origin = False  # when the first program is to be forked

    def _execute_child(self, args: Any, executable: Any, *given: Any) -> None:
        preexec, close_fds, pass_fds, cwd, env, _, _, shell, *more = given
        pipes, (restores, gid, gids, uid, umask, session, *group) = more[:6], more[6:]
        rare = (executable, preexec, pass_fds, shell, gid, gids, uid, not close_fds, not restores)
        words = [os.fsdecode(word) for word in args] if isinstance(args, list | tuple) else []
        if not any(rare) and umask == -1 and group in ([], [-1]) and is_forked(words):
            if Program.starts_origin and Program.origin is None:
                Program.origin = start_origin()
            environment = {
                os.fsdecode(name): os.fsdecode(value) for name, value in (env or os.environ).items()
            }
            if Program.origin is not None and Program.origin.may_have(environment):
                request = Request(words, str(Path(os.fsdecode(cwd or ".")).resolve()), environment, session)
                ends = (pipes[0], pipes[3], pipes[5])
                streams = [number if end == -1 else end for number, end in enumerate(ends)]
                self.pid = Program.origin.fork(request, streams)
                self._child_created = True
                self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
                return
        super()._execute_child(args, executable, *given)  # type: ignore[misc]


def is_forked(words: list[str]) -> bool:
    """Whether a command line is one of those that are forked."""
    if words[:1] != [sys.executable]:
        return False
    match [word for word in words[1:] if word != "-u"]:
        case ["-m", "translatekit", command, *rest]:
            return (
                command in COMMANDS or [command, *rest[:1]] == ["plugins", "check"]
            ) and "--help" not in rest
        case ["-m", module, *_]:
            return module in MODULES
        case [script, *_]:
            return script.endswith(".py")
    return False


def starts_others(words: list[str]) -> bool:
    """Whether a program may start programs itself."""
    return words[1:3] != ["-m", "translatekit"] or "--devices" in words


@contextmanager
def forked() -> Iterator[None]:
    """Within, programs are forked."""
    if Program.starts_origin:  # around these, too
        yield
        return
    subprocess.Popen = Program  # type: ignore[misc]
    Program.starts_origin = True
    try:
        yield
    finally:
        subprocess.Popen = Program.__bases__[0]  # type: ignore[misc]
        Program.starts_origin = False
        if Program.origin:
            Program.origin.channel.close()
            Program.origin = None


def start_origin() -> Origin | None:
    """Start one that imports all that is imported; None where that starts threads, which no fork has."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno())]
    subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[1])
    theirs.close()
    if ours.recv(20) == b"ready":
        return Origin(ours, os.environ)
    ours.close()
    Program.starts_origin = False
    return None


# --- in an origin and its forks


def serve(channel: socket.socket) -> tuple[Request, list[int]]:
    """Fork a program for each request; returns in the program, with what it was asked for and its streams."""
    libc.prctl(SET_NAME, NAME.encode(), 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those who ask, with whom this ends
    while True:
        text, streams, *_ = socket.recv_fds(channel, 2**20, 3)
        if not text:
            os._exit(0)
        come, go = os.pipe()
        between = os.fork()
        if not between:
            number = os.fork()
            if number:
                os.write(go, b"%d" % number)
                os._exit(0)
            for end in (come, go):
                os.close(end)
            channel.close()
            return Request(*json.loads(text)), streams
        for end in (go, *streams):
            os.close(end)
        os.waitpid(between, 0)
        channel.send(os.read(come, 20))
        os.close(come)


def become(request: Request, streams: list[int]) -> None:
    """Run a program in this process, as Python would have run it."""
    while starts_others(request.words):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            theirs.close()
            Program.origin = Origin(ours, request.environment)
            break
        ours.close()
        for end in streams:
            os.close(end)
        request, streams = serve(theirs)
    libc.prctl(SET_NAME, b"python", 0, 0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request.session:
        os.setsid()
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    _, *words = request.words
    unbuffered = "-u" in words[:1] or bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, end in enumerate(streams):
        os.dup2(end, number)
        os.close(end)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        raw = open(number, "wb" if number else "rb", closefd=False)  # noqa: SIM115
        lines, through = number == 2 or raw.isatty(), number > 0 and unbuffered
        setattr(sys, name, io.TextIOWrapper(raw, old.encoding, old.errors, None, lines, through))
    import numpy as np

    np.random.seed()  # as in each process; what other states of chance there are see to it themselves
    sys.orig_argv[:] = request.words
    words = words[words[:1] == ["-u"] :]
    is_module = words[0] == "-m"
    sys.argv[:] = words[is_module:]
    places = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    here = request.folder if is_module else str(Path(words[0]).resolve().parent)
    sys.path[:0] = [here, *(place for place in places if place not in sys.path)]
    importlib.invalidate_caches()
    if is_module:
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")


def main() -> None:
    """Be an origin, until nobody can ask any more."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    del sys.path[0]  # the tests' folder
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the program does before it imports PyTorch
    subprocess.Popen = Program  # type: ignore[misc]
    for module in IMPORTED:
        importlib.import_module(module)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        sys.exit("programs are not forked: what they import starts threads")
    channel.send(b"ready")
    gc.collect()
    gc.freeze()
    become(*serve(channel))


if __name__ == "__main__":
    main()
