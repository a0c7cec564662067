"""Videos and models to translate them with."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from translatekit.model_file import ModelInfo


class Identity:
    """A translator that changes nothing, or something that a test can see."""

    def __init__(self, change: object = None, **info: object) -> None:
        self.info = ModelInfo(method="test", generator="identity", size_multiple=4, **info)  # type: ignore[arg-type]
        self.change = change
        self.batches: list[int] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        return self.change(batch) if callable(self.change) else batch


@pytest.fixture
def identity() -> Identity:
    return Identity()


def make_video(
    path: Path, frames: int = 30, size: tuple[int, int] = (48, 64), times: list[int] | None = None
) -> Path:
    """A square that moves, at 25 frames a second or at the given ticks of 1/1000 s."""
    height, width = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.time_base = Fraction(1, 1000)
        for index in range(frames):
            image = np.full((height, width, 3), 40, np.uint8)
            image[10:30, index : index + 20] = (200, 120, 60)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = times[index] if times else index * 40
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
