"""Arrays, Pillow images and files as a model takes them, and what becomes of each as the same kind again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from translatekit.errors import DataError, TranslatekitWarning
from translatekit.image_spec import ImageSpec
from translatekit.images import Image, fit_image, image_from, read_image
from translatekit.images.image import file_spec, kept, rescaled, white_of
from translatekit.images.reading import to_srgb
from translatekit.interfaces import Translator
from translatekit.model_info import ModelInfo

_KINDS = "an array (H, W, C) or (H, W), a Pillow image, or the path of a file"


@dataclass(frozen=True, slots=True)
class ConvertedInput:
    """An image as the model takes it, and the conversion of its translation back.

    Attributes:
        pixels: (H, W, C) of the model's input.
        image: what else came with them, such as transparency; None where nothing does.
        convert_back: from the translation (H, W, C'), and `image` as large as that, to what the user gets.
    """

    pixels: np.ndarray
    image: Image | None
    convert_back: Callable[[np.ndarray, Image | None], Any]


def cut_to_8_bits(name: str) -> str:
    """The warning about an image or a video of more bits than the model's 8."""
    return (
        f"this compiled model computes with 8 bits a channel, and {name} has more, of which 8 are kept: "
        "the .safetensors model keeps them all, and so does one that is compiled with --dtype float32"
    )


def convert_input(image: Any, translator: Translator) -> ConvertedInput:
    """What a user gives to be translated.

    - An array is (H, W, C), or (H, W) for one channel. For a model of levels it is uint8 in [0, 255], uint16 in
      [0, 65535], bool, or floats in [0, 1], and where the model gives levels the translation has the same dtype. For a
      model of values it holds those, in the model's unit, in any dtype, and for one of labels the numbers of classes.
      Values come back as float32 in their unit, numbers of classes as uint8. The translation has no axis of channels
      where the array had none and the model gives one channel.
    - A Pillow image keeps its transparency, and its colour profile where the translation has as many channels.
    - A file is read as ``translatekit run`` reads it, upright, and comes back as an array: levels as uint8, or float32
      in [0, 1] where it has more than 8 bits a channel; values and labels as those of an array.

    Channels and depth are converted by the rules of `translatekit.images.fit_image`, such as luma for gray.

    Raises:
        DataError: it is none of these, cannot be read, or is not what the model takes.
    """
    if isinstance(image, np.ndarray):
        return _of_array(image, translator)
    if isinstance(image, PillowImage.Image):
        return _of_pillow(image, translator)
    if isinstance(image, str | Path):
        path = Path(image).expanduser()
        pixels = fit_image(read_image(path), translator.info.input, str(path))
        return ConvertedInput(_warned(pixels, translator, str(path)), None, lambda output, _: output)
    raise DataError(f"a predictor takes {_KINDS}, got {type(image).__name__}: convert it")


def fit_levels(pixels: np.ndarray, info: ModelInfo, name: str) -> np.ndarray:
    """Levels (H, W, C), uint8 in [0, 255] or float32 in [0, 1], as a model takes them.

    Raises:
        DataError: there is no rule that makes the model's input of them.
    """
    white = 255.0 if pixels.dtype == np.uint8 else 1.0
    image = Image(pixels=pixels, spec=file_spec(pixels.shape[2], pixels.dtype.name, True), white=white)
    return fit_image(image, info.input, name)


def as_deep_as_output(pixels: np.ndarray, info: ModelInfo, dtypes: Collection[str]) -> np.ndarray:
    """Pixels of a model's input as float32 where it gives levels of more than 8 bits, which it gives as they come in.

    Args:
        pixels: (H, W, C) of the input.
        info: of the model.
        dtypes: those that it takes without a loss.
    """
    if (
        pixels.dtype != np.uint8
        or not info.output.levels
        or info.output.eight_bits
        or "float32" not in dtypes
    ):
        return pixels
    floats = pixels.astype(np.float32)
    return floats / np.float32(255) if info.input.levels else floats


def _warned(pixels: np.ndarray, translator: Translator, name: str) -> np.ndarray:
    """The pixels, with a warning where the model's 8 bits lose some of their depth."""
    if pixels.dtype != np.uint8 and "float32" not in getattr(translator, "dtypes", ("uint8", "float32")):
        warnings.warn(cut_to_8_bits(name), TranslatekitWarning, stacklevel=5)
    return pixels


# Arrays


def _of_array(array: np.ndarray, translator: Translator) -> ConvertedInput:
    info = translator.info
    if array.ndim not in (2, 3) or 0 in array.shape:
        several = ": pass several images to translate_many" if array.ndim == 4 else ": give one of an image"
        raise DataError(f"a predictor takes {_KINDS}, got an array of shape {array.shape}{several}")
    flat = array.ndim == 2
    image = _image_of(array[:, :, None] if flat else array, info.input)
    pixels = fit_image(image, replace(info.input, slices=1), "the array")

    def convert_back(output: np.ndarray, _: object) -> np.ndarray:
        levels = info.output.levels and info.input.levels
        values = _levels_as(output, array.dtype) if levels else output
        return values[:, :, 0] if flat and values.shape[2] == 1 else values

    return ConvertedInput(_warned(pixels, translator, "the array"), None, convert_back)


def _image_of(array: np.ndarray, spec: ImageSpec) -> Image:
    """An array (H, W, C) as an image of what a model takes; where it has as many channels, they are the model's.

    Raises:
        DataError: its numbers are not what the model takes.
    """
    if spec.levels:
        pixels, white = _as_levels(array)
    else:
        try:
            pixels, white = kept(array), None
        except DataError as error:
            raise DataError(f"the array cannot be taken: {error}") from None
    own = file_spec(pixels.shape[2], pixels.dtype.name, spec.levels)
    if own.count == spec.count:
        own = replace(own, channels=spec.channels, meaning=spec.meaning, unit=spec.unit)
    return Image(pixels=pixels, spec=own, white=white)


def _as_levels(array: np.ndarray) -> tuple[np.ndarray, float]:
    """Levels, and the value of white, of an array of any dtype that has levels."""
    kind = array.dtype
    if kind in (np.uint8, np.uint16):
        return array, white_of(kind) or 1.0
    if kind == np.bool_:
        return array.astype(np.uint8) * np.uint8(255), 255.0
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
    return array.astype(np.float32, copy=False), 1.0


def _levels_as(output: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """The levels of a translation, uint8 or float32, in the dtype that came in."""
    if dtype == np.bool_:
        return rescaled(output, np.dtype(np.uint8), 255.0) >= 128
    if dtype.kind == "f":
        return output.astype(dtype, copy=False)
    return rescaled(output, dtype, white_of(dtype))


# Pillow images


def _of_pillow(picture: PillowImage.Image, translator: Translator) -> ConvertedInput:
    info = translator.info
    image = _image_of_pillow(picture)
    pixels = _warned(fit_image(image, info.input, "the image"), translator, "the image")
    deep = not info.output.levels or pixels.dtype != np.uint8
    if info.output.meaning != "labels" and info.output.count != 1 and (deep or info.output.count != 3):
        raise DataError(
            f"Pillow holds no image of {info.output.count} channels"
            + (" and more than 8 bits" if deep else "")
            + f", which the translation of one of mode {picture.mode} would be: pass its array, or the path of its file"
        )
    return ConvertedInput(pixels, image, partial(_to_pillow, like=picture, spec=info.output))


def _image_of_pillow(picture: PillowImage.Image) -> Image:
    """A Pillow image of any mode, with its transparency."""
    icc = picture.info.get("icc_profile")
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = kept(np.asarray(picture)[:, :, None])
        white = white_of(values.dtype)
        return Image(
            pixels=values,
            spec=file_spec(1, values.dtype.name, white is not None),
            white=white,
            icc_profile=icc,
        )
    if picture.mode == "CMYK":
        picture, icc = to_srgb(picture, icc), None
    gray, alpha = picture.mode in ("1", "L", "LA", "La"), picture.has_transparency_data
    samples = np.asarray(picture.convert(("L" if gray else "RGB") + ("A" if alpha else "")))
    samples = samples if samples.ndim == 3 else samples[:, :, None]
    colours = 1 if gray else 3
    colour_map = picture.getpalette("RGB") if picture.mode == "P" else None
    return Image(
        pixels=np.ascontiguousarray(samples[:, :, :colours]),
        spec=file_spec(colours, "uint8", True),
        white=255.0,
        alpha=samples[:, :, colours] if alpha else None,
        icc_profile=icc,
        numbers=np.asarray(picture) if picture.mode in ("P", "L") else None,
        palette=None if colour_map is None else np.array(colour_map, np.uint8).reshape(-1, 3),
    )


def _to_pillow(
    output: np.ndarray, image: Image | None, like: PillowImage.Image, spec: ImageSpec
) -> PillowImage.Image:
    made = image_from(output, spec, image)
    pixels = made.pixels if spec.levels or spec.meaning == "labels" else output
    samples = pixels if made.alpha is None else np.dstack([pixels, made.alpha])
    result = PillowImage.fromarray(
        np.ascontiguousarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    )
    if made.palette is not None:
        result.putpalette(made.palette.tobytes())
    if like.mode == "I" and result.mode == "I;16":
        result = result.convert("I")
    if made.icc_profile is not None:
        result.info["icc_profile"] = made.icc_profile
    return result
