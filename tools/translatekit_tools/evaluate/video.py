"""Metrics of translated videos: how much they flicker."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import islice, tee
from pathlib import Path

import numpy as np

from translatekit.errors import DataError
from translatekit.images import to_uint8
from translatekit.inference.inputs import fit_levels
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import VideoMetric
from translatekit.metrics import make_available, metric_specs
from translatekit_tools.bulk.video.flow import Smoother
from translatekit_tools.bulk.video.reader import VideoReader

MAX_FRAMES = 120


class WarpError:
    """How unlike the frames of a video are once the motion of the input is undone (Lai et al., 2018)."""

    def __init__(self) -> None:
        self._measured = Smoother(0.0)

    def update(self, frame: np.ndarray, output: np.ndarray) -> None:
        """Add a frame (H, W, 3) and its translation (H, W, C), uint8 each."""
        self._measured(frame, output)

    def compute(self) -> float:
        """In [0, 1], over pixels that can be seen in both of two frames."""
        return self._measured.flicker[0]


def measure_video(predictor: Predictor, video: Path, notes: list[str]) -> dict[str, float]:
    """Each metric of videos, by name, of a translated video.

    The first `MAX_FRAMES` frames are looked at, at their own size.

    Args:
        predictor: translates it.
        video: its file.
        notes: told which metrics cannot be measured here, and why.

    Raises:
        DataError: the video cannot be read, or has fewer than two frames.
    """
    metrics: dict[str, VideoMetric] = make_available(metric_specs("video"), notes)
    count = 0
    with closing(_frames(video)) as decoded:
        frames, originals = tee(islice(decoded, MAX_FRAMES))
        asked = (fit_levels(frame, predictor.info, str(video)) for frame in frames)
        for frame, output in zip(originals, predictor.predict(asked), strict=True):
            for metric in metrics.values():
                metric.update(frame, output)
            count += 1
    if count < 2:
        raise DataError(f"the video {video} has {count} frames: give one of at least 2")
    return {name: metric.compute() for name, metric in metrics.items()}


def _frames(video: Path) -> Generator[np.ndarray, None, None]:
    """What a model sees of a video in ``run``, upright (H, W, 3), uint8."""
    try:
        with closing(VideoReader(video)) as reader:
            for frame in reader.frames():
                assert frame is not None  # all are wanted
                yield to_uint8(frame.pixels)
    except DataError as error:
        raise DataError(f"the video {video} cannot be read ({error}): give another") from None
