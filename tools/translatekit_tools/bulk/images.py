"""From the bytes of an image file to a request of the model, and from its translation to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translatekit.image_spec import ImageSpec
from translatekit.images import Image, encode_image, fit_image, image_from, read_image, suffix_of, to_uint8
from translatekit.inference.batching import Request
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


def decode(path: Path, data: bytes, predictor: Predictor, most: int = 1, page: int = 0) -> Decoded:
    """Decode an image file as the model takes it.

    Args:
        path: of the file.
        data: its bytes, where they have been read; else empty.
        predictor: of the model.
        most: how many images of its shape to translate at once.
        page: of a TIFF.

    Raises:
        DataError: it cannot be read, is not what the model takes, or is too small to crop.
    """
    info = predictor.info
    image = read_image(data or path, page=page, suffix=suffix_of(path))
    pixels = fit_image(image, info.input, str(path))
    cut = pixels.dtype != np.uint8 and "float32" not in predictor.dtypes
    pixels = predictor.prepare(to_uint8(pixels) if cut else pixels)
    return Decoded(
        request=predictor.request(pixels, most),
        like=predictor.carried(image, *pixels.shape[:2]),
        spec=info.output,
        cut=cut,
    )


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
