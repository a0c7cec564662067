"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from translatekit.interfaces import LoggedRun, Outcome


class TensorBoard:
    """Writes ``events.out.tfevents.*`` into the run's folder, where ``tensorboard --logdir runs`` finds them."""

    key: str | None = None
    where: str | None = None

    def __init__(self) -> None:
        from torch.utils import tensorboard

        self._make = tensorboard.SummaryWriter
        self._usual = threading.excepthook

    def start(self, run: LoggedRun) -> None:
        """Open a file; what an earlier session logged beyond the step that it goes on from is not shown."""
        threading.excepthook = self._of_thread
        self._writer = self._make(str(run.folder), purge_step=run.step + 1 if run.step else None)
        if not run.step:
            rows = "\n".join(f"| {name} | {value} |" for name, value in run.options.items())
            self._writer.add_text("options", f"| option | value |\n| --- | --- |\n{rows}", 0)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, file: Path) -> None:
        """Log an image."""
        import numpy as np
        from PIL import Image

        with Image.open(file) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def finish(self, outcome: Outcome) -> None:
        """Close the file."""
        try:
            self._writer.close()
        finally:
            threading.excepthook = self._usual

    def _of_thread(self, failure: threading.ExceptHookArgs) -> None:
        """Leave it to the next record to say that the thread which writes could not: there it is one sentence."""
        if not (
            isinstance(failure.exc_value, OSError)
            and type(failure.thread).__module__.startswith("tensorboard.")
        ):
            self._usual(failure)
