"""How much a translated video flickers."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import av
import numpy as np

from translatekit.errors import DataError
from translatekit.images import to_gray
from translatekit.interfaces import Translator
from translatekit_tools.evaluate.models import translate

MAX_FRAMES = 120


def flicker(translator: Translator, video: Path) -> float:
    """The warping error of a translated video: how unlike its frames are, once the motion of the input is undone.

    The first `MAX_FRAMES` frames are looked at, at their own size.

    Raises:
        DataError: the video cannot be read, or has fewer than two frames.
    """
    flow: Any = importlib.import_module("translatekit_tools.bulk.video.flow")

    inputs = _frames(video)
    channels = translator.info.image_in_channels
    outputs = np.concatenate(
        [translate(translator, frame[None] if channels == 3 else to_gray(frame)[None]) for frame in inputs]
    )
    return float(flow.warp_error(inputs, outputs))


def _frames(video: Path) -> np.ndarray:
    try:
        with av.open(str(video)) as container:
            frames = [
                frame.to_ndarray(format="rgb24")
                for _, frame in zip(range(MAX_FRAMES), container.decode(video=0), strict=False)
            ]
    except (OSError, IndexError, ValueError) as error:  # PyAV's errors are children of these
        raise DataError(f"the video {video} cannot be read ({error}): give another") from None
    if len(frames) < 2:
        raise DataError(f"the video {video} has {len(frames)} frames: give one of at least 2")
    return np.stack(frames)
