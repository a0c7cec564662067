"""What every logger must keep (see `translatekit.interfaces.Logger`)."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from translatekit.interfaces import LoggedRun, Outcome
from translatekit.options import check_options
from translatekit.testing.contracts import ContractError, NotApplicableError, Subject, require
from translatekit.testing.networks import check_documented_options, check_unknown_option

OPTIONS: dict[str, bool | int | float | str] = {
    "method": "pix2pix",
    "data": "none",
    "lr": 2e-4,
    "epochs": 3,
    "flip": True,
    "generator_options.depth": 5,
    "range": "A=-1024..3071,B=1%..99%",
}
VALUES = {
    "loss/G_L1": 0.5,
    "accuracy/real": 1,
    "diversity/A → B (Ü)": 0.25,
    "loss/D": math.nan,
    "D": math.inf,
}


def options(subject: Subject) -> None:
    """Its options have annotations and defaults, and none is swallowed."""
    check_documented_options(subject, subject.spec.load(), ())
    check_unknown_option(subject, lambda given: _make(subject, given))


def quiet_start(subject: Subject) -> None:
    """Its constructor connects to nothing: it names no run yet."""
    logger = _made(subject)
    require(
        logger.key is None, f"{subject} has the key {logger.key!r} before it is started: set it in start()"
    )
    require(logger.where is None, f"{subject} says where a run is before it is started: set it in start()")


def records(subject: Subject) -> None:
    """It takes figures of any name and value and images, in a thread of its own, and prints nothing to stdout."""
    with _folder() as folder:
        _session(subject, folder, None, (1, 2), "finished")


def resumes(subject: Subject) -> None:
    """By its key, it goes on with the run that it began."""
    with _folder() as folder:
        began = _session(subject, folder, None, (1, 2), "stopped")
        require(began is None or isinstance(began, str), f"the key of {subject} is {began!r}, not a text")
        went_on = _session(subject, folder, began, (2, 3), "finished")
        require(
            went_on == began,
            f"{subject} was to go on with the run of the key {began!r}, and began one of {went_on!r}",
        )


def failures(subject: Subject) -> None:
    """It ends the session of a run that failed, too."""
    with _folder() as folder:
        _session(subject, folder, None, (1,), "failed")


CONTRACTS = (options, quiet_start, records, resumes, failures)


def _make(subject: Subject, given: Any) -> Any:
    made = subject.spec.load()
    return made(**check_options(made, given, str(subject)))


def _made(subject: Subject) -> Any:
    if subject.spec.missing():
        raise NotApplicableError(f"{subject} needs {' '.join(subject.spec.missing())}")
    return _make(subject, subject.options)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A run's folder with what one ends with."""
    from PIL import Image

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name) / "run"
        (folder / "samples").mkdir(parents=True)
        for step in (1, 2, 3):
            Image.new("RGB", (32, 24), (40 * step, 0, 0)).save(folder / "samples" / f"step-{step:08d}.png")
        (folder / "config.toml").write_text('method = "pix2pix"\n', encoding="utf-8")
        (folder / "model.safetensors").write_bytes(bytes(16))
        yield folder


def _session(
    subject: Subject, folder: Path, key: str | None, steps: tuple[int, ...], outcome: Outcome
) -> str | None:
    logger = _made(subject)
    run = LoggedRun(
        folder=folder,
        own=folder / "loggers" / subject.spec.name,
        name=folder.name,
        options=OPTIONS,
        step=0 if key is None else steps[0] - 1,
        key=key,
    )

    def work() -> None:
        logger.start(run)
        for step in steps:
            logger.scalars(step, VALUES)
            logger.image(step, "samples", folder / "samples" / f"step-{step:08d}.png")
        logger.finish(outcome)

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        _in_a_thread(subject, work)
    require(
        not printed.getvalue().strip(),
        f"{subject} prints {printed.getvalue().strip()[:100]!r} to stdout: say it on stderr, or not at all",
    )
    found: str | None = logger.key
    return found


def _in_a_thread(subject: Subject, work: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        reason = " ".join(f"{type(raised[0]).__name__}: {raised[0]}".split())
        raise ContractError(f"{subject} raised {reason}") from raised[0]
