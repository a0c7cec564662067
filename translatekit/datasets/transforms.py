"""Random geometry that depends on the seed, the epoch and the index alone, and the way to tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from translatekit.augmentation import Augment
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import resize
from translatekit.interfaces import DataOptions

_KNOTS = 5  # a side, between which the moves of an elastic change are drawn smoothly


@dataclass(frozen=True, slots=True)
class Geometry:
    """A crop, what it is bent by, and a mirroring, to be applied alike to all images of an item; and its colours.

    Attributes:
        top, left: of the crop, in pixels.
        size: of the crop, in pixels a side.
        flip: whether to mirror left to right.
        moved: (2, size, size): how far from its own place each pixel's value comes from, in pixels right and down; None
            where each stays.
        colors: contrast, saturation and brightness, each in [-1, 1]; None where they stay.
    """

    top: int
    left: int
    size: int
    flip: bool
    moved: np.ndarray | None = None
    colors: np.ndarray | None = None

    def __call__(self, pixels: np.ndarray, nearest: bool = False) -> np.ndarray:
        """Apply to (H, W, C) or (H, W).

        Args:
            pixels: of any dtype.
            nearest: take values as they are where pixels are moved, as those of label maps must be, instead of what
                lies between four of them.
        """
        if self.moved is not None:
            crop = self._bent(pixels, nearest or pixels.dtype == bool)
        else:
            crop = pixels[self.top : self.top + self.size, self.left : self.left + self.size]
        return crop[:, ::-1] if self.flip else crop

    def _bent(self, pixels: np.ndarray, nearest: bool) -> np.ndarray:
        assert self.moved is not None
        planes = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
        height, width = planes.shape[1:]
        own = np.arange(self.size, dtype=np.float32)
        places = self.moved + np.stack(np.meshgrid(own + self.left, own + self.top))
        places = places.transpose(1, 2, 0) * 2 / np.maximum([width - 1, height - 1], 1) - 1
        bent = F.grid_sample(
            torch.from_numpy(np.ascontiguousarray(planes, np.float32))[None],
            torch.from_numpy(places.astype(np.float32))[None],
            "nearest" if nearest else "bilinear",
            "reflection",
            align_corners=True,
        )[0].numpy()
        if np.issubdtype(pixels.dtype, np.integer):
            bent = np.rint(bent)
        return bent.transpose(1, 2, 0).reshape(self.size, self.size, *pixels.shape[2:]).astype(pixels.dtype)

    def recolored(self, pixels: np.ndarray, spec: ImageSpec, strength: float) -> np.ndarray:
        """(H, W, C) of a spec with its contrast, saturation and brightness changed, in its range and of its dtype.

        Args:
            pixels: of levels, or values.
            spec: what they are; label maps stay as they are.
            strength: what the numbers in `colors` are times, in [0, 1].
        """
        if self.colors is None or not strength or spec.meaning == "labels":
            return pixels
        contrast, saturation, brightness = self.colors * strength
        # Of each channel its own, where they have ranges of their own.
        low, high = (
            (0.0, 255.0 if pixels.dtype == np.uint8 else 1.0)
            if spec.levels
            else np.array(spec.bounds, np.float32).T
        )
        values = (pixels.astype(np.float32) - low) / (high - low)
        if spec.meaning == "rgb":
            gray = values.mean(-1, keepdims=True)
            values = gray + (values - gray) * (1 + saturation)
        values = 0.5 + (values - 0.5) * (1 + contrast) + brightness / 2
        if spec.levels or spec.clip:
            values = np.clip(values, 0, 1)
        values = values * (high - low) + low
        return (np.rint(values) if np.issubdtype(pixels.dtype, np.integer) else values).astype(pixels.dtype)


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
        rng: of the item; three numbers are drawn from it, and more where there is more to be decided.
        options: its `crop_size`, `flip`, `augment` and `split` decide.
        size: height and width of the image, neither smaller than the crop.
    """
    vertical, horizontal, mirror = rng.random(3)
    if not options.at_random:
        return Geometry(0, 0, options.crop_size, False)
    top, left = size[0] - options.crop_size, size[1] - options.crop_size
    augment = options.augment or Augment()
    return Geometry(
        top=int(vertical * (top + 1)),
        left=int(horizontal * (left + 1)),
        size=options.crop_size,
        flip=options.flip and mirror < 0.5,
        moved=_draw_moves(rng, augment, options.crop_size) if augment.geometry else None,
        colors=rng.uniform(-1, 1, 3) if options.augment else None,
    )


def _draw_moves(rng: np.random.Generator, augment: Augment, size: int) -> np.ndarray:
    """A rotation and a scaling about the middle of the crop, and a smooth field of moves: (2, size, size)."""
    angle = np.deg2rad(rng.uniform(-1, 1) * augment.rotate)
    factor = np.exp(rng.uniform(*np.log(augment.scale)))
    field = torch.from_numpy(rng.uniform(-1, 1, (1, 2, _KNOTS, _KNOTS)))
    own = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(own, own)
    turned = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y]) / factor
    smooth = F.interpolate(field, (size, size), mode="bilinear", align_corners=True)[0].numpy()
    moves: np.ndarray = (turned - np.stack([x, y]) + smooth * augment.elastic * size).astype(np.float32)
    return moves


def loaded(pixels: np.ndarray, options: DataOptions, spec: ImageSpec) -> np.ndarray:
    """Resize (H, W, C) of a spec to the size that is cropped from: `load_size` in training, else `crop_size`."""
    side = options.load_size if options.at_random else options.crop_size
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
