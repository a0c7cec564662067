"""Writing image files with all that can be kept."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np

from translatekit.errors import DataError, OptionError
from translatekit.images import png
from translatekit.images.picture import Picture, fitting_profile, to_pillow, to_uint8, to_uint16
from translatekit.images.tiff import encode_page

WRITABLE_SUFFIXES: frozenset[str] = frozenset(
    {".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Suffixes that `encode_picture` writes."""

_WHOLE_CHROMA = 90
"""Quality from which chroma is not subsampled."""

_LONGEST_JPEG = 65_500
"""Pixels of a side that the JPEG library writes."""


def encode_picture(picture: Picture, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """Encode an image for a file of a suffix.

    float32 pixels are written with 16 bits a channel where the format has them (PNG, TIFF), else with 8.
    Alpha is carried where the format has it (PNG, TIFF, WebP, AVIF), and dropped elsewhere. The colour
    profile is kept where the format has one (not BMP).

    Args:
        picture: what to encode.
        suffix: one of `WRITABLE_SUFFIXES`.
        quality: of JPEG, WebP and AVIF, from 1 to 100.
        compression: effort of PNG and TIFF, from 0 (none) to 9.

    Raises:
        OptionError: the suffix is none of these.
        DataError: the format cannot hold an image of this size.
    """
    suffix = suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise OptionError(
            f"images cannot be written as {suffix!r}: choose one of {', '.join(sorted(WRITABLE_SUFFIXES))}"
        )
    if picture.pixels.dtype != np.uint8 and suffix in (".tif", ".tiff"):
        return encode_page(picture, compression)
    samples = picture.pixels
    if picture.alpha is not None and suffix not in (".jpg", ".jpeg", ".bmp"):
        samples = np.concatenate([samples, picture.alpha[:, :, None]], axis=2)
    if samples.dtype != np.uint8 and suffix == ".png":
        return png.encode(to_uint16(samples), picture.icc_profile, compression)
    # 4:4:4 where quality is asked for: subsampled chroma bleeds over the hard edges of label maps.
    whole_chroma = quality >= _WHOLE_CHROMA
    is_jpeg = suffix in (".jpg", ".jpeg")
    if is_jpeg and picture.icc_profile is None and max(samples.shape) <= _LONGEST_JPEG:
        return _encode_plain_jpeg(to_uint8(samples), quality, whole_chroma)

    image = to_pillow(to_uint8(samples))
    options: dict[str, Any] = {"icc_profile": picture.icc_profile}
    if suffix == ".png":
        options |= {"format": "PNG", "compress_level": compression}
    elif is_jpeg:
        options |= {"format": "JPEG", "quality": quality, "subsampling": 0 if whole_chroma else 2}
    elif suffix in (".tif", ".tiff"):
        options |= {"format": "TIFF", "compression": "tiff_adobe_deflate" if compression else None}
    elif suffix == ".bmp":
        options = {"format": "BMP"}
    else:
        options |= {"format": suffix[1:].upper(), "quality": quality}
        if suffix == ".avif":
            options["subsampling"] = avif_subsampling(quality)
        image = image.convert("RGBA" if image.mode in ("LA", "RGBA") else "RGB")
        options["icc_profile"] = fitting_profile(picture.icc_profile, 3)
    buffer = io.BytesIO()
    try:
        image.save(buffer, **options)
    except (OSError, ValueError, struct.error) as error:
        raise DataError(
            f"an image of {image.width}x{image.height} pixels cannot be written as {suffix} ({error}): "
            "choose another format, such as .png"
        ) from None
    return buffer.getvalue()


def avif_subsampling(quality: int) -> str:
    """How the chroma of an AVIF is stored at a quality from 1 to 100."""
    return "4:4:4" if quality >= _WHOLE_CHROMA else "4:2:0"


def _encode_plain_jpeg(pixels: np.ndarray, quality: int, whole_chroma: bool) -> bytes:
    """What Pillow would write, by imagecodecs, which lets other threads work meanwhile."""
    import imagecodecs

    if pixels.shape[2] == 1:
        return bytes(imagecodecs.jpeg8_encode(pixels[:, :, 0], level=quality))
    return bytes(
        imagecodecs.jpeg8_encode(pixels, level=quality, subsampling="444" if whole_chroma else "420")
    )
