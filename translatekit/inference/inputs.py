"""Arrays, Pillow images and files as a model takes them, and what becomes of each as the same kind again."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from translatekit.errors import DataError, TranslatekitWarning
from translatekit.images import Picture, read_picture, to_gray, to_uint8
from translatekit.interfaces import Translator
from translatekit.model_info import ModelInfo

_KINDS = "an array (H, W, C) or (H, W), a Pillow image, or the path of a file"


@dataclass(frozen=True, slots=True)
class Given:
    """An image as the model takes it, and the way back to what was given.

    Attributes:
        pixels: (H, W, C), uint8 in [0, 255] or float32 in [0, 1].
        alpha: (H, W) of its transparency, where it has any; to be resized and cropped as the pixels are.
        give_back: from the translation (H, W, C') and that alpha to what the user gets.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    give_back: Callable[..., Any]


def cut_to_8_bits(name: str) -> str:
    """What people are told of an image or video of more bits than the model's 8."""
    return (
        f"this compiled model computes with 8 bits a channel, and {name} has more, of which 8 are kept: "
        "the .safetensors model keeps them all"
    )


def take(image: Any, translator: Translator) -> Given:
    """What a user gives to be translated.

    - An array is (H, W, C), or (H, W) for gray: uint8 in [0, 255], uint16 in [0, 65535], bool, or floats in [0, 1]. Its
      translation has the same dtype, and no axis of channels where the array had none and the model gives one channel.
    - A Pillow image keeps its transparency, and its colour profile where the translation has as many channels.
    - A file is read as ``translatekit run`` reads it, upright, and comes back as an array: uint8, or float32 in [0, 1]
      where it has more than 8 bits a channel.

    RGB becomes gray by luma (ITU-R BT.601), gray becomes RGB by repetition.

    Raises:
        DataError: it is none of these, cannot be read, or has other channels or values.
    """
    if isinstance(image, np.ndarray):
        return _of_array(image, translator)
    if isinstance(image, Image.Image):
        return _of_pillow(image, translator)
    if isinstance(image, str | Path):
        path = Path(image).expanduser()
        pixels = _conform(read_picture(path).pixels, translator, str(path))
        return Given(pixels, None, lambda output, alpha: output)
    raise DataError(f"a predictor takes {_KINDS}, got {type(image).__name__}: convert it")


def to_channels(pixels: np.ndarray, info: ModelInfo, name: str) -> np.ndarray:
    """Pixels (H, W, C) of an image with the channels that a model takes.

    Args:
        pixels: uint8 in [0, 255] or float32 in [0, 1].
        info: the model's header.
        name: what an error calls the image.

    Raises:
        DataError: there is no rule that makes the model's channels of them.
    """
    wanted, there = info.input.count, pixels.shape[2]
    if there == 3 and wanted == 1:
        return to_gray(pixels)
    if there == 1 and wanted == 3:
        return np.repeat(pixels, 3, axis=2)
    if there != wanted:
        raise DataError(
            f"the model takes images of {wanted} channels, and {name} has {there}: choose the channels that it is for"
        )
    return pixels


def _conform(pixels: np.ndarray, translator: Translator, name: str) -> np.ndarray:
    """The same, with a word on depth that is lost."""
    if pixels.dtype != np.uint8 and getattr(translator, "bits", None) == 8:
        warnings.warn(cut_to_8_bits(name), TranslatekitWarning, stacklevel=5)
    return to_channels(pixels, translator.info, name)


def _of_array(array: np.ndarray, translator: Translator) -> Given:
    if array.ndim not in (2, 3) or 0 in array.shape:
        several = ": pass several images to translate_many" if array.ndim == 4 else ": give one of an image"
        raise DataError(f"a predictor takes {_KINDS}, got an array of shape {array.shape}{several}")
    flat = array.ndim == 2
    pixels = _to_levels(array[:, :, None] if flat else array)
    given = _conform(pixels, translator, "the array")

    def give_back(output: np.ndarray, alpha: None) -> np.ndarray:
        values = _from_levels(output, array.dtype)
        return values[:, :, 0] if flat and values.shape[2] == 1 else values

    return Given(given, None, give_back)


def _to_levels(array: np.ndarray) -> np.ndarray:
    """uint8 in [0, 255], or float32 in [0, 1], of the levels of any other dtype.

    Raises:
        DataError: they are no levels.
    """
    kind = array.dtype
    if kind == np.uint8:
        return array
    if kind == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if kind == np.uint16:
        return array.astype(np.float32) / np.float32(65535)
    if kind.kind != "f":
        raise DataError(
            f"an array of {kind} says nothing of what is white: make it uint8 in 0 to 255, uint16 in 0 to 65535, "
            "or float32 in 0 to 1"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise DataError(
            f"the values of an array of {kind} are in 0 to 1, got {low:g} to {high:g}: scale them, or pass uint8"
        )
    return array.astype(np.float32, copy=False)


def _from_levels(output: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """The levels of a translation, uint8 or float32, in the dtype that came in."""
    if output.dtype == dtype:
        return output
    if dtype == np.bool_:
        return to_uint8(output) >= 128
    if dtype == np.uint16:
        return np.rint(output.clip(0, 1) * 65535).astype(np.uint16)
    return output.astype(dtype)


def _of_pillow(image: Image.Image, translator: Translator) -> Given:
    picture = _picture_of(image)
    info = translator.info
    pixels = _conform(picture.pixels, translator, "the image")
    deep = pixels.dtype != np.uint8
    if deep and info.output.count != 1:
        raise DataError(
            f"Pillow holds no image of {info.output.count} channels and more than 8 bits, which the translation "
            f"of one of mode {image.mode} would be: pass its array, or the path of its file"
        )
    return Given(pixels, picture.alpha, partial(_to_pillow, like=image, info=info))


def _picture_of(image: Image.Image) -> Picture:
    """A Pillow image of any mode as gray or RGB, with its transparency."""
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        top = 1.0 if image.mode == "F" else 65535.0
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= top):
            raise DataError(
                f"the values of an image of mode {image.mode} are in 0 to {top:g}, got {low:g} to {high:g}: scale them"
            )
        return Picture((values / top).astype(np.float32)[:, :, None])
    gray = image.mode in ("1", "L", "LA", "La")
    alpha = image.has_transparency_data
    mode: Literal["L", "LA", "RGB", "RGBA"] = (
        ("LA" if alpha else "L") if gray else ("RGBA" if alpha else "RGB")
    )
    samples = np.asarray(image.convert(mode))
    samples = samples if samples.ndim == 3 else samples[:, :, None]
    colours = 1 if gray else 3
    return Picture(np.ascontiguousarray(samples[:, :, :colours]), samples[:, :, colours] if alpha else None)


def _to_pillow(
    output: np.ndarray, alpha: np.ndarray | None, like: Image.Image, info: ModelInfo
) -> Image.Image:
    if output.dtype != np.uint8:
        plane = output[:, :, 0]
        if like.mode == "F":
            result = Image.fromarray(np.ascontiguousarray(plane))
        else:
            result = Image.fromarray(_from_levels(plane, np.dtype(np.uint16)))
            result = result.convert(like.mode) if like.mode == "I" else result
    else:
        if output.shape[2] not in (1, 3):
            raise DataError(
                f"Pillow holds no image of {output.shape[2]} channels, which this model gives: pass an array"
            )
        samples = output if alpha is None else np.dstack([output, alpha])
        result = Image.fromarray(np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples))
    profile = like.info.get("icc_profile")
    if profile is not None and info.input.count == info.output.count:
        result.info["icc_profile"] = profile
    return result
