"""Random geometry that depends on the seed, the epoch and the index alone, and the way to tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import resize
from translatekit.interfaces import DataOptions


@dataclass(frozen=True, slots=True)
class Geometry:
    """A crop and a mirroring, to be applied alike to all images of an item.

    Attributes:
        top, left: of the crop, in pixels.
        size: of the crop, in pixels a side.
        flip: whether to mirror left to right.
    """

    top: int
    left: int
    size: int
    flip: bool

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Apply to (H, W, C)."""
        crop = pixels[self.top : self.top + self.size, self.left : self.left + self.size]
        return crop[:, ::-1] if self.flip else crop


def check_sizes(options: DataOptions) -> None:
    """Refuse sizes that cannot be.

    Raises:
        OptionError: the crop is not positive, or larger than what images are resized to.
    """
    if options.crop_size < 1:
        raise OptionError(f"crop_size must be at least 1, got {options.crop_size}: pass --crop-size 256")
    if options.load_size is not None and options.load_size < options.crop_size:
        raise OptionError(
            f"load_size {options.load_size} is smaller than crop_size {options.crop_size}: "
            f"pass --load-size {options.crop_size} or more, or a smaller --crop-size"
        )


def item_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one item of one epoch."""
    return np.random.default_rng((seed % 2**64, epoch, index))


def draw_geometry(rng: np.random.Generator, options: DataOptions, size: tuple[int, int]) -> Geometry:
    """A random crop, mirrored half the time, for the training split; the whole image for the others.

    Args:
        rng: of the item; two numbers and a third are drawn from it, whatever the options.
        options: its `crop_size`, `flip` and `split` decide.
        size: height and width of the image, neither smaller than the crop.
    """
    vertical, horizontal, mirror = rng.random(3)
    if options.split != "train":
        return Geometry(0, 0, options.crop_size, False)
    top, left = size[0] - options.crop_size, size[1] - options.crop_size
    return Geometry(
        top=int(vertical * (top + 1)),
        left=int(horizontal * (left + 1)),
        size=options.crop_size,
        flip=options.flip and mirror < 0.5,
    )


def loaded(pixels: np.ndarray, options: DataOptions, spec: ImageSpec) -> np.ndarray:
    """Resize (H, W, C) of a spec to the size that is cropped from: `load_size` in training, else `crop_size`."""
    side = options.load_size if options.split == "train" else options.crop_size
    return pixels if side is None else resize(pixels, (side, side), spec)


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, C), uint8 in [0, 255] or float32 in [0, 1], as (C, H, W), float32 in [-1, 1]."""
    scaled = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
    scaled /= 127.5 if pixels.dtype == np.uint8 else 0.5
    scaled -= 1.0
    return torch.from_numpy(scaled)


def to_pixels(image: torch.Tensor | np.ndarray) -> np.ndarray:
    """The way back, for what is looked at: (C, H, W) in [-1, 1] as (H, W, C) uint8; what lies outside is clipped."""
    levels = (np.asarray(image, np.float32).transpose(1, 2, 0) + 1.0) * 127.5
    return np.rint(np.clip(levels, 0.0, 255.0)).astype(np.uint8)
