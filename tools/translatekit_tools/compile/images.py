"""The images that a compiled model is checked and calibrated on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

import numpy as np

from translatekit.errors import DataError
from translatekit.images import UnreadableImageError, is_image, read_picture, resize
from translatekit.inference.geometry import fit_pixels
from translatekit.model_info import ModelInfo

MAX_SIDE = 1024
"""Larger images are made smaller: what is compared is numbers, not detail."""


def gather(
    folder: str | None, model: Path, info: ModelInfo, count: int, free_size: bool
) -> tuple[list[np.ndarray], str]:
    """Images (H, W, C), uint8, of sizes that the model takes, and where they are from.

    Args:
        folder: of the user's images; None for those of the run that `model` lies in, else drawn ones.
        model: the model file.
        info: its header.
        count: how many at most, evenly spread over the folder.
        free_size: whether any size will do; else all are resized to what the model was trained at.

    Raises:
        DataError: there is no such folder, or it holds no image that can be read.
    """
    if folder is not None:
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise DataError(f"there is no folder {path}: name one with images")
        files = sorted(f for f in path.rglob("*") if is_image(f) and f.is_file())
        images = [_fit(pixels, info, free_size) for pixels in _read(_spread(files, count), info)]
        if not images:
            raise DataError(f"the folder {path} holds no images that can be read: name another")
        return images, str(path)
    from_run = list(_of_run(model, info, count))
    if from_run:
        return [_fit(pixels, info, free_size) for pixels in from_run], "the run's own images"
    return list(
        _drawn(info, count)
    ), "drawn facades, since the run's own images are not at hand: pass --check DIR"


def _spread(files: list[Path], count: int) -> list[Path]:
    step = max(1, len(files) // count)
    return files[::step][:count]


def _read(files: list[Path], info: ModelInfo) -> Iterator[np.ndarray]:
    for file in files:
        try:
            yield read_picture(file, cast(Literal[1, 3], info.input.count), deep=False).pixels
        except UnreadableImageError:
            continue


def _of_run(model: Path, info: ModelInfo, count: int) -> Iterator[np.ndarray]:
    """What the network saw: its dataset's inputs, where the run's folder and its data are still there."""
    config_file = model.parent / "config.toml"
    if not config_file.is_file() or model.suffix != ".safetensors":
        return
    from translatekit.config import RunConfig
    from translatekit.datasets import make_dataset
    from translatekit.datasets.transforms import to_pixels
    from translatekit.errors import TranslatekitError
    from translatekit.interfaces import DataOptions

    try:
        config = RunConfig.from_toml(config_file, {})
        options = config.options
        if config.data is None and options.dataset != "demo":
            return
        data_options = DataOptions(
            split="train",
            direction=options.direction,
            load_size=options.crop_size,
            crop_size=options.crop_size,
            flip=False,
        )
        dataset = make_dataset(str(options.dataset), config.data, data_options, options.dataset_options)
        side = "input" if "input" in dataset.specs else info.direction[0]
        for index in range(0, len(dataset), max(1, len(dataset) // count))[:count]:
            yield to_pixels(dataset[index][side])
    except (TranslatekitError, KeyError, OSError):
        return  # moved or deleted since: the drawn ones will do


def _drawn(info: ModelInfo, count: int) -> Iterator[np.ndarray]:
    from translatekit.datasets.facades import draw_facade
    from translatekit.images import to_gray

    side = -(-info.size // info.size_multiple) * info.size_multiple
    for seed in range(count):
        label, picture = draw_facade(seed, side)
        pixels = picture if info.input.codec == "lab" or seed % 2 else label
        if info.input.count == 1:
            pixels = to_gray(pixels)
        yield np.resize(pixels, (side, side, info.input.count))


def _fit(pixels: np.ndarray, info: ModelInfo, free_size: bool) -> np.ndarray:
    side = -(-info.size // info.size_multiple) * info.size_multiple
    height, width = pixels.shape[:2]
    if not free_size:
        return resize(pixels, (side, side))
    if max(height, width) > MAX_SIDE:
        scale = MAX_SIDE / max(height, width)
        pixels = resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    return np.ascontiguousarray(fit_pixels(pixels, info.size_multiple, "pad").pixels)
