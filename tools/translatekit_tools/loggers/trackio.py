"""Trackio (https://github.com/gradio-app/trackio): on this machine, or in a Hugging Face Space."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from translatekit.interfaces import LoggedRun, Outcome
from translatekit_tools.loggers.common import PROJECT, Upload, files_to_upload


class Trackio:
    """Logs to Trackio, whose files lie where TRACKIO_DIR says.

    Args:
        project: the runs' group there.
        name: of the run; its folder's and a few letters when not given, since a name is how Trackio finds a run again.
        space: a Hugging Face Space, such as ``name/experiments``, to log to instead of this machine.
        upload: what goes there at the end: ``none``, ``model`` or ``run``.
    """

    def __init__(
        self,
        project: str = PROJECT,
        name: str | None = None,
        space: str | None = None,
        upload: Upload = "none",
    ) -> None:
        import trackio

        self._trackio = trackio
        self._project, self._name, self._space, self._upload = project, name, space, upload
        self.key: str | None = None
        self.where: str | None = None

    def start(self, run: LoggedRun) -> None:
        """Begin a run, or go on with one."""
        self._folder = run.folder
        self.key = run.key or self._name or f"{run.name}-{uuid.uuid4().hex[:6]}"
        with _without_prints():
            self._run = self._trackio.init(
                project=self._project,
                name=self.key,
                space_id=self._space,
                config=dict(run.options),
                resume="never" if run.key is None else "allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.where = (
            f"trackio show --project {self._project}"
            if self._space is None
            else f"https://huggingface.co/spaces/{self._space}"
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures."""
        self._run.log(dict(values), step=step)

    def image(self, step: int, name: str, file: Path) -> None:
        """Log an image."""
        self._run.log({name: self._trackio.Image(str(file))}, step=step)

    def finish(self, outcome: Outcome) -> None:
        """Upload what was asked for, and wait until all is written."""
        files = files_to_upload(self._folder, self._upload) if outcome == "finished" else []
        if files:
            artifact = self._trackio.Artifact(f"{self._upload}-{self.key}", type=self._upload)
            for path in files:
                artifact.add_file(path, name=path.relative_to(self._folder).as_posix())
            self._run.log_artifact(artifact)
        with _without_prints():
            self._run.finish()


class _Others(io.TextIOBase):
    """What takes the place of stdout for a while: text of one thread goes nowhere, that of others through."""

    def __init__(self, through: Any) -> None:
        self._through, self._thread = through, threading.get_ident()

    def write(self, text: str) -> int:
        """Write, unless it is the silent thread's."""
        return len(text) if threading.get_ident() == self._thread else self._through.write(text)

    def flush(self) -> None:
        """Flush what lies behind."""
        self._through.flush()


@contextlib.contextmanager
def _without_prints() -> Iterator[None]:
    """Trackio prints what it does, and stdout is for the results of a command."""
    with contextlib.redirect_stdout(_Others(sys.stdout)):
        yield
