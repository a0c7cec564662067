"""Writing photographs and what is stored like them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from translatekit.errors import DataError
from translatekit.images import png
from translatekit.images.image import Image, in_8_bits, in_16_bits, to_levels, with_alpha
from translatekit.images.pixels import fitting_profile, to_pillow
from translatekit.images.tiff import encode_page
from translatekit.images.tiff_tags import TIFF

_WHOLE_CHROMA = 90
"""Quality from which chroma is not subsampled."""

_LONGEST_JPEG = 65_500
"""Pixels of a side that the JPEG library writes."""


def encode_raster(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """Encode an image for a file of a suffix.

    TIFF holds everything. PNG holds unsigned integers of up to 4 channels, and takes levels of other depths in 16 bits.
    The others hold gray and RGB of 8 bits, to which deeper levels are rounded. Alpha is carried where the format has it
    (PNG, TIFF, WebP, AVIF), and dropped elsewhere. The colour profile is kept where the format has one (not BMP).

    Args:
        image: what to encode.
        suffix: in lower case, of a format of Pillow's.
        quality: of JPEG, WebP and AVIF, from 1 to 100.
        compression: effort of PNG and TIFF, from 0 (none) to 9.

    Raises:
        DataError: the image is of no size that the format allows.
    """
    is_plain = image.pixels.dtype == np.uint8 and image.white == 255 and image.spec.shown
    if suffix in (".tif", ".tiff") and not (is_plain and TIFF not in image.metadata):
        return encode_page(image, compression)
    if suffix == ".png" and not is_plain:
        return _encode_numbers(image, compression)
    if not image.spec.shown:
        raise DataError(f"{image.spec} cannot be written as {suffix}, which holds gray and RGB: choose .tiff")
    if suffix == ".avif" and image.pixels.dtype != np.uint8 and image.icc_profile is None:
        return _encode_deep_avif(image, quality)
    samples = image.pixels
    if image.alpha is not None and suffix not in (".jpg", ".jpeg", ".bmp"):
        samples = with_alpha(image)
    if samples.dtype != np.uint8:
        samples = in_8_bits(image, samples)
    # 4:4:4 where quality is asked for: subsampled chroma bleeds over the hard edges of label maps.
    whole_chroma = quality >= _WHOLE_CHROMA
    is_jpeg = suffix in (".jpg", ".jpeg")
    if is_jpeg and image.icc_profile is None and max(samples.shape) <= _LONGEST_JPEG:
        return _encode_plain_jpeg(samples, quality, whole_chroma)

    pillow = to_pillow(samples)
    options: dict[str, Any] = {"icc_profile": image.icc_profile}
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
        pillow = pillow.convert("RGBA" if pillow.mode in ("LA", "RGBA") else "RGB")
        options["icc_profile"] = fitting_profile(image.icc_profile, 3)
    return _saved(pillow, suffix, options)


def _saved(pillow: PillowImage.Image, suffix: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        pillow.save(buffer, **options)
    except (OSError, ValueError, struct.error) as error:
        raise DataError(
            f"an image of {pillow.width}x{pillow.height} pixels cannot be written as {suffix} ({error}): "
            "choose another format, such as .png"
        ) from None
    return buffer.getvalue()


def _encode_numbers(image: Image, compression: int) -> bytes:
    """A PNG of what is not plain gray or RGB of 8 bits."""
    samples = with_alpha(image)
    if image.white is not None and image.white not in (255, 65535):
        samples = in_16_bits(image, samples)
    if samples.dtype == np.uint16:
        return png.encode(samples, image.icc_profile, compression)
    pillow = to_pillow(samples)
    if image.palette is not None and samples.shape[2] == 1:
        pillow.putpalette(image.palette.tobytes())
    options = {"format": "PNG", "compress_level": compression, "icc_profile": image.icc_profile}
    return _saved(pillow, ".png", options)


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


def encode_netpbm(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """A PGM of gray or a PPM of RGB, binary, whose white is the image's."""
    pixels = image.pixels
    white = int(image.white) if image.white is not None else int(np.iinfo(pixels.dtype).max)
    if pixels.dtype == np.float32:
        pixels, white = in_16_bits(image, pixels), 65535
    kind = "P6" if pixels.shape[2] == 3 else "P5"
    head = f"{kind}\n{pixels.shape[1]} {pixels.shape[0]}\n{white}\n".encode()
    return head + pixels.astype(">u2" if pixels.dtype == np.uint16 else np.uint8).tobytes()


def encode_jpeg2000(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """A lossless JPEG 2000 of the bits that the image has."""
    import imagecodecs

    pixels = image.pixels
    if pixels.dtype == np.float32:
        pixels = in_16_bits(image, pixels)
    bits = pixels.dtype.itemsize * 8
    if pixels.dtype == np.uint16 and image.white is not None and image.pixels.dtype == np.uint16:
        bits = max(9, int(image.white).bit_length())
    return bytes(
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels),
            level=0,
            reversible=True,
            codecformat="jp2" if suffix == ".jp2" else "j2k",
            bitspersample=bits,
        )
    )


def _encode_deep_avif(image: Image, quality: int) -> bytes:
    """An AVIF of 10 bits where the image has no more, else of 12."""
    import imagecodecs

    samples = with_alpha(image)
    bits = 10 if image.white == 1023 else 12
    unit = to_levels(samples, image).astype(np.float32)
    levels = np.rint(np.clip(unit, 0, 1) * (2**bits - 1)).astype(np.uint16)
    if image.pixels.shape[2] == 1:
        levels = levels[:, :, [0, 0, 0, *range(1, levels.shape[2])]]
    return bytes(imagecodecs.avif_encode(np.ascontiguousarray(levels), level=quality, bitspersample=bits))
