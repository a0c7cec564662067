"""A server for the tests: in a thread of this process, with a model whose answer is known."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import uvicorn
from translatekit_tools.paint.batching import Batcher
from translatekit_tools.paint.models import LoadedModel, Models
from translatekit_tools.paint.server import Limits, describe_served, listen, make_app

from translatekit.datasets.palette import PaletteClass
from translatekit.images import encode_image, image_of
from translatekit.model_info import ModelInfo

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


class Flat:
    """Examples of one colour each; a surprise has the first on its left and the last on its right."""

    def __init__(self, *colors: tuple[int, ...], size: int = 64) -> None:
        self._images = [np.full((size, size, 3), color, np.uint8) for color in colors]

    def example(self, number: int) -> bytes:
        return encode_image(image_of(self._images[number % len(self._images)]), ".png")

    def surprise(self, seed: int) -> bytes:
        first, last = self._images[0], self._images[-1]
        half = first.shape[1] // 2
        return encode_image(image_of(np.concatenate([first[:, :half], last[:, half:]], axis=1)), ".png")


@contextlib.contextmanager
def served(
    translator: Any = None,
    palette: list[PaletteClass] | None = PALETTE,
    mode: str = "auto",
    limits: Limits | None = None,
    max_batch: int = 8,
    examples: Any = None,
    openers: Mapping[str, Callable[[], LoadedModel]] | None = None,
    **options: Any,
) -> Iterator[str]:
    """The address of a server that ends with the context."""
    limits = limits or Limits()
    batcher = Batcher(lambda: translator or Negative(), max_batch)
    opened = LoadedModel(
        batcher=batcher,
        description=describe_served(batcher, "test-model", palette, mode, limits),
        examples=examples,
    )
    app = make_app(Models(opened, openers), limits, **options)
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
