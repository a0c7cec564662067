"""Memory, streams and the primary context of a GPU, by pycuda.

pycuda links to the driver: import this module only after `translatekit_tools.cuda.driver.find_gpu` has found one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import pycuda.driver as cuda

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: such a stream does not wait for the default one, which torch uses
_EVENT_FLAGS = (
    cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING
)  # waiting leaves the CPU to others


@contextmanager
def current_device(index: int) -> Iterator[None]:
    """Make a GPU's primary context current to this thread, and leave the thread as it was.

    The primary context is the one that torch and every user of the CUDA runtime share; a context of our own would
    see none of their memory and take turns with them. Within, everything TensorRT makes lands on this GPU too.
    """
    context = _retain(index)
    context.push()
    try:
        yield
    finally:
        cuda.Context.pop()


@cache
def _retain(index: int) -> cuda.Context:
    # Kept to the end of the process: pycuda frees memory through the very object that was current when it was made.
    cuda.init()
    return cuda.Device(index).retain_primary_context()


def make_stream() -> cuda.Stream:
    """A stream that waits for no other."""
    return cuda.Stream(_NON_BLOCKING)


def make_event() -> cuda.Event:
    """An event to order streams by, and to wait for without spinning."""
    return cuda.Event(_EVENT_FLAGS)


class Buffer:
    """Pinned host memory and as much device memory, kept from batch to batch; it grows and never shrinks.

    Only pinned memory is copied without holding up the thread that asks for it, and pinning is slow: about a
    millisecond for what a copy takes a tenth of.
    """

    def __init__(self) -> None:
        self._host: np.ndarray | None = None
        self._device: cuda.DeviceAllocation | None = None
        self._size = 0

    def reserve(self, size: int) -> None:
        """Hold at least `size` bytes, anew where it was less: nothing may still be using the old ones.

        Raises:
            pycuda.driver.MemoryError: there is too little; nothing is held then.
        """
        if size > self._size:
            self.free()
            self._host = cuda.pagelocked_empty(size, np.uint8)
            self._device = cuda.mem_alloc(size)
            self._size = size

    def host(self, shape: tuple[int, ...]) -> np.ndarray:
        """The pinned memory as an array of bytes of that shape; not to be kept beyond the next `reserve`."""
        assert self._host is not None
        return self._host[: int(np.prod(shape))].reshape(shape)

    @property
    def address(self) -> int:
        """Of the device memory."""
        assert self._device is not None
        return int(self._device)

    def upload(self, size: int, stream: cuda.Stream) -> None:
        """Start to copy the first `size` bytes to the device."""
        assert self._host is not None
        cuda.memcpy_htod_async(self._device, self._host[:size], stream)

    def download(self, size: int, stream: cuda.Stream) -> None:
        """Start to copy the first `size` bytes to the host."""
        assert self._host is not None
        cuda.memcpy_dtoh_async(self._host[:size], self._device, stream)

    def free(self) -> None:
        """Give both memories back, now."""
        self._size = 0
        if self._device is not None:
            self._device.free()
            self._device = None
        if self._host is not None:
            self._host.base.free()  # type: ignore[union-attr]  # pycuda's allocation behind the array
            self._host = None
