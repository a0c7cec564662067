"""Memory, streams and the primary context of a GPU, by cuda-bindings or pycuda, whichever is installed.

Use it only after `translatekit_tools.backends.tensorrt.cuda.driver.find_gpu` has found a GPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import numpy as np

from translatekit.errors import PluginError

_IMPLEMENTATIONS = {
    "cuda.bindings": "translatekit_tools.backends.tensorrt.cuda.driver_bindings",
    "pycuda": "translatekit_tools.backends.tensorrt.cuda.driver_pycuda",
}


class DeviceMemoryError(Exception):
    """There is too little memory, on the device or to be pinned."""


class Event(Protocol):
    """Marks a place in a stream."""

    def record(self, stream: Any) -> object:
        """Mark where the stream is now."""

    def synchronize(self) -> object:
        """Wait, without spinning, until the stream has reached it."""


class Stream(Protocol):
    """Work for a GPU, in its order; it waits for no other stream by itself."""

    handle: int

    def wait_for_event(self, event: Any) -> object:
        """Let what comes next wait until the event's place is reached."""

    def synchronize(self) -> object:
        """Wait until all is done."""


class Driver(Protocol):
    """What two packages have in common; each is a module of functions. All but `push` need a current context."""

    def push(self, index: int) -> None:
        """Make the primary context of a GPU current to this thread, kept to the end of the process."""

    def pop(self) -> None:
        """Leave the context that was pushed last."""

    def make_stream(self) -> Stream:
        """A stream that waits for no other."""

    def make_event(self) -> Event:
        """An event to order streams by."""

    def allocate_pinned(self, size: int) -> tuple[Any, np.ndarray]:
        """Host memory that is copied from without holding up the thread: its owner, and its bytes."""

    def free_pinned(self, owner: Any) -> None:
        """Free it."""

    def allocate(self, size: int) -> Any:
        """Memory on the device, of which ``int`` is the address."""

    def free(self, memory: Any) -> None:
        """Free it."""

    def upload(self, memory: Any, host: np.ndarray, stream: Any) -> None:
        """Start to copy pinned bytes to the device."""

    def download(self, host: np.ndarray, memory: Any, stream: Any) -> None:
        """Start to copy from the device to pinned bytes."""


@cache
def driver() -> Driver:
    """What reaches the GPU's driver here.

    Raises:
        PluginError: neither package can be imported.
    """
    reasons = []
    for package, module in _IMPLEMENTATIONS.items():
        try:
            loaded: Any = importlib.import_module(module)
        except ImportError as error:
            reasons.append(f"{package}: {error}")
        else:
            return loaded
    raise PluginError(
        f"engines cannot be run ({'; '.join(reasons)}): run pip install 'translatekit[tensorrt-rtx]', which brings "
        "cuda-bindings"
    )


@contextmanager
def current_device(index: int) -> Iterator[None]:
    """Make a GPU's primary context current to this thread, and leave the thread as it was.

    The primary context is the one that torch and every user of the CUDA runtime share; a context of our own would
    see none of their memory and take turns with them. Within, everything TensorRT makes lands on this GPU too.
    """
    driver().push(index)
    try:
        yield
    finally:
        driver().pop()


class Buffer:
    """Pinned host memory and as much device memory, kept from batch to batch; it grows and never shrinks.

    Only pinned memory is copied without holding up the thread that asks for it, and pinning is slow: about a
    millisecond for what a copy takes a tenth of.
    """

    def __init__(self) -> None:
        self._owner: Any = None
        self._bytes = np.empty(0, np.uint8)
        self._memory: Any = None
        self._size = 0

    def reserve(self, size: int) -> None:
        """Hold at least `size` bytes, anew where it was less: nothing may still be using the old ones.

        Raises:
            DeviceMemoryError: there is too little; nothing that is held then counts.
        """
        if size > self._size:
            self.free()
            self._owner, self._bytes = driver().allocate_pinned(size)
            self._memory = driver().allocate(size)
            self._size = size

    def host(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """The pinned memory as an array of that shape; not to be kept beyond the next `reserve`."""
        return self._bytes[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)

    @property
    def address(self) -> int:
        """The address of the device memory."""
        return int(self._memory)

    def upload(self, size: int, stream: Stream) -> None:
        """Start to copy the first `size` bytes to the device."""
        driver().upload(self._memory, self._bytes[:size], stream)

    def download(self, size: int, stream: Stream) -> None:
        """Start to copy the first `size` bytes to the host."""
        driver().download(self._bytes[:size], self._memory, stream)

    def free(self) -> None:
        """Free the host's and the device's memory now."""
        self._size = 0
        if self._memory is not None:
            driver().free(self._memory)
            self._memory = None
        if self._owner is not None:
            self._bytes = np.empty(0, np.uint8)
            driver().free_pinned(self._owner)
            self._owner = None
