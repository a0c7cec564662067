"""MLflow (https://mlflow.org): a tracking server, or a database on this machine."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from translatekit.interfaces import LoggedRun, Outcome
from translatekit_tools.loggers.common import PROJECT, Upload, files_to_upload, without_password

_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_PARAMETERS = 100  # that MLflow takes at once
_LONGEST = 6000  # characters of a value


class MLflow:
    """Logs to MLflow.

    Args:
        uri: of the tracking server or database, such as ``http://host:5000``; MLFLOW_TRACKING_URI when not given, else
            MLflow's own default.
        experiment: the runs' group there.
        name: of the run; its folder's when not given.
        upload: what goes there at the end: ``none``, ``model`` or ``run``.
    """

    def __init__(
        self,
        uri: str | None = None,
        experiment: str = PROJECT,
        name: str | None = None,
        upload: Upload = "none",
    ) -> None:
        from mlflow import MlflowClient, entities, get_tracking_uri

        self._client, self._entities = MlflowClient, entities
        self._uri = without_password(
            uri, "mlflow", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) or str(get_tracking_uri())
        self._experiment, self._name, self._upload = experiment, name, upload
        self.key: str | None = None
        self.where: str | None = None

    def start(self, run: LoggedRun) -> None:
        """Begin a run with its options, or go on with one."""
        client = self._client(tracking_uri=self._uri)
        self._folder = run.folder
        if run.key is not None:
            client.update_run(run.key, status="RUNNING")
            self._run = run.key
        else:
            self._run = self._create(client, run)
        self._now, self.key = client, self._run
        if self._uri.startswith("http"):
            experiment = client.get_run(self._run).info.experiment_id
            self.where = f"{self._uri.rstrip('/')}/#/experiments/{experiment}/runs/{self._run}"
        else:
            self.where = f"mlflow ui --backend-store-uri {self._uri}"

    def _create(self, client: object, run: LoggedRun) -> str:
        from mlflow import MlflowClient

        assert isinstance(client, MlflowClient)
        known = client.get_experiment_by_name(self._experiment)
        experiment = known.experiment_id if known else client.create_experiment(self._experiment)
        tags = {"translatekit.folder": str(run.folder)}
        made = str(client.create_run(experiment, run_name=self._name or run.name, tags=tags).info.run_id)
        parameters = [
            self._entities.Param(_allowed(name), str(value)[:_LONGEST]) for name, value in run.options.items()
        ]
        for first in range(0, len(parameters), _PARAMETERS):
            client.log_batch(made, params=parameters[first : first + _PARAMETERS])
        return made

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures."""
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(_allowed(name), value, now, step) for name, value in values.items()]
        self._now.log_batch(self._run, metrics=metrics)

    def image(self, step: int, name: str, file: Path) -> None:
        """Log an image."""
        from PIL import Image

        with Image.open(file) as image:
            self._now.log_image(self._run, image.convert("RGB"), key=_allowed(name), step=step)

    def finish(self, outcome: Outcome) -> None:
        """Upload what was asked for, and say how the run ended."""
        if outcome == "finished":
            for path in files_to_upload(self._folder, self._upload):
                inside = path.parent.relative_to(self._folder).as_posix()
                self._now.log_artifact(self._run, str(path), None if inside == "." else inside)
        self._now.set_terminated(self._run, _STATUS[outcome])


def _allowed(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)
