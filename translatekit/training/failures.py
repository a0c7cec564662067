"""How a run ends that cannot go on: in a sentence, leaving nothing behind that says nothing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from shutil import rmtree

import torch

from translatekit.config import holds_run
from translatekit.errors import OptionError, TrainingError, TranslatekitError
from translatekit.networks.layers import SidesError
from translatekit.storage import folder_for_results, held, is_uri, write_atomically
from translatekit.training.loggers import KEYS
from translatekit.training.losses import LossError
from translatekit.training.progress import Report
from translatekit.training.remote import OWN_FILES
from translatekit.training.state import Training

_PATIENCE = 10.0  # seconds, while the readers of a run that was killed end


@contextmanager
def explaining_errors(folder: Path, place: str) -> Iterator[None]:
    """What a user's machine or images refuse, in a sentence.

    Args:
        folder: of the run, on this machine.
        place: of the run, as people may type it.

    Raises:
        TrainingError: a full disk, too little memory, or a reading process that was killed.
        OptionError: images of a size that a network cannot take.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise TrainingError(
            f"the disk that holds {folder} is full: free some space, "
            f"then go on with translatekit train --resume {quote(place)}"
        ) from None
    except SidesError as error:
        raise OptionError(
            f"{error.problem}: pass --crop-size {error.size}, with a --load-size of no less, or other -G options"
        ) from None
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the memory of the device is too small ({str(error).splitlines()[0]}): pass a smaller --batch-size or "
            "--crop-size, narrower networks (-G width=32), or --precision bf16"
        ) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            "a process that reads images was killed, mostly for lack of memory, or of shared memory in a container "
            "(docker run --shm-size): pass fewer --workers, then go on with "
            f"translatekit train --resume {quote(place)}"
        ) from None


@contextmanager
def removing_if_refused(training: Training) -> Iterator[None]:
    """Begin a run in its folder, which this process holds, and leave nothing there if it is refused before a step.

    So is one for which the device's memory is too small: it starts anew with other options, never by ``--resume``.

    Raises:
        TrainingError: another process has trained a run there since the folder was chosen.
    """
    if not training.fabric.is_global_zero:
        yield
        return
    folder, place = training.folder, training.keeper.place
    if not is_uri(place) and holds_run(folder):
        raise TrainingError(
            f"another process has begun a run in {place} meanwhile: start again, or choose another folder with -o"
        )
    training.keeper.start()
    write_atomically(folder / "config.toml", training.config.to_toml().encode())
    try:
        yield
    except (TranslatekitError, torch.OutOfMemoryError, KeyboardInterrupt):
        if training.progress.step == 0:
            for name in ("config.toml", "metrics.jsonl", "index.html", "events.out.tfevents.*"):
                for path in folder.glob(name):
                    path.unlink()
            (folder / KEYS).unlink(missing_ok=True)
            rmtree(folder / OWN_FILES, ignore_errors=True)
        raise


@contextmanager
def alone_in_its_folder(training: Training) -> Iterator[None]:
    """Let no other process train the same run on this machine meanwhile: both would write the same files.

    The folder is made where it is missing, and only kept where something has come into it.

    Raises:
        TrainingError: one does, or the folder cannot be made.
    """
    if not training.fabric.is_global_zero:
        yield
        return
    folder = training.folder
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_for_results(folder))
        except OSError as error:
            raise TrainingError(
                f"the folder {folder} cannot be made ({error.strerror}): choose another with -o"
            ) from None
        if not stack.enter_context(held(folder, _PATIENCE)):
            raise TrainingError(
                f"another process trains {training.keeper.place} at this moment: wait for its end, or stop it first"
            )
        yield


@contextmanager
def logging_failure(training: Training, report: Report) -> Iterator[None]:
    """Leave in the log what ended the run, for its page to explain."""
    try:
        yield
    except LossError as error:
        report.failure(error.step, training.progress.epoch, error.name, error.value)
        report.page()
        raise
