"""Flicker: how much of a change between frames is not motion, and how to have less of it.

Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018: the warping error of section 4.2, and the weight of
what is to be seen in both frames, of section 3.3. The mask of what is hidden is that of Ruder et al., "Artistic Style
Transfer for Videos", GCPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np

_MAX_SIDE = 640  # optical flow is measured on images no larger
_CHANGE = 50.0  # alpha of Lai et al., section 3.3: how little of a change of the input, in [0, 1], is one


def warp_error(inputs: Iterable[np.ndarray], outputs: Iterable[np.ndarray]) -> float:
    """The mean squared difference between each output and the one before, moved along with the input.

    Args:
        inputs: frames (H, W, C), uint8 in [0, 255] or float32 in [0, 1], whose motion is that of the outputs.
        outputs: as many frames, of the same sides.

    Returns:
        In [0, 1], over pixels that can be seen in both frames; 0 for fewer than two frames.
    """
    smoother = Smoother(0.0)
    for image, output in zip(inputs, outputs, strict=True):
        smoother(image, output)
    return smoother.flicker[0]


class Smoother:
    """Blends each output with the one before, moved along the optical flow of the inputs, where those agree.

    It also measures the warp error, of the raw and of the smoothed outputs.
    """

    def __init__(self, strength: float, state: Mapping[str, np.ndarray] | None = None) -> None:
        """Start.

        Args:
            strength: share of the frame before, in [0, 1).
            state: of a smoother that came to the frame before.
        """
        self._strength = strength
        self._before = None if state is None else (state["gray"], state["raw"], state["smoothed"])
        self._errors = np.zeros(2) if state is None else state["errors"]
        self._pairs = 0 if state is None else int(state["pairs"])

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What a smoother needs that is to go on from here; there is none before the first frame."""
        assert self._before is not None
        gray, raw, smoothed = self._before
        return {
            "gray": gray,
            "raw": raw,
            "smoothed": smoothed,
            "errors": self._errors,
            "pairs": np.array(self._pairs),
        }

    @property
    def flicker(self) -> tuple[float, float]:
        """The warp error of the raw and of the smoothed outputs, over all frames so far."""
        raw, smoothed = (self._errors / max(1, self._pairs)).tolist()
        return raw, smoothed

    def __call__(self, image: np.ndarray, output: np.ndarray) -> np.ndarray:
        """The smoothed output of one frame; input and output (H, W, C) with the same sides, in order."""
        gray, raw = _gray(image), _unit(output)
        smoothed = raw
        if self._before is not None:
            flow, visible = motion(self._before[0], gray)
            moved = warp(self._before[2], flow)
            if self._strength:
                # What has changed in the input may change in the output; all else that differs is flicker.
                change = (gray.astype(np.float32) - warp(self._before[0], flow)) / 255
                same = np.exp(-_CHANGE * np.square(change)) * visible
                share = (self._strength * same)[:, :, None].astype(np.float32)
                smoothed = raw * (1 - share) + moved * share
            if visible.any():
                pairs = ((raw, warp(self._before[1], flow)), (smoothed, moved))
                errors = [np.square(now - before).mean(axis=2)[visible].mean() for now, before in pairs]
                self._errors = self._errors + np.array(errors, np.float64)
                self._pairs += 1
        self._before = gray, raw, smoothed
        if output.dtype == np.uint8:
            return np.rint(smoothed * 255).clip(0, 255).astype(np.uint8)
        return smoothed


def motion(before: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, and whether it could be seen there.

    Args:
        before, now: gray images (H, W), uint8.

    Returns:
        Displacements (H, W, 2) in pixels, x first, from `now` back to `before`; and a mask (H, W).
    """
    height, width = now.shape
    scale = min(1.0, _MAX_SIDE / max(height, width))
    small = (max(16, round(width * scale)), max(16, round(height * scale)))
    a, b = (cv2.resize(image, small, interpolation=cv2.INTER_AREA) for image in (before, now))
    finder: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    back, forth = finder.calc(b, a, None), finder.calc(a, b, None)
    # There and back again ends where it began, unless something is in the way.
    forth = warp(forth, back)
    limit = 0.01 * (np.square(back).sum(2) + np.square(forth).sum(2)) + 0.5
    visible = np.square(back + forth).sum(2) < limit
    flow = cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR)
    flow *= np.array([width / small[0], height / small[1]], np.float32)
    mask = cv2.resize(visible.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return flow, mask.astype(bool)


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """An image (H, W, C) moved: each pixel is taken from where `flow` (H, W, 2) points."""
    height, width = flow.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(
        image, x + flow[:, :, 0], y + flow[:, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return moved if moved.ndim == image.ndim else moved[:, :, None]


def _gray(image: np.ndarray) -> np.ndarray:
    pixels = image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        return pixels[:, :, 0]
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)


def _unit(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)
