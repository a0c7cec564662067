"""Weights & Biases (https://wandb.ai): online, or offline, for ``wandb sync`` to send later."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Literal

from translatekit.errors import OptionError
from translatekit.interfaces import LoggedRun, Outcome
from translatekit_tools.loggers.common import PROJECT, Upload, files_to_upload


class WandB:
    """Logs to Weights & Biases.

    Args:
        project: the runs' group there.
        entity: the user or team; the account's own when not given.
        name: of the run; its folder's when not given.
        mode: ``offline`` writes files that ``wandb sync`` sends; WANDB_MODE when not given, else ``online``.
        upload: what goes there at the end: ``none``, ``model`` or ``run``.
    """

    def __init__(
        self,
        project: str = PROJECT,
        entity: str | None = None,
        name: str | None = None,
        mode: Literal["online", "offline"] | None = None,
        upload: Upload = "none",
    ) -> None:
        import wandb

        chosen = mode or os.environ.get("WANDB_MODE") or "online"
        if chosen == "online" and not wandb.login(prompt=False, verify=False):
            raise OptionError(
                "wandb knows no account on this machine: run wandb login, or pass --log-option wandb.mode=offline"
            )
        self._wandb, self._mode = wandb, chosen
        self._project, self._entity, self._name, self._upload = project, entity, name, upload
        self.key: str | None = None
        self.where: str | None = None

    def start(self, run: LoggedRun) -> None:
        """Begin a run, or go on with one."""
        self._folder = run.folder
        place = Path(os.environ.get("WANDB_DIR") or run.own)
        place.mkdir(parents=True, exist_ok=True)
        settings = self._wandb.Settings(
            silent=True, console="off", save_code=False, disable_git=True, disable_code=True
        )
        self.key = run.key or uuid.uuid4().hex[:12]
        self._run = self._wandb.init(
            project=self._project,
            entity=self._entity,
            name=self._name or run.name,
            id=self.key,
            resume="allow",
            reinit="create_new",  # whatever else this process logs
            mode=self._mode,  # type: ignore[arg-type]
            dir=str(place),
            config=dict(run.options),
            allow_val_change=True,
            settings=settings,
        )
        # W&B's own steps must never fall, and those of a run that was killed and resumed do.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")
        if self._mode == "offline":
            self.where = f"wandb sync {quote(str(Path(self._run.dir).parent))} sends the run"
        else:
            self.where = self._run.url

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures."""
        self._run.log({**values, "step": step})

    def image(self, step: int, name: str, file: Path) -> None:
        """Log an image."""
        self._run.log({name: self._wandb.Image(str(file)), "step": step})

    def finish(self, outcome: Outcome) -> None:
        """Upload what was asked for, and say how the run ended."""
        files = files_to_upload(self._folder, self._upload) if outcome == "finished" else []
        if files:
            artifact = self._wandb.Artifact(f"{self._upload}-{self.key}", type=self._upload)
            for path in files:
                artifact.add_file(str(path), name=path.relative_to(self._folder).as_posix())
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=1 if outcome == "failed" else 0)
