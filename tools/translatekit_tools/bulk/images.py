"""From the bytes of an image file to a request of the model, and from its translation to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from translatekit.images import Picture, encode_picture, read_picture, to_uint8
from translatekit.inference.batching import Request
from translatekit.inference.predictor import Predictor


@dataclass(slots=True, eq=False)
class Decoded:
    """An image that goes through the model.

    Attributes:
        request: what the model is asked.
        alpha: (H, W) of the output, or None.
        icc_profile: of the output.
        cut: whether it lost depth, since the model computes with 8 bits a channel.
    """

    request: Request
    alpha: np.ndarray | None
    icc_profile: bytes | None
    cut: bool

    def picture(self) -> Picture:
        """The translation, with what the output keeps of the input.

        Raises:
            Exception: why it could not be translated.
        """
        return Picture(self.request.result(), self.alpha, self.icc_profile)


def decode(source: Path | bytes, predictor: Predictor, most: int = 1, page: int = 0) -> Decoded:
    """Decode an image file as the model takes it.

    Args:
        source: the file, or its bytes.
        predictor: of the model.
        most: how many images of its shape to translate at once.
        page: of a TIFF.

    Raises:
        DataError: it cannot be read, or is too small to crop.
    """
    info = predictor.info
    picture = read_picture(source, cast(Literal[1, 3], info.input.count), page=page)
    pixels, alpha = picture.pixels, picture.alpha
    cut = pixels.dtype != np.uint8 and predictor.bits == 8
    if cut:
        pixels, alpha = to_uint8(pixels), None if alpha is None else to_uint8(alpha)
    return Decoded(
        request=predictor.request(predictor.prepare(pixels), most),
        alpha=None if alpha is None else predictor.prepare(alpha),
        # A profile says what the numbers mean: it holds for the output where that has the same channels.
        icc_profile=picture.icc_profile if info.output.count == info.input.count else None,
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
    return encode_picture(decoded.picture(), suffix, quality=quality, compression=compression)
