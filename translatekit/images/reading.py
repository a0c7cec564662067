"""Reading photographs and what is stored like them: all that Pillow reads, in its full depth, and TIFF."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms, UnidentifiedImageError, _imaging

from translatekit.image_spec import ImageSpec
from translatekit.images import png, tiff
from translatekit.images.guard import opened
from translatekit.images.image import Header, Image, file_spec, finite, kept, white_of
from translatekit.images.pixels import (
    MAX_PIXELS,
    UnreadableImageError,
)
from translatekit.images.tiff_tags import TIFF, turned

# What Pillow may try. Its other formats are rare, or start another program (EPS runs Ghostscript).
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "AVIF", "TGA", "JPEG2000", "ICO")

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class RasterReader:
    """A file that Pillow or tifffile reads (see `translatekit.images.formats.Reader`)."""

    def __init__(self, source: Path | bytes) -> None:
        self._file = opened(source)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def header(self, page: int = 0) -> Header:
        """What the file says of a page; pixels are not decoded."""
        file = self._file
        place = _place(file, page)
        if place is not None:
            return tiff.page_header(file, place)
        with _image(file) as image:
            width, height = image.size
            if _orientation(image) >= 5 and image.format != "TIFF":  # Pillow turns TIFF by itself
                width, height = height, width
            spec, palette = _pillow_spec(file, image), _pillow_palette(image)
            pages = _pages_of(file, image)
        colours = () if palette is None else tuple((int(r), int(g), int(b)) for r, g, b in palette)
        return Header(height=height, width=width, spec=spec, pages=pages, palette=colours)

    def read(self, page: int = 0) -> Image:
        """Decode a page.

        The EXIF orientation is applied, palettes and transparent colours are resolved, premultiplied alpha is undone,
        CMYK and CIE L*a*b* become sRGB by their profile where they have one. Of an animation the first frame is taken,
        of an icon its largest size.
        """
        return _decode(self._file, page)

    def read_region(self, top: int, left: int, height: int, width: int, page: int = 0) -> Image:
        """Decode a part of a page: of a TIFF without decoding the rest."""
        file = self._file
        if tiff.is_tiff(file):
            region = tiff.read_region(file, tiff.page_places(file)[page], top, left, height, width)
            if region is not None:
                return region
        return self.read(page).part(top, left, height, width)


def _silence() -> None:
    """Keep the decoders' own remarks off the terminal: `UnreadableImageError` says what matters."""
    for decoder in ("PIL", "tifffile", "pydicom", "nibabel", "rasterio"):
        logging.getLogger(decoder).addHandler(logging.NullHandler())
    # libtiff writes to stderr by itself, and Pillow lets it.
    with contextlib.suppress(OSError, AttributeError):
        libtiff = ctypes.CDLL(_imaging.__file__)
        libtiff.TIFFSetErrorHandler(None)
        libtiff.TIFFSetWarningHandler(None)


_silence()


@contextlib.contextmanager
def _image(file: BinaryIO) -> Iterator[PillowImage.Image]:
    """Open what Pillow makes of the file's header, refusing what is too large to decode."""
    file.seek(0)
    with _heif_image(file) or PillowImage.open(file, formats=_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise PillowImage.DecompressionBombError
        yield image


def _heif_image(file: BinaryIO) -> PillowImage.Image | None:
    """A HEIC or HEIF file, opened by pillow-heif; None for other formats.

    Raises:
        UnreadableImageError: pillow-heif is not installed.
    """
    head = file.read(12)
    file.seek(0)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS:
        return None
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImageError(
            "it is HEIC, which needs pillow-heif; pip install 'translatekit[heif]'"
        ) from None
    pillow_heif.register_heif_opener()
    return PillowImage.open(file, formats=("HEIF",))


def _place(file: BinaryIO, page: int) -> int | None:
    """The directory of a TIFF's page, where tifffile reads it; None for what Pillow reads.

    Raises:
        UnreadableImageError: there is no such page.
    """
    if not tiff.is_tiff(file):
        if page:
            raise UnreadableImageError(f"it has one page, and no page {page + 1}; name one that is there")
        return None
    if page == 0:
        too_large = PillowImage.DecompressionBombError
        with contextlib.suppress(UnidentifiedImageError, too_large), _image(file) as image:
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            if tiff.is_page(tags.get(254, 0)) and tiff.fits_pillow(tags):
                return None
    places = tiff.page_places(file)
    if page >= len(places):
        raise UnreadableImageError(
            f"it has {len(places)} pages, and no page {page + 1}; name one that is there"
        )
    return places[page]


def _decode(file: BinaryIO, page: int) -> Image:
    place = _place(file, page)
    image, orientation = tiff.read_page(file, place) if place is not None else _by_pillow(file)
    if orientation == 1:
        return image
    planes: dict[str, Any] = {
        name: np.ascontiguousarray(_oriented(plane, orientation))
        for name in ("pixels", "alpha", "valid", "numbers")
        if (plane := getattr(image, name)) is not None
    }
    if orientation >= 5 and TIFF in image.metadata:
        planes["metadata"] = {**image.metadata, TIFF: turned(image.metadata[TIFF])}
    return replace(image, **planes)


def _by_pillow(file: BinaryIO) -> tuple[Image, int]:
    """The image, and its orientation."""
    numbers = palette = None
    white: float | None = 255.0
    metadata: dict[str, Any] = {}
    with _image(file) as image:
        decode_deep = _deep_decoder(file, image)
        if decode_deep is not None:
            samples, white = decode_deep(file, image)
            orientation, icc = _orientation(image), image.info.get("icc_profile")
        else:
            if image.format == "TIFF":  # which forgets its orientation as it turns
                metadata = tiff.metadata_of(image.tag_v2)  # type: ignore[attr-defined]
            image.load()
            orientation, icc = _orientation(image), image.info.get("icc_profile")
            if image.mode.startswith("I") or image.mode == "F":
                samples = kept(np.asarray(image))
                white = white_of(samples.dtype)
            else:
                numbers, palette = _numbers(file, image), _pillow_palette(image)
                if image.mode == "CMYK":
                    image, icc = to_srgb(image, icc), None
                elif image.format == "PNG" and image.mode == "L" and "transparency" in image.info:
                    # Pillow scales the pixels of 2 and 4 bits to 8, but not the level that is transparent.
                    image.info["transparency"] *= 255 // (2 ** _png_bits(file) - 1)
                samples = np.asarray(image.convert(_target_mode(image)))
    if samples.ndim == 2:
        samples = samples[:, :, None]
    colours = 1 if samples.shape[2] <= 2 else 3
    pixels = np.ascontiguousarray(samples[:, :, :colours])
    read = Image(
        pixels=pixels,
        spec=file_spec(colours, pixels.dtype.name, white is not None),
        white=white,
        alpha=np.ascontiguousarray(samples[:, :, colours]) if samples.shape[2] > colours else None,
        icc_profile=icc,
        valid=finite(pixels),
        numbers=numbers,
        palette=palette,
        metadata=metadata,
    )
    return read, orientation


def _pages_of(file: BinaryIO, image: PillowImage.Image) -> int:
    """How many pages there are. Damage to those that follow is no reason to refuse the first."""
    if image.format == "TIFF":
        with contextlib.suppress(Exception):
            return len(tiff.page_places(file)) if getattr(image, "n_frames", 1) > 1 else 1
    return 1


def _pillow_spec(file: BinaryIO, image: PillowImage.Image) -> ImageSpec:
    """What `_by_pillow` gives, by the header."""
    if _deep_decoder(file, image) is not None:
        colours = 1 if image.mode[0] in "IL" else 3
        if image.format == "PNG":
            file.seek(25)
            colours = 3 if file.read(1)[0] & 2 else 1
        return file_spec(colours, "uint16", True)
    if image.mode.startswith("I") or image.mode == "F":
        return file_spec(1, "float32" if image.mode == "F" else "uint16", image.mode != "F")
    return file_spec(1 if _target_mode(image) in ("L", "LA") else 3, "uint8", True)


def _png_bits(file: BinaryIO) -> int:
    file.seek(24)
    return file.read(1)[0]


def _numbers(file: BinaryIO, image: PillowImage.Image) -> np.ndarray | None:
    """What a palette's pixels, or gray of fewer than 8 bits, are before they become colours or levels."""
    if image.mode == "P":
        return np.asarray(image)
    if image.format == "PNG" and image.mode in ("1", "L") and (bits := _png_bits(file)) < 8:
        return np.asarray(image.convert("L")) // np.uint8(255 // (2**bits - 1))
    return None


def _pillow_palette(image: PillowImage.Image) -> np.ndarray | None:
    """The colours (N, 3) of a palette."""
    if image.mode != "P":
        return None
    colours = np.array(image.getpalette("RGB") or [], np.uint8)
    return colours.reshape(-1, 3)


# Pillow cuts colour of more than 8 bits to 8. These decoders don't.

Decoder = Callable[[BinaryIO, PillowImage.Image], "tuple[np.ndarray, float]"]


def _deep_decoder(file: BinaryIO, image: PillowImage.Image) -> Decoder | None:
    """What decodes an image of more than 8 bits, by its header; None for one of 8."""
    file.seek(0)
    head = file.read(4096)
    kind = image.format
    if kind == "PNG" and head[24] == 16:
        return _deep_png
    if kind == "PPM" and _netpbm_top(image) > 255:
        return partial(_deep_netpbm, top=_netpbm_top(image))
    if kind == "JPEG2000" and _jpeg2000_bits(head) > 8:
        return _deep_jpeg2000
    if kind == "AVIF" and _avif_bits(head) > 8:
        return _deep_avif
    if kind == "HEIF" and image.info.get("bit_depth", 8) > 8:
        return _deep_heif
    return None


def _all_of(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _deep_png(file: BinaryIO, image: PillowImage.Image) -> tuple[np.ndarray, float]:
    image.load()  # which is stricter with damage
    values = png.decode(_all_of(file))
    transparent = image.info.get("transparency")
    if transparent is not None and values.shape[2] in (1, 3):
        opaque = (values != np.asarray(transparent)).any(axis=2, keepdims=True)
        values = np.concatenate([values, opaque * np.uint16(65535)], axis=2)
    return values, 65535.0


def _deep_netpbm(file: BinaryIO, image: PillowImage.Image, top: int) -> tuple[np.ndarray, float]:
    start = image.tile[0][2]  # type: ignore[attr-defined]  # gone once it is loaded
    image.load()
    channels = 1 if image.mode.startswith("I") else 3
    data = _all_of(file)
    count = image.width * image.height * channels
    if data[:2] in (b"P2", b"P3"):
        numbers = re.sub(rb"#[^\r\n]*", b"", data).split()[4:]
        values = np.array(numbers[:count], np.uint16)
    else:
        values = np.frombuffer(data[start : start + 2 * count], ">u2").astype(np.uint16)
    if len(values) < count:
        raise UnreadableImageError("it is damaged or not accessible (it is cut off); replace or remove it")
    return values.reshape(image.height, image.width, channels), float(top)


def _netpbm_top(image: PillowImage.Image) -> int:
    """The value of white; 0 where the file has none, being of one bit, or of floats."""
    tiles: Any = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    top = arguments[-1] if isinstance(arguments, tuple) else 65535 if arguments == "I;16B" else 0
    return top if isinstance(top, int) else 0


def _jpeg2000_bits(head: bytes) -> int:
    """The most bits of its components, by the SIZ marker (ISO 15444-1, A.5.1)."""
    start = head.find(b"\xff\x51")
    if start < 0 or len(head) < start + 40:
        return 8
    count = int.from_bytes(head[start + 38 : start + 40], "big")
    return max((byte & 0x7F) + 1 for byte in head[start + 40 : start + 40 + 3 * count : 3])


def _deep_jpeg2000(file: BinaryIO, image: PillowImage.Image) -> tuple[np.ndarray, float]:
    import imagecodecs

    data = _all_of(file)
    return kept(imagecodecs.jpeg2k_decode(data)), 2.0 ** _jpeg2000_bits(data[:4096]) - 1


def _avif_bits(head: bytes) -> int:
    """Bits of a channel, by the AV1 configuration (AV1-ISOBMFF, 2.3.3)."""
    start = head.find(b"av1C")
    flags = head[start + 6] if 0 <= start < len(head) - 6 else 0
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _deep_avif(file: BinaryIO, image: PillowImage.Image) -> tuple[np.ndarray, float]:
    import imagecodecs

    data = _all_of(file)
    return kept(imagecodecs.avif_decode(data, 0)), 2.0 ** _avif_bits(data[:4096]) - 1


def _deep_heif(file: BinaryIO, image: PillowImage.Image) -> tuple[np.ndarray, float]:
    import pillow_heif

    file.seek(0)
    bits = int(image.info["bit_depth"])
    values = np.asarray(pillow_heif.open_heif(file, convert_hdr_to_8bit=False))
    return values >> (16 - bits), 2.0**bits - 1  # it shifts them up to 16 bits


def _target_mode(image: PillowImage.Image) -> str:
    """The mode, of 8 bits a channel, that loses nothing of an 8-bit image."""
    if image.mode in ("1", "L", "LA", "La"):
        return "LA" if image.mode[1:] or "transparency" in image.info else "L"
    return "RGBA" if image.has_transparency_data else "RGB"


def to_srgb(image: PillowImage.Image, icc: bytes | None) -> PillowImage.Image:
    """CMYK as sRGB, by the file's own profile where it has a sound one."""
    if icc is not None:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, io.BytesIO(icc), srgb, outputMode="RGB")
            assert converted is not None
            return converted
    return image.convert("RGB")


def _orientation(image: PillowImage.Image) -> int:
    """EXIF orientation, from 1 to 8; 1 where there is none, or none that can be read."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF is no reason to refuse sound pixels
        return 1
    return value if value in range(1, 9) else 1


def _oriented(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (Exif 2.32, section 4.6.4, tag 0x0112)."""
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples
