"""The `Driver` of `device` by NVIDIA's cuda-bindings, which need no compiler to be installed."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from cuda.bindings import driver as cuda

from translatekit.errors import DataError
from translatekit_tools.backends.tensorrt.cuda.device import DeviceMemoryError

_EVENT_FLAGS = int(cuda.CUevent_flags.CU_EVENT_BLOCKING_SYNC) | int(
    cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING
)  # waiting leaves the CPU to others


def _call(answer: tuple[Any, ...]) -> Any:
    """What a call gave beside its status.

    Raises:
        DeviceMemoryError: there is too little memory.
        DataError: the driver refused otherwise.
    """
    status, *results = answer
    if status == cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
        raise DeviceMemoryError("out of memory")
    if status != cuda.CUresult.CUDA_SUCCESS:
        raise DataError(f"the GPU's driver stopped ({status.name}): look at nvidia-smi, and start again")
    return results[0] if results else None


class Stream:
    """A stream that waits for no other, not even for the default one, which torch uses."""

    def __init__(self) -> None:
        self.handle = int(_call(cuda.cuStreamCreate(int(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING))))

    def wait_for_event(self, event: Event) -> None:
        """See `translatekit_tools.backends.tensorrt.cuda.device.Stream`."""
        _call(cuda.cuStreamWaitEvent(self.handle, event.handle, 0))

    def synchronize(self) -> None:
        """See `translatekit_tools.backends.tensorrt.cuda.device.Stream`."""
        _call(cuda.cuStreamSynchronize(self.handle))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            cuda.cuStreamDestroy(self.handle)


class Event:
    """An event to order streams by, and to wait for without spinning."""

    def __init__(self) -> None:
        self.handle = int(_call(cuda.cuEventCreate(_EVENT_FLAGS)))

    def record(self, stream: Stream) -> None:
        """See `translatekit_tools.backends.tensorrt.cuda.device.Event`."""
        _call(cuda.cuEventRecord(self.handle, stream.handle))

    def synchronize(self) -> None:
        """See `translatekit_tools.backends.tensorrt.cuda.device.Event`."""
        _call(cuda.cuEventSynchronize(self.handle))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            cuda.cuEventDestroy(self.handle)


def push(index: int) -> None:
    """See `Driver`."""
    _call(cuda.cuCtxPushCurrent(_retain(index)))


def pop() -> None:
    """See `Driver`."""
    _call(cuda.cuCtxPopCurrent())


@cache
def _retain(index: int) -> Any:
    _call(cuda.cuInit(0))
    return _call(cuda.cuDevicePrimaryCtxRetain(_call(cuda.cuDeviceGet(index))))


def make_stream() -> Stream:
    """See `Driver`."""
    return Stream()


def make_event() -> Event:
    """See `Driver`."""
    return Event()


def allocate_pinned(size: int) -> tuple[Any, np.ndarray]:
    """See `Driver`."""
    address = int(_call(cuda.cuMemHostAlloc(size, 0)))
    return address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def free_pinned(owner: Any) -> None:
    """See `Driver`."""
    _call(cuda.cuMemFreeHost(owner))


def allocate(size: int) -> Any:
    """See `Driver`."""
    return int(_call(cuda.cuMemAlloc(size)))


def free(memory: Any) -> None:
    """See `Driver`."""
    _call(cuda.cuMemFree(memory))


def upload(memory: Any, host: np.ndarray, stream: Any) -> None:
    """See `Driver`."""
    _call(cuda.cuMemcpyHtoDAsync(memory, host.ctypes.data, host.nbytes, stream.handle))


def download(host: np.ndarray, memory: Any, stream: Any) -> None:
    """See `Driver`."""
    _call(cuda.cuMemcpyDtoHAsync(host.ctypes.data, memory, host.nbytes, stream.handle))
