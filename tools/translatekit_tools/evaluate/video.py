"""How much a translated video flickers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, tee
from pathlib import Path

import av
import numpy as np

from translatekit.errors import DataError
from translatekit.inference.inputs import to_channels
from translatekit.inference.predictor import Predictor
from translatekit_tools.bulk.video.flow import Smoother

MAX_FRAMES = 120


def flicker(predictor: Predictor, video: Path) -> float:
    """The warp error of a translated video: how unlike its frames are, once the motion of the input is undone.

    The first `MAX_FRAMES` frames are looked at, at their own size.

    Raises:
        DataError: the video cannot be read, or has fewer than two frames.
    """
    measured = Smoother(0.0)
    count = 0
    frames, originals = tee(islice(_frames(video), MAX_FRAMES))
    asked = (to_channels(frame, predictor.info, str(video)) for frame in frames)
    for frame, output in zip(originals, predictor.predict(asked), strict=True):
        measured(frame, output)
        count += 1
    if count < 2:
        raise DataError(f"the video {video} has {count} frames: give one of at least 2")
    return measured.flicker[0]


def _frames(video: Path) -> Iterator[np.ndarray]:
    try:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (OSError, IndexError, ValueError) as error:  # PyAV's errors are children of these
        raise DataError(f"the video {video} cannot be read ({error}): give another") from None
