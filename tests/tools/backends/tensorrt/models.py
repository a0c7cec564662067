"""Small models and images to build engines from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from translatekit_tools.compile.source import Source

from translatekit.images import encode_image, image_of
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.networks.layers import set_norm_inference


def save(path: Path, generator: str, inference: str = "running", size: int = 32, **options: Any) -> Source:
    """A model file of a generator with random weights, opened."""
    torch.manual_seed(0)
    network = make_generator(generator, options, in_channels=3, out_channels=3)
    set_norm_inference(network, inference)  # type: ignore[arg-type]
    info = ModelInfo(
        method="test",
        generator=generator,
        generator_options=network.arguments,  # type: ignore[arg-type]
        size=size,
        size_multiple=network.size_multiple,  # type: ignore[arg-type]
        norm_inference=inference,  # type: ignore[arg-type]
    )
    save_model(path, network.state_dict(), info)
    return Source(path)


def draw_images(folder: Path, side: int = 16) -> Path:
    """Two images of so many pixels a side in a folder."""
    random = np.random.default_rng(0)
    for index in range(2):
        pixels = random.integers(0, 256, (side, side, 3), np.uint8)
        (folder / f"{index}.png").write_bytes(encode_image(image_of(pixels), ".png"))
    return folder
