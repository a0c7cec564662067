"""Training on a Ray cluster: Ray Train starts the processes, and starts them again where one of them is lost."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from translatekit.errors import OptionError, StorageError, TrainingError, TranslatekitError
from translatekit.requirements import require
from translatekit.storage import open_source
from translatekit_tools.scale.cluster import RAY_PACKAGES, Demand, connected
from translatekit_tools.scale.options import Workers

RAY_TRAIN = (*RAY_PACKAGES, "pyarrow=translatekit[ray]")

_VAIN = 3  # times that the processes are started again without a step more
_PLACES = {"-o", "--output", "--resume"}
_POLL = 0.2  # seconds between two looks for what the processes say


class Board:
    """What the processes tell the driver: lines to print, and why a training cannot go on. A Ray actor holds it.

    Attributes:
        refusals: sentences, by rank; with one, nothing is started again.
    """

    def __init__(self) -> None:
        self.refusals: dict[int, str] = {}
        self._lines: list[tuple[str, str]] = []
        self._starts: list[int] = []

    def say(self, stream: str, text: str) -> None:
        """Text that a process has written."""
        self._lines.append((stream, text))

    def take(self) -> list[tuple[str, str]]:
        """What was said since the last time."""
        lines, self._lines = self._lines, []
        return lines

    def refuse(self, rank: int, sentence: str) -> None:
        """Say why a process cannot train."""
        self.refusals.setdefault(rank, sentence)

    def refused(self) -> dict[int, str]:
        """Why processes cannot train."""
        return self.refusals

    def start(self, step: int) -> int:
        """Note that the processes start from a step; how many times they did so before.

        A training that is lost again and again without a step more is refused.
        """
        self._starts.append(step)
        if self._starts[-_VAIN - 1 :].count(step) > _VAIN:
            self.refuse(
                0, f"a process was lost {_VAIN + 1} times at step {step}: see Ray's logs for what ends it"
            )
        return len(self._starts) - 1


def train_on(address: str, processes: Workers | None, arguments: Sequence[str]) -> None:
    """Run ``translatekit train`` on the processes of a cluster, and print what they say.

    A process or node that is lost costs the time since the last checkpoint: all are started again, on as many devices
    as there are then.

    Args:
        address: ``ray``, or ``ray://HOST:PORT``.
        processes: how many, one a device; as many as the cluster has devices when not given.
        arguments: of ``translatekit train``, with a ``-o`` or a ``--resume`` that every node can reach.

    Raises:
        OptionError: the run's place is not named, or the cluster has no room.
        TrainingError: the training cannot go on.
        TranslatekitError: whatever the training refuses.
    """
    require("training on a Ray cluster", RAY_TRAIN)
    arguments = [part for each in arguments for part in _parted(each)]
    if not _flags(arguments) & _PLACES:
        raise OptionError(
            "a training on a cluster needs a place that all of its nodes can reach: pass -o with a shared folder or an "
            "address, or --resume"
        )
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with connected(address) as cluster:
        demand = Demand(cpus=1, gpus=1 if cluster.has_gpus() else 0)
        room = cluster.room(demand)
        wanted = processes or Workers(max(room, 1), max(room, 1))
        if cluster.is_local and wanted.minimum > room:
            raise OptionError(
                f"--processes {wanted.minimum} is more than {cluster.name} has room for: {cluster.describe(demand)}"
            )
        _fit(cluster.ray, wanted, demand, list(arguments))


def _fit(ray: Any, wanted: Workers, demand: Demand, arguments: list[str]) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    board = ray.remote(num_cpus=0)(Board).remote()
    request = {"arguments": arguments, "folder": str(Path.cwd()), "board": board}
    many: Any = wanted.minimum if wanted.minimum == wanted.maximum else (wanted.minimum, wanted.maximum)
    with tempfile.TemporaryDirectory() as folder, _printing(ray, board):
        trainer = TorchTrainer(
            _train,
            train_loop_config=request,
            scaling_config=ScalingConfig(num_workers=many, use_gpu=bool(demand.gpus)),
            run_config=RunConfig(
                name="translatekit", storage_path=folder, failure_config=FailureConfig(max_failures=-1)
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(f"the training on the cluster ended ({reason}): run the same again") from None
    refused = ray.get(board.refused.remote())
    if refused:
        raise TrainingError(refused[min(refused)])


@contextlib.contextmanager
def _printing(ray: Any, board: Any) -> Iterator[None]:
    """Print what the processes say."""
    done = threading.Event()

    def show() -> None:
        for stream, text in ray.get(board.take.remote()):
            print(text, end="", file=sys.stdout if stream == "out" else sys.stderr, flush=True)

    def watch() -> None:
        while not done.wait(_POLL):
            show()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        show()


# --- in a process of the cluster -----------------------------------------------------------------------------------


def _train(request: dict[str, Any]) -> None:
    """Train as one rank of all, with the variables that torchrun would set."""
    import click
    import ray
    import torch.distributed

    from translatekit.cli.train import train
    from translatekit.training.processes import ProcessError

    board, arguments = request["board"], list(request["arguments"])
    context = ray.train.get_context()
    rank = context.get_world_rank()
    os.environ.update(
        TORCHELASTIC_RUN_ID="ray",
        RANK=str(rank),
        WORLD_SIZE=str(context.get_world_size()),
        LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
        GROUP_RANK=str(context.get_node_rank()),
    )
    if Path(request["folder"]).is_dir():
        os.chdir(request["folder"])
    decided: list[tuple[int, dict[int, str]]] = [(0, {})]
    if rank == 0:
        decided = [(ray.get(board.start.remote(_newest_step(arguments))), ray.get(board.refused.remote()))]
    torch.distributed.broadcast_object_list(decided)
    restarted, refused = decided[0]
    if refused:
        return
    if restarted and not {"--autoresume", "--resume"} & _flags(arguments):
        arguments.append("--autoresume")
    with contextlib.redirect_stderr(_told(board, "err")), contextlib.redirect_stdout(_told(board, "out")):
        try:
            train.main(arguments, prog_name="translatekit train", standalone_mode=False)
        except ProcessError:
            raise  # Ray starts all of them again
        except (TranslatekitError, click.ClickException) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            ray.get(board.refuse.remote(rank, message))
            os._exit(1)  # so that the others, which may wait for this one, end as well


class _Told(io.RawIOBase):
    """A stream whose text goes to the board."""

    def __init__(self, board: Any, stream: str) -> None:
        super().__init__()
        self._board, self._stream = board, stream

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Send it."""
        content = bytes(data)
        self._board.say.remote(self._stream, content.decode(errors="surrogateescape"))
        return len(content)


def _told(board: Any, stream: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        cast("BinaryIO", _Told(board, stream)),
        encoding="utf-8",
        errors="surrogateescape",
        write_through=True,
    )


def _parted(argument: str) -> list[str]:
    """``-oPLACE`` as two arguments; any other as it is."""
    written_together = argument.startswith("-o") and argument != "-o"
    return ["-o", argument[2:]] if written_together else [argument]


def _flags(arguments: Sequence[str]) -> set[str]:
    return {each.partition("=")[0] for each in arguments}


def _newest_step(arguments: Sequence[str]) -> int:
    """The step that a run would go on from; -1 where there is none yet."""
    place = ""
    for flag, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = flag.partition("=")
        if name in _PLACES:
            place = value if equals else following
    try:
        names = [item.name for item in open_source(place).list("checkpoints/")]
    except StorageError:  # there is no such folder yet
        return -1
    steps = [Path(name).stem.removeprefix("step-") for name in names if name.endswith(".pt")]
    return max((int(step) for step in steps if step.isdecimal()), default=-1)
