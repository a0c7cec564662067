"""Videos and models to translate them with."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from translatekit.model_info import ModelInfo


class Listener:
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, result: object) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)


class Identity:
    """A translator that changes nothing, or something that a test can see."""

    def __init__(self, change: object = None, **info: object) -> None:
        self.info = ModelInfo(**{"method": "test", "generator": "identity", "size_multiple": 4} | info)  # type: ignore[arg-type]
        self.change = change
        self.dtypes: tuple[str, ...] = ("uint8", "float32")  # a compiled model may have the first alone
        self.batches: list[int] = []
        self.first: np.ndarray | None = None

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        self.first = batch[0] if self.first is None else self.first
        return self.change(batch) if callable(self.change) else batch


@pytest.fixture
def identity() -> Identity:
    return Identity()


def make_animation(path: Path, durations: list[int], transparent: bool = False, **settings: object) -> Path:
    """A GIF or WebP of frames that all differ, with durations in milliseconds."""
    frames = []
    for index in range(len(durations)):
        image = Image.new("RGBA", (32, 24), (index * 60 % 256, 90, 20, 255))
        if transparent:
            image.paste((0, 0, 0, 0), (0, 0, 10, 10))
        frames.append(image if transparent else image.convert("RGB"))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, disposal=2, **settings)
    return path


def make_video(
    path: Path,
    frames: int = 30,
    size: tuple[int, int] = (48, 64),
    times: list[int] | None = None,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    prepare: Callable[[Any, Any], None] = lambda container, stream: None,
) -> Path:
    """A square that moves, with a red corner, at 25 frames a second or at the given ticks of 1/1000 s."""
    height, width = size
    with av.open(str(path), "w") as container:
        options = {"crf": "10"} if codec == "libx264" else {}
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.time_base = Fraction(1, 1000)
        prepare(container, stream)
        for index in range(frames):
            image = np.full((height, width, 3), 40, np.uint8)
            image[10:30, index % width : index % width + 20] = (200, 120, 60)
            image[:8, :8] = (250, 20, 20)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = times[index] if times else index * 40
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
