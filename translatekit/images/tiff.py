"""TIFF in all its layouts (TIFF 6.0 and its supplements), by tifffile.

Pillow reads the usual ones of up to 8 bits, and quickly; `fits_pillow` says which. Of the others it scrambles some
(planes of 16 bits) and cuts others to 8 bits.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms

from translatekit.images.picture import MAX_PIXELS, Picture, UnreadableImageError, to_uint8, to_uint16

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}  # channels by PhotometricInterpretation
_WHITE_IS_ZERO, _PALETTE, _CMYK, _YCBCR, _CIELAB, _ICCLAB = 0, 3, 5, 6, 8, 9
_ASSOCIATED, _UNASSOCIATED = 1, 2  # ExtraSamples
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a thumbnail, a transparency mask


def is_tiff(file: BinaryIO) -> bool:
    """Whether a file starts like a TIFF; it is left at its start."""
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    return magic in _MAGIC


def fits_pillow(tags: Mapping[int, Any]) -> bool:
    """Whether Pillow decodes a page without loss: 8 bits or fewer in one plane, not premultiplied, not CIE L*a*b*.

    Args:
        tags: of the page, by number.
    """

    def several(tag: int, default: int) -> tuple[int, ...]:
        value = tags.get(tag, default)
        return tuple(value) if isinstance(value, tuple | list) else (value,)

    return (
        max(several(258, 1)) <= 8
        and set(several(339, 1)) <= {1, 4}
        and several(284, 1) == (1,)
        and _ASSOCIATED not in several(338, 0)
        and tags.get(262) not in (_CIELAB, _ICCLAB)
        and not (tags.get(262) == _PALETTE and _is_deep_palette(np.asarray(several(320, 0))))
    )


def is_page(subfile_type: int) -> bool:
    """Whether a directory with this NewSubfileType is a page, and no thumbnail and no mask."""
    return not subfile_type & (_REDUCED | _MASK)


def page_places(file: BinaryIO) -> list[int]:
    """Which of a TIFF's directories are pages: thumbnails and masks are none.

    Raises:
        Exception: whatever tifffile raises on a damaged file.
    """
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        places = [place for place in range(len(tiff.pages)) if is_page(_page(tiff, place).subfiletype)]
        return places or [0]


def page_size(file: BinaryIO, place: int) -> tuple[int, int]:
    """Height and width, as shown, of the page in a directory."""
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _checked(_page(tiff, place))
        size = (page.imagelength, page.imagewidth)
        return size[::-1] if _orientation(page) >= 5 else size


def read_page(file: BinaryIO, place: int) -> tuple[np.ndarray, int, bytes | None]:
    """Decode the page in a directory.

    Unsigned integers of b bits are divided by 2**b - 1, up to 16 bits. Signed integers, and those of more bits, are
    taken for 16-bit values (8-bit ones, for 8-bit values), and floats for values in [0, 1], since TIFF does not
    say what white is; what lies outside is refused.

    Returns:
        (H, W, C), gray or RGB, with alpha, not premultiplied, where there is one; uint8 where the file holds no more
        than 8 bits, else float32 in [0, 1]. The orientation, from 1 to 8. The colour profile.

    Raises:
        UnreadableImageError: it has values or channels without a meaning as an image.
        Exception: whatever tifffile raises on a damaged file.
    """
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _checked(_page(tiff, place))
        _check_whole(page, tiff.filehandle.size)
        unit, colours, deep = _channels(page)
        orientation, icc = _orientation(page), page.iccprofile
        kinds = [int(kind) for kind in page.extrasamples]
    found = [extra for extra, kind in enumerate(kinds) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    # In place, since these arrays are large.
    colour = unit[:, :, :colours]
    alpha = unit[:, :, colours + found[0], None] if found else None
    if alpha is not None and kinds[found[0]] == _ASSOCIATED:
        _undo_alpha(colour, alpha)
    converted = page.photometric in (_CMYK, _CIELAB, _ICCLAB)
    if converted:
        colour, icc = _to_srgb(colour, icc), None
    elif page.photometric == _WHITE_IS_ZERO:
        np.subtract(1.0, colour, out=colour)
    if alpha is not None:
        is_beside = found[0] == 0 and not converted
        colour = unit[:, :, : colours + 1] if is_beside else np.concatenate([colour, alpha], axis=2)
    return (colour if deep else to_uint8(colour)), orientation, icc


def _channels(page: Any) -> tuple[np.ndarray, int, bool]:
    """All samples (H, W, C) as float32, 0 to 1; how many of them are colours; whether they have more than 8 bits."""
    values = page.asarray(maxworkers=1, squeeze=False)  # (planes, 1, H, W, samples in a plane)
    samples = np.moveaxis(values[:, 0], 0, 2).reshape(page.imagelength, page.imagewidth, -1)
    bits = page.bitspersample
    if page.photometric == _PALETTE:
        levels, deep = _palette(page)
        unit = levels[samples[:, :, 0]]
        if samples.shape[2] > 1:
            unit = np.concatenate([unit, _unit(samples[:, :, 1:], bits)], axis=2)
        return unit, 3, deep
    if page.photometric in (_CIELAB, _ICCLAB):
        samples = _lab_as_icc(samples, page.photometric)
    return _unit(samples, bits), _COLOURS[page.photometric], bits > 8


def write_pages(
    file: BinaryIO | Path, pictures: Iterable[Picture], compression: int, big: bool = False
) -> None:
    """Write a TIFF of one or more pages, one after the other.

    float32 pixels are written with 16 bits a channel. Gray and alpha of 16 bits become RGB and alpha, which
    more programs read.

    Args:
        file: what is written.
        pictures: the pages; of any sizes and depths.
        compression: effort, from 0 (none) to 9.
        big: write a BigTIFF, which may be larger than 4 GiB.
    """
    import tifffile

    with tifffile.TiffWriter(file, bigtiff=big) as tiff:
        for picture in pictures:
            samples = picture.pixels
            if picture.alpha is not None:
                samples = np.concatenate([samples, picture.alpha[:, :, None]], axis=2)
            if samples.dtype != np.uint8:
                samples = to_uint16(samples)
                if samples.shape[2] == 2:
                    samples = samples[:, :, [0, 0, 0, 1]]
            has_alpha = samples.shape[2] in (2, 4)
            tiff.write(
                samples if samples.shape[2] > 1 else samples[:, :, 0],
                photometric="rgb" if samples.shape[2] >= 3 else "minisblack",
                planarconfig="contig" if samples.shape[2] > 1 else None,
                extrasamples=["unassalpha"] if has_alpha else None,
                compression="zlib" if compression else None,
                compressionargs={"level": compression} if compression else None,
                predictor=bool(compression),
                iccprofile=picture.icc_profile,
                metadata=None,
                contiguous=False,
            )


def _page(tiff: Any, place: int) -> Any:
    return tiff.pages.get(place)  # a whole page, where [place] may give less than that


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return int(value) if value in range(1, 9) else 1


def _checked(page: Any) -> Any:
    """A page, if it is an image of a size, and of channels, that can be read.

    Raises:
        UnreadableImageError: it is not.
    """
    sides = [page.imagewidth, page.imagelength]
    if page.is_tiled:
        sides = [max(a, b) for a, b in zip(sides, (page.tilewidth, page.tilelength), strict=True)]
    if sides[0] * sides[1] * page.imagedepth * max(1, page.samplesperpixel) > 4 * MAX_PIXELS:
        raise Image.DecompressionBombError
    if page.imagelength * page.imagewidth > MAX_PIXELS:
        raise Image.DecompressionBombError
    if page.imagedepth != 1:
        raise UnreadableImageError(f"it is a volume of {page.imagedepth} slices; export each as a page")
    colours = _COLOURS.get(int(page.photometric))
    if colours is None:
        raise UnreadableImageError(
            f"its samples are {page.photometric.name} (PhotometricInterpretation {int(page.photometric)}), "
            "neither gray nor RGB; convert it"
        )
    if page.photometric == _YCBCR and int(page.compression) not in (6, 7):
        raise UnreadableImageError("it holds YCbCr in a layout that is not read; convert it to RGB")
    extra = page.samplesperpixel - colours
    if extra < 0 or (colours == 1 and extra > 1):
        raise UnreadableImageError(
            f"it has {page.samplesperpixel} channels where {page.photometric.name} has {colours}; "
            "export those to be seen as gray or RGB"
        )
    if page.dtype is None or page.dtype.kind not in "buif" or not isinstance(page.bitspersample, int):
        raise UnreadableImageError("its samples are neither integers nor floats of one size; convert it")
    return page


def _check_whole(page: Any, size: int) -> None:
    """Refuse a page of which something is missing, which would be read as black there.

    Raises:
        UnreadableImageError: its data end behind the end of the file, or it has fewer strips or tiles than it takes.
    """
    if len(page.dataoffsets) < math.prod(page.chunked):
        raise UnreadableImageError(
            f"it is damaged or not accessible (it has {len(page.dataoffsets)} of {math.prod(page.chunked)} strips "
            "or tiles); replace or remove it"
        )
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset + count > size:
            raise UnreadableImageError(
                "it is damaged or not accessible (it is cut off); replace or remove it"
            )


def _unit(values: np.ndarray, bits: int) -> np.ndarray:
    """Samples as float32, 0 to 1.

    Raises:
        UnreadableImageError: there are values outside.
    """
    if values.dtype.kind in "bu" and bits <= 16:
        unit = values.astype(np.float32)
        unit /= np.float32(2**bits - 1)
        return unit
    top = 1.0 if values.dtype.kind == "f" else 255.0 if bits <= 8 else 65535.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= top):
        raise UnreadableImageError(f"its values, {low:g} to {high:g}, are not in 0 to {top:g}; rescale them")
    return (values / top).astype(np.float32)


def _palette(page: Any) -> tuple[np.ndarray, bool]:
    """The colours (N, 3) of a palette, 0 to 1, and whether they have more than 8 bits."""
    levels = np.asarray(page.colormap).reshape(3, -1).T
    if _is_deep_palette(levels):
        return levels.astype(np.float32) / np.float32(65535), True
    return (levels >> 8).astype(np.float32) / np.float32(255), False


def _is_deep_palette(levels: np.ndarray) -> bool:
    """Whether its 16-bit levels are more than 8-bit ones, which stand there times 257 or 256 (or as they are)."""
    return bool(levels.max(initial=0) > 255 and (levels % 257).any() and (levels % 256).any())


def _undo_alpha(colour: np.ndarray, alpha: np.ndarray) -> None:
    """Make colours that were multiplied by alpha what they were before; black where nothing of them is left."""
    np.divide(colour, alpha, out=colour, where=alpha > 0)
    np.minimum(colour, 1.0, out=colour)
    colour[alpha[:, :, 0] <= 0] = 0.0


def _lab_as_icc(samples: np.ndarray, photometric: int) -> np.ndarray:
    """CIE L*a*b* with a* and b* from their signed (CIELAB) to an unsigned encoding, 8 or 16 bits.

    Raises:
        UnreadableImageError: the samples have neither 8 nor 16 bits.
    """
    bits = samples.dtype.itemsize * 8
    if samples.dtype.kind not in "ui" or bits > 16:
        raise UnreadableImageError("its CIE L*a*b* samples have neither 8 nor 16 bits; convert it to RGB")
    encoded: np.ndarray = samples.astype(np.uint8 if bits == 8 else np.uint16)
    if photometric == _CIELAB:
        encoded[:, :, 1:3] = np.bitwise_xor(encoded[:, :, 1:3], 1 << (bits - 1))
    if bits == 16:
        # 16 bits hold 256 steps to the unit of a*; ICC's encoding holds 257 (ICC.1:2022, 6.3.4.2).
        factors = (65535 / 65280 if photometric == _ICCLAB else 1, 257 / 256, 257 / 256)
        for channel, factor in enumerate(factors):
            scaled = encoded[:, :, channel] * np.float32(factor)
            encoded[:, :, channel] = np.rint(scaled.clip(0, 65535))
    return encoded


def _to_srgb(colour: np.ndarray, icc: bytes | None) -> np.ndarray:
    """CMYK (H, W, 4) or CIE L*a*b* (H, W, 3), 0 to 1, as sRGB, by the profile where it is one of such colours."""
    import imagecodecs

    is_lab = colour.shape[2] == 3
    space = b"Lab " if is_lab else b"CMYK"
    profile = icc if icc is not None and icc[16:20] == space else None
    if profile is None and is_lab:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    if profile is not None:
        try:
            converted = imagecodecs.cms_transform(
                to_uint16(colour),
                profile,
                ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
                colorspace="lab" if is_lab else "cmyk",
                outcolorspace="rgb",
                outdtype="uint16",
                intent=0,
            )
            return converted.astype(np.float32) / np.float32(65535)
        except (ValueError, RuntimeError):  # a damaged profile is no reason to refuse sound pixels
            pass
    return (1.0 - colour[:, :, :3]) * (1.0 - colour[:, :, 3:4])


def encode_page(picture: Picture, compression: int) -> bytes:
    """A TIFF of one page (see `write_pages`)."""
    buffer = io.BytesIO()
    write_pages(buffer, [picture], compression)
    return buffer.getvalue()
