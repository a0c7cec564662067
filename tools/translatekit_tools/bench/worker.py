"""A process that measures one model file, so that its memory is its own and no other runtime's threads are beside it.

Reads a JSON object a line from stdin and answers each with one on stdout: ``{"do": "load"}`` first, then
``end_to_end``, ``record`` and ``alone``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

from translatekit.errors import TranslatekitError, TranslatekitWarning
from translatekit.precision import torch_speeds

_IN_FLIGHT = 3


class Recorder:
    """A translator that also keeps the batches that it was given."""

    def __init__(self, translator: Any) -> None:
        self._translator = translator
        self.info = translator.info
        self.batches: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name == "submit":  # one batch at a time is enough to record
            raise AttributeError(name)
        return getattr(self._translator, name)

    def __call__(self, batch: Any) -> Any:
        """Translate a batch (N, H, W, C)."""
        self.batches.append(batch.copy())
        return self._translator(batch)


class Measurement:
    """One model on one folder of files.

    Attributes:
        translator: the loaded model.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        import translatekit
        from translatekit.inference.passes import with_passes

        if request["model"].endswith(".safetensors") and request["precision"] == "bf16":
            torch_speeds()  # measures once, which is no part of opening a model
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", TranslatekitWarning)
            loaded = translatekit.load(
                request["model"], request["device"], request["precision"], backend=request["backend"]
            )
            self.translator = with_passes(loaded, request.get("passes"))
        self.load_seconds = time.perf_counter() - start
        self.notes = [str(item.message) for item in said if issubclass(item.category, TranslatekitWarning)]
        self.files = Path(request["files"])
        self.options = {"batch_size": request["batch_size"]}
        self.batches: list[Any] = []
        self.recorded = 0

    def end_to_end(self) -> dict[str, Any]:
        """From files to files, the model already loaded."""
        return self._translate(self.translator)

    def record(self) -> dict[str, Any]:
        """The same, and keep the batches for `alone`."""
        recorder = Recorder(self.translator)
        answer = self._translate(recorder)
        self.batches, self.recorded = recorder.batches, answer.get("translated", 0)
        return answer

    def alone(self) -> dict[str, Any]:
        """The recorded batches through the translator, and nothing else; a file counts once, however many it holds."""
        submit = getattr(self.translator, "submit", None)
        start = time.perf_counter()
        if submit is None:
            for batch in self.batches:
                self.translator(batch)
        else:
            futures: deque[Any] = deque()
            for batch in self.batches:
                if len(futures) == _IN_FLIGHT:
                    futures.popleft().result()
                futures.append(submit(batch))
            for future in futures:
                future.result()
        return {"images_per_second": self.recorded / (time.perf_counter() - start)}

    def _translate(self, translator: Any) -> dict[str, Any]:
        from translatekit_tools.bulk import translate

        out = Path(tempfile.mkdtemp(prefix="out-", dir=self.files.parent))
        try:
            summary = translate(self.files, translator, out, **self.options)
            if summary.failed:
                path, reason = summary.failed[0]
                return {"error": f"{path}: {reason}"}
            return {
                "images_per_second": summary.images_per_second,
                "translated": summary.translated,
                "peak_memory": peak_memory(),
            }
        finally:
            shutil.rmtree(out, ignore_errors=True)


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # `getrusage` would count what the parent held when this process was made
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(fields["VmHWM"].split()[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not end up among the answers
    measurement: Measurement | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                measurement = Measurement(request)
                answer: dict[str, Any] = {
                    "load_seconds": measurement.load_seconds,
                    "notes": measurement.notes,
                }
            else:
                answer = getattr(measurement, request["do"])()
        except TranslatekitError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
