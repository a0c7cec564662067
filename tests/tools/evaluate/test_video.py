"""Metrics of translated videos see what the model sees in ``run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.evaluate.video import measure_video

from translatekit.inference.predictor import Predictor
from translatekit.model_info import ModelInfo


class Seeing:
    """A translator that changes nothing, and keeps the shapes that it was given."""

    def __init__(self) -> None:
        self.info = ModelInfo(method="test", generator="identity")
        self.shapes: set[tuple[int, ...]] = set()

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.shapes.add(batch.shape[1:])
        return batch


@pytest.mark.parametrize(
    ("name", "shape"),
    [("rotated_90.mov", (568, 320, 3)), ("h264_10bit.mp4", None)],
)
def test_frames_are_upright_and_of_8_bits(
    name: str, shape: Any, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translatekit_tools.evaluate.video.MAX_FRAMES", 6)
    model = Seeing()
    notes: list[str] = []
    metrics = measure_video(Predictor(model), data_dir / "videos" / name, notes)
    assert len(model.shapes) == 1
    assert shape is None or model.shapes == {shape}
    assert 0 <= metrics["warp_error"] < 0.01
    assert notes == []
