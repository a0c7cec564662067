"""From an image to an array for a spec, and from a model's output to an image.

Nothing else converts channels or depth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import Dtype, ImageSpec
from translatekit.images.image import DTYPES, Image, rescaled, to_levels
from translatekit.images.labels import fit_labels
from translatekit.images.pixels import fitting_profile, to_gray

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601."""

# To what a model takes


def fit_image(image: Image, spec: ImageSpec, name: str) -> np.ndarray:
    """The pixels of an image for a spec, by named rules or not at all.

    - Channels: RGB becomes gray by luma (ITU-R BT.601), gray becomes RGB by repetition, channels are found by their
      names in whatever order, alpha is dropped, or is the last channel where one more is wanted.
    - Levels of any depth are 0 to white. Numbers without a scale are taken for levels where they lie in [0, 1] (floats)
      or in [0, 65535] (integers; of 8 bits: [0, 255]), and refused where they don't.
    - Values are the numbers that the file holds. Where it has none, they are the lowest of the wanted range.
    - Class numbers are those of a palette or of a gray image; with a palette of the spec, they are found by colour.

    Args:
        image: what was read.
        spec: what is wanted: of one slice, where that wants several.
        name: of the file, for sentences.

    Returns:
        (H, W, C) of the spec. Levels: uint8 in [0, 255] where the image has 8 bits, else float32 in [0, 1]. Values:
        float32. Labels: uint8.

    Raises:
        DataError: it does not fit.
    """
    if spec.meaning == "labels":
        return fit_labels(image, spec, name)
    if image.spec.unit and spec.unit and image.spec.unit != spec.unit and not spec.levels:
        raise DataError(
            f"{name} is in {image.spec.unit}, but {spec.unit} is wanted: convert its values, or choose another model"
        )
    pixels = _channels(image, spec, name)
    fitted = to_levels(pixels, image, name) if spec.levels else pixels.astype(np.float32)
    if image.valid is None:
        return fitted
    lowest = np.asarray(spec.low[: fitted.shape[2]], fitted.dtype)
    return np.where(image.valid[:, :, None], fitted, lowest)


def _channels(image: Image, spec: ImageSpec, name: str) -> np.ndarray:
    """The channels that a spec wants, in the dtype of the file."""
    pixels, have = image.pixels, image.spec
    wanted = spec.channels[: spec.count // spec.slices]
    if have.channels == wanted:
        return pixels
    named = not any(channel.startswith("channel ") for channel in wanted)
    if named and set(wanted) <= set(have.channels):
        return np.ascontiguousarray(pixels[:, :, [have.channels.index(channel) for channel in wanted]])
    if spec.meaning == "gray" and have.meaning == "rgb":
        return _luma(pixels)
    if spec.meaning == "rgb" and have.meaning == "gray":
        return np.repeat(pixels, 3, axis=2)
    if have.count == len(wanted) and not _is_colour_clash(have, spec):
        return pixels
    if have.count + 1 == len(wanted) and image.alpha is not None and not spec.shown:
        return np.concatenate([pixels, image.alpha[:, :, None]], axis=2)
    raise DataError(
        f"{name} holds {_brief(have)}, but {_brief(spec)} are wanted: choose images or a model of as many channels, "
        f"or train one with --in-channels {have.count}"
    )


def _is_colour_clash(have: ImageSpec, spec: ImageSpec) -> bool:
    """Whether channels that are as many are known to be others."""
    generic = {True for s in (have, spec) for channel in s.channels if channel.startswith("channel ")}
    return not generic and have.count > 1 and set(have.channels) != set(spec.channels)


def _brief(spec: ImageSpec) -> str:
    if spec.shown:
        return "RGB" if spec.meaning == "rgb" else "gray"
    count = spec.count // spec.slices
    names = ", ".join(spec.channels[:count] if count <= 6 else (*spec.channels[:3], "..."))
    return f"{count} channel{'s' * (count > 1)} ({names})"


def _luma(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return to_gray(pixels)
    return (pixels.astype(np.float32, copy=False) @ LUMA)[:, :, None]


# And back


def image_from(output: np.ndarray, spec: ImageSpec, like: Image | None = None) -> Image:
    """What a model made, as an image to write.

    Args:
        output: (H, W, C) of the spec: uint8, or float32.
        spec: of the model's output.
        like: what it was made from: its depth (of levels), alpha, profile, missing values and metadata are kept where
            they fit.
    """
    height, width = output.shape[:2]
    if spec.meaning == "labels":
        return Image(
            pixels=np.ascontiguousarray(output[:, :, :1]),
            spec=spec,
            palette=_by_number(spec) if spec.palette else None,
            metadata={} if like is None else like.metadata,
        )
    same_size = like is not None and like.pixels.shape[:2] == (height, width)
    if spec.levels:
        pixels, white = _deepest(output, spec, like)
    else:
        pixels, white = _as_dtype(output, spec.dtype), None
    alpha = None
    if like is not None and like.alpha is not None and same_size and spec.levels:
        alpha = rescaled(to_levels(like.alpha, like), pixels.dtype, white)
    icc = None
    if like is not None and spec.levels and like.spec.count == spec.count:
        icc = fitting_profile(like.icc_profile, spec.count)
    return Image(
        pixels=pixels,
        spec=replace(spec, dtype=_named(pixels.dtype)),
        white=white,
        alpha=alpha,
        icc_profile=icc,
        valid=like.valid if like is not None and same_size else None,
        metadata={} if like is None else like.metadata,
    )


def _by_number(spec: ImageSpec) -> np.ndarray:
    """The colours (N, 3) of class numbers from 0 on."""
    colours = np.zeros((max(spec.ids) + 1, 3), np.uint8)
    colours[list(spec.ids)] = spec.palette
    return colours


def _named(dtype: np.dtype) -> Dtype:
    return next(name for name in DTYPES if dtype == name)


def _deepest(output: np.ndarray, spec: ImageSpec, like: Image | None) -> tuple[np.ndarray, float]:
    """Levels with the depth that came in, or with that of the spec, whichever is more."""
    if output.dtype == np.uint8:
        return output, 255.0
    depths = (
        *((like.pixels.dtype,) if like is not None and like.white is not None else ()),
        np.dtype(spec.dtype),
    )
    if all(depth == np.uint8 for depth in depths):
        return rescaled(output, np.dtype(np.uint8), 255.0), 255.0
    if any(depth == np.float32 for depth in depths):
        return output, 1.0
    return rescaled(output, np.dtype(np.uint16), 65535.0), 65535.0


def _as_dtype(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values in their unit as what files of the spec hold; integers are rounded, and end where their type ends."""
    if dtype == "float32":
        return values.astype(np.float32, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
