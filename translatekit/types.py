"""The names for values that several modules share. It imports nothing of ours, so everything may import it."""

from __future__ import annotations

from typing import Literal, TypedDict

Direction = Literal["AtoB", "BtoA"]
"""Which side of a pair is the input."""

NormInference = Literal["running", "per_image"]
"""What batch normalization uses at inference: the statistics of training, or those of each image."""

Color = Literal["rgb", "gray", "lab"]
"""What the channels of an image mean."""

SliceAxis = Literal["axial", "coronal", "sagittal"]
"""Slices of a body: across it, from back to front, or from side to side."""

Cache = Literal["none", "memory", "disk"]
"""Where decoded training images are kept."""

AugmentKind = Literal["color", "translation", "cutout"]
"""Changes of what a discriminator sees, through which gradients pass."""

Schedule = Literal["linear", "cosine"]
"""How a learning rate falls to zero."""

HdrHandling = Literal["keep", "sdr"]
"""What becomes of HDR and wide-gamut videos: values as they are, or tone-mapped to SDR in the colours of BT.709."""


class PaletteClass(TypedDict):
    """A class of label maps: its name, and its colour as sRGB levels in [0, 255]."""

    name: str
    color: list[int]
