"""Grids of sample images: what a run shows of its outputs while it trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from translatekit.image_spec import ImageSpec, levels_spec
from translatekit.images.codec import ValueCodec
from translatekit.images.preview import preview
from translatekit.training.batches import first_batch
from translatekit.training.progress import Report
from translatekit.training.state import Training
from translatekit.training.validation import diversity

SAMPLE_IMAGES = 4
_MIN_CELL = 128
_BACKGROUND, _INK = (92, 97, 104), (255, 255, 255)


class Samples:
    """The images of a run's samplings: from the validation set where there is one."""

    def __init__(self, training: Training) -> None:
        source = training.validation or training.data
        self._batch = first_batch(source, SAMPLE_IMAGES)

    def show(self, training: Training, report: Report) -> None:
        """What the method makes of them, into the run's folder; rank 0 alone does it."""
        if not training.fabric.is_global_zero:
            return
        batch = training.fabric.to_device(self._batch)
        with evaluating(training):
            images = training.method.samples(batch)
        varied = diversity(images, batch)
        specs, taken = training.data.specs, self._batch.get("input")
        grid = sample_grid(
            {
                title: in_rgb(values.float().cpu(), _spec_of(title, values, specs), taken)
                for title, values in images.items()
            }
        )
        report.samples(training.progress.step, training.progress.epoch, grid, varied)


@contextmanager
def evaluating(training: Training) -> Iterator[None]:
    """Networks in evaluation mode, the averaged weights in place where there are any; everything back after.

    They are unwrapped, without what several processes need around them, so that one process alone may use them.
    """
    method = training.method
    unwrapped, wrapped = method.unwrapped, method.networks
    modes = {name: network.training for name, network in unwrapped.items()}
    deployed = {name: item.network for name, item in method.deployed().items() if name in training.ema}
    kept: dict[str, dict[str, Tensor]] = {}
    for network in unwrapped.values():
        network.eval()
    for name, network in deployed.items():
        kept[name] = {key: value.clone() for key, value in network.state_dict().items()}
        network.load_state_dict(training.ema[name].module.state_dict())
    method.networks = dict[str, Any](unwrapped)
    try:
        with torch.no_grad():
            yield
    finally:
        method.networks = wrapped
        for name, network in deployed.items():
            network.load_state_dict(kept[name])
        for name, network in unwrapped.items():
            network.train(modes[name])


def in_rgb(values: Tensor, spec: ImageSpec, taken: Tensor | None = None) -> Tensor:
    """A network's values as they are looked at.

    Args:
        values: (N, C, H, W), of the spec.
        spec: what they are.
        taken: what the network was given; for colours that were made for a lightness.

    Returns:
        (N, 1 or 3, H, W), in [-1, 1].
    """
    if spec.shown and spec.codec == "linear":
        return values
    if spec.codec == "lab" and spec.meaning == "gray":  # a lightness is looked at as it is
        return values
    finite = values.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0)
    images = ValueCodec(spec).decode(finite, values if taken is None else taken.float().cpu(), torch.float32)
    seen = np.stack([preview(image, spec) for image in images.numpy()])
    return torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 127.5 - 1


def _spec_of(title: str, values: Tensor, specs: Mapping[str, ImageSpec]) -> ImageSpec:
    """What a column of samples is: what it is called, or else the last of the images that has as many channels."""
    alike = [spec for spec in specs.values() if spec.network_channels == values.shape[1]]
    return specs[title] if title in specs else alike[-1] if alike else levels_spec(values.shape[1])


def sample_grid(images: Mapping[str, Tensor]) -> Image.Image:
    """Draw batches of images side by side: a captioned column a batch, a row an image.

    Small images are enlarged by whole factors, so that captions stay readable and pixels stay pixels.

    Args:
        images: by column title, (N, C, H, W) in [-1, 1] with 1 or 3 channels. Columns may differ in N
            and size.

    Returns:
        An RGB image.

    Raises:
        ValueError: there is no image, or one has neither 1 nor 3 channels.
    """
    columns = {title: [_to_image(image) for image in batch] for title, batch in images.items()}
    everything = [image for column in columns.values() for image in column]
    if not everything:
        raise ValueError("a sample grid needs at least one image")
    width, height = (max(image.size[axis] for image in everything) for axis in (0, 1))
    factor = max(1, math.ceil(_MIN_CELL / width))
    width, height = width * factor, height * factor
    rows = max(len(column) for column in columns.values())
    gap = max(4, width // 32)
    font = _caption_font(list(columns), width)
    caption = math.ceil(font.size * 1.25)

    grid = Image.new(
        "RGB",
        (gap + len(columns) * (width + gap), 2 * gap + caption + rows * (height + gap)),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(grid)
    for index, (title, column) in enumerate(columns.items()):
        left = gap + index * (width + gap)
        draw.text((left + width / 2, gap + caption / 2), _fit(title, font, width), _INK, font, anchor="mm")
        for row, image in enumerate(column):
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.NEAREST)
            grid.paste(image, (left, 2 * gap + caption + row * (height + gap)))
    return grid


def _to_image(tensor: Tensor) -> Image.Image:
    if tensor.shape[0] not in (1, 3):
        raise ValueError(f"a sample grid draws images of 1 or 3 channels, got {tensor.shape[0]}")
    # a diverging network's NaN and infinities must not keep its samples from being drawn
    finite = tensor.detach().float().nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0).clamp(-1, 1)
    pixels = (finite + 1).mul(127.5).round().byte().cpu()
    return Image.fromarray(pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def _caption_font(titles: Iterable[str], width: int) -> Any:
    """The largest font, within reason, in which each title is no wider than its column."""
    for size in range(max(13, min(width // 11, 32)), 12, -1):
        font = ImageFont.load_default(size)
        if all(font.getlength(title) <= width for title in titles):
            return font
    return ImageFont.load_default(12)


def _fit(title: str, font: Any, width: int) -> str:
    while len(title) > 1 and font.getlength(title) > width:
        title = title.rstrip("…")[:-1] + "…"
    return title
