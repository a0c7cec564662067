"""The `Driver` of `device` by pycuda, which links to the driver: import it only where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pycuda.driver as cuda

from translatekit_tools.backends.tensorrt.cuda.device import DeviceMemoryError, Event, Stream

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: such a stream does not wait for the default one, which torch uses
_EVENT_FLAGS = (
    cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING
)  # waiting leaves the CPU to others


def push(index: int) -> None:
    """See `Driver`."""
    _retain(index).push()


def pop() -> None:
    """See `Driver`."""
    cuda.Context.pop()


@cache
def _retain(index: int) -> cuda.Context:
    # Kept to the end of the process: pycuda frees memory through the very object that was current when it was made.
    cuda.init()
    return cuda.Device(index).retain_primary_context()


def make_stream() -> Stream:
    """See `Driver`."""
    stream: Stream = cuda.Stream(_NON_BLOCKING)
    return stream


def make_event() -> Event:
    """See `Driver`."""
    event: Event = cuda.Event(_EVENT_FLAGS)
    return event


def allocate_pinned(size: int) -> tuple[Any, np.ndarray]:
    """See `Driver`."""
    with _told():
        array = cuda.pagelocked_empty(size, np.uint8)
    return array.base, array


def free_pinned(owner: Any) -> None:
    """See `Driver`."""
    owner.free()


def allocate(size: int) -> Any:
    """See `Driver`."""
    with _told():
        return cuda.mem_alloc(size)


def free(memory: Any) -> None:
    """See `Driver`."""
    memory.free()


def upload(memory: Any, host: np.ndarray, stream: Any) -> None:
    """See `Driver`."""
    cuda.memcpy_htod_async(memory, host, stream)


def download(host: np.ndarray, memory: Any, stream: Any) -> None:
    """See `Driver`."""
    cuda.memcpy_dtoh_async(host, memory, stream)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except cuda.MemoryError as error:
        raise DeviceMemoryError(str(error)) from None
