"""What a training says while it runs: a progress bar on a terminal, plain lines elsewhere; nothing on other ranks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.columns import Columns
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from translatekit.errors import Stopped
from translatekit.storage import write_atomically
from translatekit.terminal import stderr
from translatekit.training.diagnosis import read_entries
from translatekit.training.loggers import Loggers, make_loggers, options_of
from translatekit.training.report.page import write_index

if TYPE_CHECKING:
    from translatekit.training.schedule import Plan
    from translatekit.training.state import Training


class LossesBelow(Progress):
    """A bar as wide as the terminal, and the losses below it in as many lines as they need."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn; a task's field ``losses`` holds a text each."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Columns([Text(loss, style="dim") for loss in task.fields["losses"]], padding=(0, 2))


class Report:
    """Where a training reports to; this one goes nowhere, as on every rank but the first.

    Steps and epochs are counted as in `translatekit.training.state.Progress`.
    """

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, text: str) -> None:
        """A sentence for the user."""

    def show(self, command: str) -> None:
        """What the user may type next."""

    def step(self, step: int, epoch: int) -> None:
        """A step is done."""

    def train(self, step: int, epoch: int, values: Mapping[str, float], lr: float, rate: float) -> None:
        """Log the means of losses and accuracies since the last time, and images a second."""

    def validation(self, step: int, epoch: int, metrics: Mapping[str, float], unit: str = "") -> None:
        """Log what the validation images, whose values are in a unit, gave."""

    def samples(self, step: int, epoch: int, grid: Any, diversity: Mapping[str, float]) -> None:
        """Keep a grid of sample images (a PIL image), and log how unlike each other the outputs are."""

    def memorization(self, step: int, epoch: int, shares: Mapping[str, float]) -> None:
        """Log how far the discriminators have memorized their images."""

    def roles(self, step: int, epoch: int, roles: Mapping[str, str]) -> None:
        """Note what the losses are, for what is said of a run's troubles."""

    def event(self, step: int, epoch: int, text: str) -> None:
        """Note something that happened, and say it."""

    def failure(self, step: int, epoch: int, loss: str, value: float) -> None:
        """Note the loss that ended the run because it was no number."""

    def page(self) -> None:
        """Bring the run's page up to date."""


def make_report(training: Training, plan: Plan) -> Report:
    """Rank 0 reports."""
    if not training.fabric.is_global_zero:
        return Report()
    folder, step = training.folder, training.progress.step
    loggers = Loggers(
        make_loggers(training.options),
        folder,
        name=Path(training.keeper.place).name,
        options=options_of(training.config),
        step=step,
    )
    return Reporter(folder, plan.total, step, plan.epochs, loggers)


class Reporter(Report):
    """Writes metrics.jsonl, the page and the terminal, and tells the loggers.

    Args:
        folder: the run's.
        total_steps: of the whole run.
        done_steps: those of the run that were done before it was resumed.
        epochs: of the whole run.
        loggers: where figures and samples go beside; none where it is None.
    """

    def __init__(
        self, folder: Path, total_steps: int, done_steps: int, epochs: int, loggers: Loggers | None = None
    ) -> None:
        self.console = stderr()
        self.folder = folder
        self.epochs = epochs
        log = folder / "metrics.jsonl"
        times = [entry.get("seconds") for entry in read_entries(log)]
        earlier = [seconds for seconds in times if isinstance(seconds, (int, float))]
        self._clock_start = time.monotonic() - max(earlier, default=0.0)
        self._metrics = log.open("a", encoding="utf-8")
        self._loggers = loggers or Loggers({}, folder, name=folder.name, options={}, step=done_steps)
        self._progress: Progress | None = None
        if self.console.is_terminal:
            self._progress = LossesBelow(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:.1f} images/s"),
                TimeRemainingColumn(),
                console=self.console,
                expand=True,
            )
            self._task = self._progress.add_task(
                "training", total=total_steps, completed=done_steps, epoch=f"1/{epochs}", rate=0.0, losses=()
            )
        self._total, self._start, self._done = total_steps, time.monotonic(), done_steps

    def __enter__(self) -> Reporter:
        if self._progress:
            self._progress.start()
        self._loggers.begin(self.say)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()
        self._metrics.close()
        self._loggers.finish(
            "finished" if error is None else "stopped" if isinstance(error, Stopped) else "failed"
        )

    def say(self, text: str) -> None:
        """A sentence for the user, which breaks between words."""
        self.console.print(text, soft_wrap=not self.console.is_terminal)

    def show(self, command: str) -> None:
        """What the user may type next, on one line, however long, so that it can be copied."""
        self.console.print(f"  {command}", soft_wrap=True)

    def step(self, step: int, epoch: int) -> None:
        """Move the bar."""
        if self._progress:
            self._progress.update(self._task, completed=step, epoch=f"{epoch + 1}/{self.epochs}")

    def train(self, step: int, epoch: int, values: Mapping[str, float], lr: float, rate: float) -> None:
        """Log the means of losses and accuracies since the last time, and images a second."""
        losses = {name: value for name, value in values.items() if not name.startswith("accuracy")}
        accuracy = {
            name[len("accuracy_") :]: value for name, value in values.items() if name.startswith("accuracy")
        }
        self._write(
            kind="train",
            step=step,
            epoch=epoch,
            losses=losses,
            accuracy=accuracy,
            lr=lr,
            images_per_second=rate,
        )
        speed = {"lr": lr, "images_per_second": rate}
        self._loggers.scalars(
            step,
            {
                **_named("loss", losses),
                **_named("accuracy", accuracy),
                **_named("speed", speed),
                "epoch": epoch,
            },
        )
        texts = [f"{name} {value:.3f}" for name, value in losses.items()]
        if self._progress:
            self._progress.update(self._task, rate=rate, losses=texts)
        else:
            left = (time.monotonic() - self._start) / max(step - self._done, 1) * (self._total - step)
            self.say(
                f"epoch {epoch + 1}/{self.epochs} step {step}/{self._total} "
                f"{rate:.1f} images/s {_clock(left)} left: {' '.join(texts)}"
            )

    def validation(self, step: int, epoch: int, metrics: Mapping[str, float], unit: str = "") -> None:
        """Log what the validation images, whose values are in a unit, gave."""
        self._write(
            kind="validation",
            step=step,
            epoch=epoch,
            metrics=dict(metrics),
            **({"unit": unit} if unit else {}),
        )
        self._loggers.scalars(step, _named("validation", metrics))
        text = " ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self.say(f"epoch {epoch + 1}/{self.epochs} validation: {text}")

    def samples(self, step: int, epoch: int, grid: Any, diversity: Mapping[str, float]) -> None:
        """Keep a grid of sample images (a PIL image), and log how unlike each other the outputs are."""
        folder = self.folder / "samples"
        folder.mkdir(exist_ok=True)
        file = folder / f"step-{step:08d}.png"
        grid.save(file)
        self._loggers.image(step, "samples", file)
        if diversity:
            self._write(kind="samples", step=step, epoch=epoch, diversity=dict(diversity))
            self._loggers.scalars(step, _named("diversity", diversity))

    def memorization(self, step: int, epoch: int, shares: Mapping[str, float]) -> None:
        """Log how far the discriminators have memorized their images."""
        self._write(kind="memorization", step=step, epoch=epoch, shares=dict(shares))
        self._loggers.scalars(step, _named("memorization", shares))

    def roles(self, step: int, epoch: int, roles: Mapping[str, str]) -> None:
        """Note what the losses are, where the method says so."""
        if roles:
            self._write(kind="roles", step=step, epoch=epoch, roles=dict(roles))

    def event(self, step: int, epoch: int, text: str) -> None:
        """Note something that happened, and say it."""
        self._write(kind="event", step=step, epoch=epoch, text=text)
        self.console.print(text, soft_wrap=True)

    def failure(self, step: int, epoch: int, loss: str, value: float) -> None:
        """Note the loss that ended the run because it was no number."""
        self._write(kind="failure", step=step, epoch=epoch, loss=loss, value=str(value))

    def page(self) -> None:
        """Bring ``index.html`` up to date."""
        write_index(self.folder)

    def _write(self, **entry: Any) -> None:
        # Of training, the time between two sessions left out: the pages draw curves over it.
        entry["seconds"] = round(time.monotonic() - self._clock_start, 3)
        self._metrics.write(json.dumps(entry) + "\n")
        self._metrics.flush()


def _named(family: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{family}/{name}": value for name, value in values.items()}


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def truncate_log(folder: Path, step: int) -> None:
    """Drop what a run logged beyond a step: the resumed run will do those steps again."""
    path = folder / "metrics.jsonl"
    if path.exists():
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError):
                continue  # the line that was being written when the run was killed
        write_atomically(path, "".join(kept).encode())
    for sample in (folder / "samples").glob("step-*.png"):
        if int(sample.stem.removeprefix("step-")) > step:
            sample.unlink()
