"""The TensorRT backend: engines, as ``translatekit compile MODEL -o OUT.engine`` builds them.

Nothing here imports the full TensorRT or pycuda before a driver has been found: they crash without one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from translatekit.errors import OptionError
from translatekit_tools.backends.batches import check_batch, exact_dtypes, from_graph, graph_dtypes, to_graph
from translatekit_tools.backends.tensorrt.cuda.device import driver
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu, find_gpu
from translatekit_tools.backends.tensorrt.engine_file import (
    EngineHeader,
    check_gpu,
    check_tensorrt,
    read_engine,
    read_header,
)
from translatekit_tools.backends.tensorrt.flavour import FLAVOURS, use
from translatekit_tools.backends.tensorrt.profiles import choose_profile
from translatekit_tools.backends.tensorrt.rebuild import fit_engine
from translatekit_tools.backends.tensorrt.worker import WorkerThread

if TYPE_CHECKING:
    from translatekit_tools.backends.tensorrt.session import InFlight, Session


class BatchFuture:
    """The result of a batch that was submitted to the GPU."""

    def __init__(
        self,
        worker: WorkerThread[Session],
        parts: list[Future[InFlight]],
        empty: np.ndarray,
        finish: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self._worker = worker
        self._parts = parts
        self._finish = finish
        self._result = finish(empty) if not parts else None

    def result(self) -> np.ndarray:
        """Wait for the batch and return it, as `TensorRTTranslator.__call__` does.

        Raises:
            TranslatekitError: it could not be translated.
        """
        if self._result is None:
            finished = [self._worker.submit(partial(_finish, part)) for part in self._parts]
            results = [future.result() for future in finished]
            self._result = self._finish(results[0] if len(results) == 1 else np.concatenate(results))
            self._parts.clear()
        return self._result


class TensorRTTranslator:
    """A `translatekit.interfaces.Translator` that runs an engine.

    One worker thread does everything on the GPU. So it may be called from any thread, one at a time, and be garbage
    collected in any.

    Attributes:
        info: the model file's header.
        device: where it runs, such as ``cuda:0``.
        preferred_batch: images a batch that the engine was tuned for.
        dtypes: of the arrays that it takes without a loss.
    """

    def __init__(self, plan: bytes, header: EngineHeader, path: Path, gpu: Gpu) -> None:
        """Load an engine onto a GPU.

        Raises:
            ModelFileError: TensorRT does not load it.
        """
        from translatekit_tools.backends.tensorrt.session import open_session

        self.info = header.info
        self.dtypes = exact_dtypes(header.info)
        self.device = f"cuda:{gpu.index}"
        self.preferred_batch = header.profiles[0].optimum[0]
        self._profiles = header.profiles
        self._rebuild = header.rebuild(path)
        make = partial(open_session, plan, header.profiles, self._rebuild, gpu, graph_dtypes(header.info))
        self._worker: WorkerThread[Session] = WorkerThread(make, "translatekit-tensorrt")

    def submit(self, batch: np.ndarray) -> BatchFuture:
        """Start to translate a batch and return without waiting for it.

        Up to three batches are in flight at a time, one uploaded, one computed, one downloaded; with more, the
        oldest is waited for first. Batches are computed in the order of their submission.

        Args:
            batch: as for `__call__`; not to be changed before the future's `result` is there.

        Raises:
            DataError: the engine takes no such arrays, or their sides are no multiples of what the network needs.
        """
        check_batch(batch, self.info)
        dtype, batch = batch.dtype, to_graph(batch, self.info)
        _, height, width, _ = batch.shape
        profile = self._profiles[choose_profile(self._profiles, height, width, self._rebuild)]
        max_batch = profile.maximum[0]
        parts = [
            self._worker.submit(partial(_start, batch[first : first + max_batch]))
            for first in range(0, len(batch), max_batch)
        ]
        empty = np.empty((0, height, width, self.info.output.count), graph_dtypes(self.info)[1])
        return BatchFuture(self._worker, parts, empty, partial(from_graph, dtype=dtype, info=self.info))

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch, as `translatekit.interfaces.Translator` says.

        N may be anything: more than the engine takes at once go in turns. An engine of uint8 takes and gives 8 bits a
        channel, so that float32 levels come out in steps of 1/255.

        Raises:
            DataError: the batch is not of such a shape, or too large for the memory.
        """
        return self.submit(batch).result()

    def close(self) -> None:
        """Free the GPU's memory now; the translator cannot be used any more."""
        self._worker.close()


def load(path: Path, device: str = "auto", precision: str | None = None) -> TensorRTTranslator:
    """Open an ``.engine`` file: a `translatekit.interfaces.Backend`.

    Args:
        path: the engine, with its ``.engine.json`` beside it.
        device: ``auto``, ``cuda`` or ``cuda:1``.
        precision: None, or the one the engine was built with.

    Raises:
        ModelFileError: the JSON file is missing or belongs to another engine, or the engine to another GPU or
            another version of TensorRT.
        OptionError: there is no driver, no such device, or the engine has another precision.
        PluginError: TensorRT, or both cuda-bindings and pycuda, cannot be imported.
    """
    header = read_header(path)
    if precision not in (None, header.precision):
        raise OptionError(
            f"{path} was built for {header.precision}, not {precision}: leave out --precision, "
            f"or build another with translatekit compile {header.source} -o OUT.engine --precision {precision}"
        )
    plan = read_engine(path, header)
    gpu = find_gpu(device)
    if header.targets:
        version = use(FLAVOURS[header.flavour])
        plan, header = fit_engine(path, plan, header, gpu.compute_capability, version)
        check_gpu(path, header, gpu)
    else:
        check_gpu(path, header, gpu)
        version = use(FLAVOURS[header.flavour])
    check_tensorrt(path, header, version)
    driver()  # says what is missing, before a thread is started
    return TensorRTTranslator(plan, header, path, gpu)


def _start(batch: np.ndarray, session: Session) -> InFlight:
    return session.start(batch)


def _finish(part: Future[InFlight], session: Session) -> np.ndarray:
    return session.finish(part.result())  # there already, as the thread takes its tasks in order
