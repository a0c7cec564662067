"""A server for the tests: in a thread of this process, with a model whose answer is known."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import uvicorn
from translatekit_tools.paint.batching import Batcher
from translatekit_tools.paint.server import Limits, describe, listen, make_app

from translatekit.datasets.palette import PaletteClass
from translatekit.model_file import ModelInfo

PALETTE: list[PaletteClass] = [
    {"name": "wall", "color": [0, 48, 255]},
    {"name": "window", "color": [255, 207, 1]},
    {"name": "door", "color": [200, 40, 30]},
    {"name": "tree", "color": [40, 160, 60]},
    {"name": "road", "color": [90, 90, 90]},
    {"name": "sky", "color": [150, 205, 255]},
    {"name": "background", "color": [20, 20, 130]},
]


class Negative:
    """A translator whose output is the negative of its input.

    Attributes:
        batches: the shape of each call.
        delay: seconds that each call takes.
        gate: a call waits until it is open (as it is at first).
    """

    device = "cpu"

    def __init__(self, delay: float = 0.0, **info: Any) -> None:
        fields = {"size": 64, "size_multiple": 16, "data": {"palette": PALETTE}, **info}
        self.info = ModelInfo(method="test", generator="negative", **fields)
        self.delay = delay
        self.batches: list[tuple[int, ...]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(batch.shape)
        time.sleep(self.delay)
        assert self.gate.wait(60)
        return 255 - batch


@contextlib.contextmanager
def served(
    translator: Any = None,
    palette: list[PaletteClass] | None = PALETTE,
    mode: str = "auto",
    limits: Limits | None = None,
    max_batch: int = 8,
    **options: Any,
) -> Iterator[str]:
    """The address of a server that ends with the context."""
    limits = limits or Limits()
    batcher = Batcher(lambda: translator or Negative(), max_batch)
    app = make_app(batcher, describe(batcher, "test-model", palette, mode, limits), limits, **options)
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", ws="none", lifespan="on", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something that another thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)
