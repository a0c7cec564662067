"""An engine at work on a GPU. Import only where there is a driver: TensorRT's runtime crashes without."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from translatekit.errors import DataError, ModelFileError, StorageError
from translatekit.storage import writable_cache, write_atomically
from translatekit_tools.backends.tensorrt import log
from translatekit_tools.backends.tensorrt.cuda.device import Buffer, DeviceMemoryError, current_device, driver
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu
from translatekit_tools.backends.tensorrt.engine_file import hash_engine
from translatekit_tools.backends.tensorrt.flavour import RTX, library, title
from translatekit_tools.backends.tensorrt.profiles import Profile, choose_profile

if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = library()

INPUT, OUTPUT = "image", "translated"
IN_FLIGHT = 3
"""Batches at a time: one that is uploaded, one that is computed, one that is downloaded."""


class InFlight:
    """A batch in flight."""

    def __init__(self, slot: _Slot, images: int, shape: tuple[int, ...]) -> None:
        self.slot: _Slot | None = slot
        self.images = images
        self.shape = shape
        self.result: np.ndarray | None = None


class _Slot:
    """The memory of a batch in flight, and the events that mark how far it is."""

    def __init__(self) -> None:
        self.input, self.output = Buffer(), Buffer()
        self.uploaded, self.computed, self.downloaded = (driver().make_event() for _ in range(3))

    def free(self) -> None:
        self.input.free()
        self.output.free()
        del self.uploaded, self.computed, self.downloaded


class _RuntimeCacheRtx:
    """What TensorRT-RTX compiles for a GPU when an engine is first run, kept so that the next start is quick."""

    def __init__(self, engine: trt.ICudaEngine, path: Path) -> None:
        self._path = path
        self._config: trt.IRuntimeConfig = engine.create_runtime_config()
        self._cache: trt.IRuntimeCache = self._config.create_runtime_cache()
        self._before = b""
        with contextlib.suppress(OSError):
            self._before = path.read_bytes()
            self._cache.deserialize(self._before)  # it refuses what another GPU, driver or version wrote
        self._config.set_runtime_cache(self._cache)

    def create_context(self, engine: trt.ICudaEngine) -> trt.IExecutionContext | None:
        return engine.create_execution_context(self._config)

    def save(self) -> None:
        """Write down what has come since."""
        data = bytes(memoryview(self._cache.serialize()))
        if data and data != self._before:
            with contextlib.suppress(StorageError):  # the next start takes longer, that is all
                write_atomically(self._path, data, shared=True)


class Session:
    """A loaded engine with its streams and buffers; one thread makes it, uses it and closes it."""

    def __init__(
        self,
        plan: bytes,
        profiles: Sequence[Profile],
        rebuild: str,
        cache_path: Path | None = None,
        dtypes: tuple[str, str] = ("uint8", "uint8"),
    ) -> None:
        """Load an engine onto the current device.

        Args:
            plan: the engine.
            profiles: the shapes it takes.
            rebuild: the command that builds it, for errors.
            cache_path: where TensorRT-RTX's runtime keeps what it compiles for this GPU; None for nowhere.
            dtypes: of what it takes and gives, ``uint8`` or ``float32``.

        Raises:
            ModelFileError: TensorRT does not load it.
        """
        log.clear_errors()
        self._profiles = profiles
        self._rebuild = rebuild
        self._runtime: trt.Runtime | None = trt.Runtime(log.LOGGER)
        self._engine: trt.ICudaEngine | None = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise ModelFileError(f"TensorRT cannot load the engine ({log.reason()}): build it with {rebuild}")
        for name, dtype in zip((INPUT, OUTPUT), dtypes, strict=True):
            if self._engine.get_tensor_dtype(name) != _types()[dtype]:
                raise ModelFileError(
                    f"the engine's {name} is not {dtype}, as its header says: build it again with {rebuild}"
                )
        self._dtype, self._result_dtype = map(np.dtype, dtypes)
        self._runtime_cache = _RuntimeCacheRtx(self._engine, cache_path) if cache_path is not None else None
        self._context: trt.IExecutionContext | None = (
            self._engine.create_execution_context()
            if self._runtime_cache is None
            else self._runtime_cache.create_context(self._engine)
        )
        if self._context is None:
            raise ModelFileError(
                f"the engine does not fit into the GPU's memory ({log.reason()}): "
                f"close other programs, or build it for a smaller --batch than with {rebuild}"
            )
        self._upload, self._compute, self._download = (driver().make_stream() for _ in range(3))
        self._free = [_Slot() for _ in range(IN_FLIGHT)]
        self._in_flight: deque[InFlight] = deque()

    def start(self, batch: np.ndarray) -> InFlight:
        """Start a batch; returns as soon as its images are in pinned memory.

        With as many as `IN_FLIGHT` batches it waits for the oldest, whose result is kept.

        Args:
            batch: (N, H, W, C) of the dtype that it takes, N at most the largest of the profile.

        Raises:
            DataError: the engine takes no such images, or there is too little memory.
            ModelFileError: the engine does not run.
        """
        images, height, width, channels = batch.shape
        index = choose_profile(self._profiles, height, width, self._rebuild)
        count = max(images, self._profiles[index].minimum[0])
        if not self._free:
            self.finish(self._in_flight[0])
        slot = self._free.pop()
        try:
            work = self._start(slot, batch, (count, height, width, channels), index)
        except BaseException as error:
            self._synchronize()
            self._free.append(slot)
            if isinstance(error, DeviceMemoryError):
                raise DataError(
                    f"{images} of {width}x{height} pixels do not fit into the GPU's memory: "
                    "pass --size or a smaller --batch-size"
                ) from None
            raise
        self._in_flight.append(work)
        return work

    def _start(self, slot: _Slot, batch: np.ndarray, shape: tuple[int, ...], index: int) -> InFlight:
        context: trt.IExecutionContext | None = self._context
        assert context is not None
        log.clear_errors()
        if context.active_optimization_profile != index:
            self._compute.synchronize()  # what still runs belongs to the other profile
            if not context.set_optimization_profile_async(index, self._compute.handle):
                raise self._failure()
        if not context.set_input_shape(INPUT, shape):
            raise self._failure()
        result_shape = tuple(context.get_tensor_shape(OUTPUT))
        if min(result_shape) < 0:  # TensorRT does not know before it runs, so there would be no room for it
            raise self._failure()
        size = int(np.prod(shape)) * self._dtype.itemsize
        result_size = int(np.prod(result_shape)) * self._result_dtype.itemsize
        slot.input.reserve(size)
        slot.output.reserve(result_size)
        staged = slot.input.host(shape, self._dtype)
        staged[: len(batch)] = batch
        staged[len(batch) :] = 0  # an engine may have a least batch
        context.set_tensor_address(INPUT, slot.input.address)
        context.set_tensor_address(OUTPUT, slot.output.address)

        slot.input.upload(size, self._upload)
        slot.uploaded.record(self._upload)
        self._compute.wait_for_event(slot.uploaded)
        if not context.execute_async_v3(self._compute.handle):
            raise self._failure()
        slot.computed.record(self._compute)
        self._download.wait_for_event(slot.computed)
        slot.output.download(result_size, self._download)
        slot.downloaded.record(self._download)
        return InFlight(slot, len(batch), result_shape)

    def finish(self, work: InFlight) -> np.ndarray:
        """Wait for a batch and return it: (N, H, W, C'), the caller's to keep."""
        if work.slot is not None:
            slot, work.slot = work.slot, None
            self._in_flight.remove(work)
            try:
                slot.downloaded.synchronize()
                work.result = slot.output.host(work.shape, self._result_dtype)[: work.images].copy()
            finally:
                self._free.append(slot)
        assert work.result is not None
        return work.result

    def close(self) -> None:
        """Wait for what is in flight and free everything, here and now."""
        self._synchronize()
        if self._runtime_cache is not None:
            self._runtime_cache.save()
            self._runtime_cache = None
        for slot in [*self._free, *(work.slot for work in self._in_flight if work.slot is not None)]:
            slot.free()
        self._free.clear()
        self._in_flight.clear()
        del self._upload, self._compute, self._download
        self._context = None  # in this order: a context needs its engine, an engine its runtime
        self._engine = None
        self._runtime = None

    def _synchronize(self) -> None:
        for stream in (self._upload, self._compute, self._download):
            stream.synchronize()

    def _failure(self) -> ModelFileError:
        return ModelFileError(
            f"the engine does not run ({log.reason()}): build it again with {self._rebuild}"
        )


def _types() -> dict[str, trt.DataType]:
    return {"uint8": trt.DataType.UINT8, "float32": trt.DataType.FLOAT}


@contextmanager
def open_session(
    plan: bytes,
    profiles: Sequence[Profile],
    rebuild: str,
    gpu: Gpu,
    dtypes: tuple[str, str] = ("uint8", "uint8"),
) -> Iterator[Session]:
    """A session on a GPU; leave it in the thread that entered it."""
    with current_device(gpu.index):
        session = Session(plan, profiles, rebuild, _cache_path(plan, gpu), dtypes)
        try:
            yield session
        finally:
            session.close()


def _cache_path(plan: bytes, gpu: Gpu) -> Path | None:
    """Where what the runtime compiles is kept, a file for each engine and kind of GPU; None for the full TensorRT."""
    folder = writable_cache(RTX.name) if title() == RTX.title else None
    return None if folder is None else folder / f"{hash_engine(plan)}-{gpu.compute_capability}.runtime"
