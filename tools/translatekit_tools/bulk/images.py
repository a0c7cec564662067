"""From the bytes of an image file to a request of the model, and from its translation to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images import Image, encode_image, fit_image, image_from, read_image, suffix_of, to_uint8
from translatekit.images.formats import OpenImage
from translatekit.inference.batching import Request
from translatekit.inference.inputs import as_deep_as_output
from translatekit.inference.predictor import Predictor


@dataclass(slots=True, eq=False)
class Decoded:
    """An image that goes through the model.

    Attributes:
        request: what the model is asked.
        like: what the output keeps of the input.
        spec: of the output.
        cut: whether it lost depth, since the model computes with 8 bits a channel.
    """

    request: Request
    like: Image
    spec: ImageSpec
    cut: bool

    def image(self) -> Image:
        """The translation, with what it keeps of the input.

        Raises:
            Exception: why it could not be translated.
        """
        return image_from(self.request.result(), self.spec, self.like)


def decode(path: Path, data: bytes, predictor: Predictor, batch_size: int = 1) -> Decoded:
    """Decode an image file as the model takes it.

    Args:
        path: of the file.
        data: its bytes, where they have been read; else empty.
        predictor: of the model.
        batch_size: how many images of its shape to translate at once.

    Raises:
        DataError: it cannot be read, is not what the model takes, or is too small to crop.
    """
    image = read_image(data or path, suffix=suffix_of(path))
    if predictor.info.input.slices > 1:
        raise DataError(
            f"{path} is one image, and the model takes {predictor.info.input.slices} neighbouring slices of a volume: "
            "give it the whole volume"
        )
    return ask(image, fit_image(image, predictor.info.input, str(path)), predictor, batch_size)


def ask(image: Image, pixels: np.ndarray, predictor: Predictor, batch_size: int = 1) -> Decoded:
    """What the model is asked of an image.

    Args:
        image: what the translation is to be like.
        pixels: (H, W, C) of the model's input.
        predictor: of the model.
        batch_size: how many images of its shape to translate at once.

    Raises:
        DataError: it is too small to crop.
    """
    cut = pixels.dtype != np.uint8 and "float32" not in predictor.dtypes
    pixels = to_uint8(pixels) if cut else as_deep_as_output(pixels, predictor.info, predictor.dtypes)
    pixels = predictor.prepare(pixels)
    return Decoded(
        request=predictor.request(pixels, batch_size),
        like=predictor.carried(image, *pixels.shape[:2]),
        spec=predictor.info.output,
        cut=cut,
    )


class Slices:
    """Slices of a volume, or pages of a file, as a model takes them: with their neighbours, where it wants them."""

    def __init__(self, volume: OpenImage, spec: ImageSpec, name: str) -> None:
        self._volume, self._spec, self._name = volume, spec, name
        self._last = volume.header().pages - 1
        self._near: dict[int, tuple[Image, np.ndarray]] = {}

    def read(self, page: int) -> tuple[Image, np.ndarray]:
        """A slice, and the model's input (H, W, C) for it; at the ends the last slice stands for what is beyond.

        Raises:
            DataError: it cannot be read, or is not what the model takes.
        """
        reach = self._spec.slices // 2
        around = [min(max(near, 0), self._last) for near in range(page - reach, page + reach + 1)]
        known = self._near
        self._near = {near: known.get(near) or self._fitted(near) for near in dict.fromkeys(around)}
        pixels = [self._near[near][1] for near in around]
        return self._near[page][0], pixels[0] if len(pixels) == 1 else np.concatenate(pixels, axis=2)

    def _fitted(self, page: int) -> tuple[Image, np.ndarray]:
        image = self._volume.read(page)
        name = f"{self._name}, slice {page}" if self._last else self._name
        return image, fit_image(image, self._spec, name)


def encode(decoded: Decoded, suffix: str, quality: int, compression: int) -> bytes:
    """Encode the translation of an image, at the size that it came in.

    Args:
        decoded: with its request done.
        suffix: of the output, in lower case, with the dot.
        quality: of JPEG and WebP, 1 to 100.
        compression: of PNG and TIFF, 0 to 9.

    Raises:
        Exception: why it could not be translated.
    """
    return encode_image(decoded.image(), suffix, quality=quality, compression=compression)
