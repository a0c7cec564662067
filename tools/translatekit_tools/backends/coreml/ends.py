"""What a Core ML model takes and gives: images where they are of 8 bits, arrays else."""

from __future__ import annotations

from translatekit.image_spec import ImageSpec

INPUT, OUTPUT = "image", "translated"


def is_image(spec: ImageSpec, dtype: str) -> bool:
    """Whether Core ML has an image for what a graph of that dtype takes or gives: gray or RGB, 8 bits a channel."""
    return dtype == "uint8" and (spec.levels or spec.meaning == "labels") and spec.count in (1, 3)
