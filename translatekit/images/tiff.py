"""TIFF in all its layouts (TIFF 6.0 and its supplements), by tifffile.

Pillow reads the usual ones of up to 8 bits, and quickly; `fits_pillow` says which. Of the others it scrambles some
(planes of 16 bits) and cuts others to 8 bits.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms

from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB, ImageSpec
from translatekit.images import tiff_tags
from translatekit.images.image import DTYPES, Header, Image, file_spec, finite, in_16_bits, kept, with_alpha
from translatekit.images.pixels import MAX_PIXELS, UnreadableImageError, to_uint8, to_uint16
from translatekit.images.tiff_tags import (
    TIFF,
    Tags,
    band_names,
    missing_values,
    nodata_as,
    options,
    read_tags,
)
from translatekit.images.tiled import read_segments

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
        and set(several(338, _UNASSOCIATED)) <= {_UNASSOCIATED}
        and tags.get(262) not in (_CIELAB, _ICCLAB)
        and tiff_tags.fits_pillow(tags)
        and not (tags.get(262) == _PALETTE and _is_deep_palette(np.asarray(several(320, 0))))
    )


def is_page(subfile_type: int) -> bool:
    """Whether a directory with this NewSubfileType is a page, and no thumbnail and no mask."""
    return not subfile_type & (_REDUCED | _MASK)


def metadata_of(tags: Mapping[int, Any]) -> dict[str, Any]:
    """What is kept of a page that Pillow reads, and turns, by its tags."""
    kept_tags = tiff_tags.plain_tags(tags)
    return {TIFF: tiff_tags.turned(kept_tags) if tags.get(274) in (5, 6, 7, 8) else kept_tags}


def page_places(file: BinaryIO) -> list[int]:
    """The places of a TIFF's pages, as `read_page` takes them: thumbnails and masks are none.

    Raises:
        Exception: whatever tifffile raises on a damaged file.
    """
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        stack = _stack(tiff)
        if stack is not None:
            return list(range(stack.pages))
        places = [place for place in range(len(tiff.pages)) if is_page(_page(tiff, place).subfiletype)]
        return places or [0]


def page_header(file: BinaryIO, place: int) -> Header:
    """What the page in a place is, and how many pages there are."""
    import tifffile

    pages = len(page_places(file))
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        stack = _stack(tiff)
        if stack is not None:
            height, width = stack.size
            return Header(height=height, width=width, spec=stack.spec, pages=pages)
        page = _checked(_page(tiff, place), of_part=0)  # parts of it may be read
        height, width = page.imagelength, page.imagewidth
        if _orientation(page) >= 5:
            height, width = width, height
        return Header(height=height, width=width, spec=page_spec(page), pages=pages)


def read_page(file: BinaryIO, place: int) -> tuple[Image, int]:
    """Decode the page in a place.

    Colours that were multiplied by alpha, CMYK, CIE L*a*b* and palettes become what a viewer shows: uint8, or float32
    in [0, 1] where the file holds more than 8 bits. Everything else stays as it is. Unsigned integers of b bits,
    up to 16, have white at 2**b - 1; of other numbers, TIFF does not say what white is.

    Returns:
        The image, and its orientation, from 1 to 8.

    Raises:
        DataError: it has values or channels without a meaning as an image.
        Exception: whatever tifffile raises on a damaged file.
    """
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        stack = _stack(tiff)
        if stack is not None:
            return stack.read(place), 1
        page = _checked(_page(tiff, place))
        _check_whole(page, tiff.filehandle.size)
        values = page.asarray(maxworkers=1, squeeze=False)  # (planes, 1, H, W, samples in a plane)
        samples = np.moveaxis(values[:, 0], 0, 2).reshape(page.imagelength, page.imagewidth, -1)
        if page.photometric in (_PALETTE, _CMYK, _CIELAB, _ICCLAB) or _ASSOCIATED in page.extrasamples:
            return _converted(page, samples), _orientation(page)
        return _as_stored(page, samples), _orientation(page)


def read_region(file: BinaryIO, place: int, top: int, left: int, height: int, width: int) -> Image | None:
    """A part of the page in a place, without decoding the rest; None where that cannot be done."""
    import tifffile

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        if _stack(tiff) is not None:
            return None
        page = _checked(_page(tiff, place), of_part=height * width)
        converted = (
            page.photometric in (_PALETTE, _CMYK, _CIELAB, _ICCLAB) or _ASSOCIATED in page.extrasamples
        )
        if converted or _orientation(page) != 1:
            return None
        return _as_stored(page, read_segments(page, top, left, height, width))


class _Stack:
    """Pages of an OME-TIFF or of ImageJ's, several of which are the channels of one image."""

    def __init__(self, tiff: Any) -> None:
        self._tiff, self._series = tiff, tiff.series[0]
        self._page = _checked(self._series.keyframe)
        axes, shape = self._series.axes, self._series.shape
        self._outer = [(axis, length) for axis, length in zip(axes, shape, strict=True) if axis not in "YXS"]
        self._channels = dict(self._outer).get("C", 1)
        self.pages = math.prod(length for axis, length in self._outer if axis != "C")
        self.size = (self._page.imagelength, self._page.imagewidth)
        if self.size[0] * self.size[1] * self._channels > 4 * MAX_PIXELS:
            raise PillowImage.DecompressionBombError
        described = tiff.ome_metadata if tiff.is_ome else ""
        self._names = tiff_tags.ome_names(described, self._channels) or self._labels()
        spec = page_spec(self._page)
        self.spec = file_spec(self._names or self._channels, spec.dtype, spec.levels, shown=False)
        if self._channels == 1 and self._names is None:
            self.spec = spec

    def _labels(self) -> tuple[str, ...] | None:
        """The names that ImageJ's labels of slices are, where they are those of channels."""
        labels = (self._tiff.imagej_metadata or {}).get("Labels") if self._tiff.is_imagej else None
        found = tuple(map(str, labels[: self._channels])) if labels else ()
        return found if len(set(found)) == self._channels > 1 else None

    def read(self, number: int) -> Image:
        planes = []
        for channel in range(self._channels):
            places, rest = [], number
            for axis, length in reversed(self._outer):
                places.append(channel if axis == "C" else rest % length)
                rest = rest if axis == "C" else rest // length
            index = 0
            for (_, length), place in zip(self._outer, reversed(places), strict=True):
                index = index * length + place
            planes.append(self._plane(index))
        image = _as_stored(self._page, np.concatenate(planes, axis=2) if len(planes) > 1 else planes[0])
        return replace(image, spec=replace(self.spec, dtype=image.spec.dtype))

    def _plane(self, index: int) -> np.ndarray:
        """(H, W, samples) of one of the series' pages."""
        series, page = self._series, self._page
        shape = (*self.size, page.samplesperpixel)
        if len(series.pages) == 1 and series.dataoffset is not None:  # ImageJ writes one directory for all
            count = math.prod(shape)
            start = series.dataoffset + index * count * page.dtype.itemsize
            if start + count * page.dtype.itemsize > self._tiff.filehandle.size:
                raise UnreadableImageError(
                    "it is damaged or not accessible (it is cut off); replace or remove it"
                )
            dtype = page.dtype.newbyteorder(self._tiff.byteorder)
            values = self._tiff.filehandle.read_array(dtype, count, start)
            return np.asarray(values).reshape(shape)
        found = series.pages[index]
        if found is None:
            raise UnreadableImageError("a part of its set of files is missing; put it beside this one")
        _check_whole(found, self._tiff.filehandle.size)
        values = found.asarray(maxworkers=1, squeeze=False)
        return np.moveaxis(values[:, 0], 0, 2).reshape(shape)


def _stack(tiff: Any) -> _Stack | None:
    """The stack that a TIFF is: None for one whose pages stand for themselves."""
    if not (tiff.is_ome or tiff.is_imagej) or not tiff.series:
        return None
    series = tiff.series[0]
    outer = dict(zip(series.axes, series.shape, strict=True))
    several = outer.get("C", 1) > 1 or (len(series.pages) == 1 and math.prod(series.shape[:-2]) > 1)
    if tiff.is_ome and len(tiff.series) == 1 and tiff_tags.ome_names(tiff.ome_metadata, 1):
        several = several or len(series.pages) > 1  # of which the first page alone says the channel's name
    is_simple = set(series.axes) <= set("TZCYXSQIRPAEVH") and "Y" in outer and "X" in outer
    return _Stack(tiff) if several and is_simple and ("S" not in outer or "C" not in outer) else None


def page_spec(page: Any) -> ImageSpec:
    """What a page holds, by its tags."""
    bits = page.bitspersample
    levels = _has_levels(page, read_tags(page))
    if page.photometric in (_PALETTE, _CMYK, _CIELAB, _ICCLAB) or _ASSOCIATED in page.extrasamples:
        return file_spec(_shown_as(page), "uint8" if bits <= 8 else "float32", True)
    others = page.samplesperpixel - (_alpha_place(page) is not None)
    dtype = "uint8" if levels and bits <= 8 else page.dtype.name
    return file_spec(_names(page, others), dtype if dtype in DTYPES else "float32", levels)


def _shown_as(page: Any) -> int:
    """Channels of what a viewer shows of a page."""
    return 1 if page.photometric in (0, 1) else 3


def _alpha_place(page: Any) -> int | None:
    """Which sample is alpha."""
    kinds = [int(kind) for kind in page.extrasamples]
    found = [place for place, kind in enumerate(kinds) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    return page.samplesperpixel - len(kinds) + found[0] if found else None


def _names(page: Any, count: int) -> tuple[str, ...]:
    """The channels: colours, and what else there is."""
    colours = _COLOURS[page.photometric]
    named = band_names(page, count)
    if named is not None and colours == 1:
        return named
    shown = RGB.channels if colours == 3 else GRAY.channels
    if colours == 1 and count > 2:
        shown = ()  # bands of equal rank
    return (*shown, *(f"channel {index + 1}" for index in range(len(shown), count)))


def _as_stored(page: Any, samples: np.ndarray) -> Image:
    """Gray, RGB or bands, as the file has them."""
    bits = page.bitspersample
    tags = read_tags(page)
    levels = _has_levels(page, tags)
    missing = _missing(page, samples, tags)
    if page.photometric == _WHITE_IS_ZERO:
        levels = samples.dtype.kind in "bu" and bits <= 16
        samples = samples.copy() if levels else _unit(samples, bits)
        samples[:, :, 0] = (2**bits if levels else 2) - 1 - samples[:, :, 0]
    numbers = None
    if levels and bits < 8:
        numbers = samples[:, :, 0].astype(np.uint8) if samples.shape[2] == 1 else None
        samples = to_uint8(_unit(samples, bits))
    pixels = kept(samples)
    alpha, place = None, _alpha_place(page)
    if place is not None:
        alpha = np.ascontiguousarray(pixels[:, :, place])
        pixels = np.delete(pixels, place, axis=2) if place + 1 < pixels.shape[2] else pixels[:, :, :place]
    return Image(
        pixels=np.ascontiguousarray(pixels),
        spec=file_spec(_names(page, pixels.shape[2]), pixels.dtype.name, levels),
        white=(255.0 if bits <= 8 else float(2**bits - 1)) if levels else None,
        alpha=alpha,
        icc_profile=page.iccprofile,
        valid=_both(finite(pixels), None if missing is None else ~missing),
        numbers=numbers,
        metadata={TIFF: tags},
    )


def _missing(page: Any, samples: np.ndarray, tags: Tags) -> np.ndarray | None:
    """Where (H, W) the numbers of a page, as they are stored, are no values."""
    place = _alpha_place(page)
    return missing_values(samples if place is None else np.delete(samples, place, axis=2), tags.nodata)


def _has_levels(page: Any, tags: Tags) -> bool:
    """Whether its integers are steps from black to white: those of more than 8 bits on a map are quantities."""
    return page.dtype.kind in "bu" and page.bitspersample <= (8 if tags.is_geo else 16)


def _both(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _converted(page: Any, samples: np.ndarray) -> Image:
    """What a viewer shows of a palette, of CMYK and L*a*b*, and of colours that were multiplied by alpha."""
    tags = read_tags(page)
    missing = _missing(page, samples, tags)
    unit, colours, deep = _channels(page, samples)
    icc = page.iccprofile
    kinds = [int(kind) for kind in page.extrasamples]
    found = [extra for extra, kind in enumerate(kinds) if kind in (_ASSOCIATED, _UNASSOCIATED)]
    # In place, since these arrays are large.
    colour = unit[:, :, :colours]
    alpha = unit[:, :, colours + found[0], None] if found else None
    if alpha is not None and kinds[found[0]] == _ASSOCIATED:
        _undo_alpha(colour, alpha)
    if page.photometric in (_CMYK, _CIELAB, _ICCLAB):
        colour, icc = _to_srgb(colour, icc), None
    elif page.photometric == _WHITE_IS_ZERO:
        np.subtract(1.0, colour, out=colour)
    numbers = palette = None
    if page.photometric == _PALETTE and samples.dtype == np.uint8:
        numbers, palette = np.ascontiguousarray(samples[:, :, 0]), to_uint8(_palette(page)[0])
    if not deep:
        colour = to_uint8(colour)
        alpha = None if alpha is None else to_uint8(alpha)
    return Image(
        pixels=np.ascontiguousarray(colour),
        spec=file_spec(colour.shape[2], colour.dtype.name, True),
        white=1.0 if deep else 255.0,
        alpha=None if alpha is None else np.ascontiguousarray(alpha[:, :, 0]),
        icc_profile=icc,
        valid=None if missing is None else ~missing,
        numbers=numbers,
        palette=palette,
        metadata={TIFF: tags},
    )


def _channels(page: Any, samples: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """All samples (H, W, C) as float32, 0 to 1; how many of them are colours; whether they have more than 8 bits."""
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


def write_pages(file: BinaryIO | Path, images: Iterable[Image], compression: int, big: bool = False) -> None:
    """Write a TIFF of one or more pages, one after the other.

    Gray and alpha of 16 bits become RGB and alpha, which more programs read.

    Args:
        file: what is written.
        images: the pages; of any sizes and kinds. Levels of other depths are written with 16 bits.
        compression: effort, from 0 (none) to 9.
        big: write a BigTIFF, which may be larger than 4 GiB.
    """
    import tifffile

    with tifffile.TiffWriter(file, bigtiff=big) as tiff:
        for image in images:
            samples = with_alpha(image)
            if samples.dtype == np.uint16 and image.white is not None:
                samples = in_16_bits(image, samples)
            has_alpha = image.alpha is not None
            if has_alpha and image.spec.meaning == "gray" and samples.dtype == np.uint16:
                samples = samples[:, :, [0, 0, 0, 1]]
            count = samples.shape[2]
            is_rgb = image.spec.meaning == "rgb" or (image.spec.meaning == "gray" and count == 4)
            bands = count - (3 if is_rgb else 1) - has_alpha
            tags = image.metadata.get(TIFF)
            if tags is not None and image.spec.meaning == "labels":
                tags = tags.of_classes()
            samples = with_nodata(samples, image, tags)
            tiff.write(
                samples if count > 1 else samples[:, :, 0],
                photometric="rgb" if is_rgb else "minisblack",
                planarconfig="contig" if count > 1 else None,
                extrasamples=["unspecified"] * bands + ["unassalpha"] * has_alpha or None,
                compression="zlib" if compression else None,
                compressionargs={"level": compression} if compression else None,
                predictor=bool(compression),
                iccprofile=image.icc_profile,
                contiguous=False,
                **options(tags, image.spec.channels, samples.shape[:2]),
            )


def with_nodata(samples: np.ndarray, image: Image, tags: Tags | None) -> np.ndarray:
    """Samples that say where nothing is known as the file's do that they were made from."""
    if image.valid is None or tags is None or image.spec.meaning == "labels":
        return samples
    nodata = nodata_as(tags.nodata, samples.dtype)
    return samples if nodata is None else np.where(image.valid[:, :, None], samples, nodata)


def _page(tiff: Any, place: int) -> Any:
    return tiff.pages.get(place)  # a whole page, where [place] may give less than that


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    value = tag.value if tag is not None else 1
    return int(value) if value in range(1, 9) else 1


def _checked(page: Any, of_part: int | None = None) -> Any:
    """A page, if it is an image of channels, and of a size, that can be read.

    Args:
        page: of tifffile's.
        of_part: the pixels that are read, where it is not all of them.

    Raises:
        UnreadableImageError: it is not.
    """
    sides = [page.imagewidth, page.imagelength]
    if page.is_tiled:
        sides = [max(a, b) for a, b in zip(sides, (page.tilewidth, page.tilelength), strict=True)]
    chunk = (
        page.tilewidth * page.tilelength
        if page.is_tiled
        else page.imagewidth * min(page.rowsperstrip, sides[1])
    )
    pixels = sides[0] * sides[1] if of_part is None else of_part + chunk
    if pixels * page.imagedepth * max(1, page.samplesperpixel) > 4 * MAX_PIXELS:
        raise PillowImage.DecompressionBombError
    if of_part is None and page.imagelength * page.imagewidth > MAX_PIXELS:
        raise PillowImage.DecompressionBombError
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
    if extra < 0:
        raise UnreadableImageError(
            f"it has {page.samplesperpixel} channels where {page.photometric.name} has {colours}; "
            "replace or remove it"
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


def _is_ome(image: Image) -> bool:
    """Whether an image is one of channels that comes from an OME-TIFF, and is to be one again."""
    tags = image.metadata.get(TIFF)
    return tags is not None and tags.ome is not None and image.alpha is None and image.spec.meaning != "rgb"


def _write_ome(
    file: BinaryIO | Path, images: Iterator[Image], pages: int, compression: int, big: bool
) -> None:
    """Write an OME-TIFF, a page for each channel of each image."""
    import tifffile

    first = next(images)
    tags: Tags = first.metadata[TIFF]

    def stored(image: Image) -> np.ndarray:
        levels = image.pixels.dtype == np.uint16 and image.white is not None
        return with_nodata(in_16_bits(image, image.pixels) if levels else image.pixels, image, tags)

    start = stored(first)
    height, width, channels = start.shape
    metadata = tiff_tags.ome_metadata(tags, first.spec.channels, (height, width), pages, start.tobytes())

    written = options(tags, first.spec.channels, (height, width))

    def planes() -> Iterator[np.ndarray]:
        for image in chain([first], images):
            samples = stored(image)
            if (samples.shape, samples.dtype) != (start.shape, start.dtype):
                raise DataError(
                    f"pages of {start.shape} and of {samples.shape} cannot be in one OME-TIFF: make them alike"
                )
            yield from np.ascontiguousarray(np.moveaxis(samples, 2, 0))

    with tifffile.TiffWriter(file, bigtiff=big, ome=True) as tiff:
        tiff.write(
            planes(),
            shape=(*metadata.pop("shape"), channels, height, width),
            dtype=start.dtype,
            photometric="minisblack",
            compression="zlib" if compression else None,
            compressionargs={"level": compression} if compression else None,
            predictor=bool(compression),
            iccprofile=first.icc_profile,
            metadata=metadata,
            **{name: value for name, value in written.items() if name.startswith("resolution")},
        )


def write_volume(path: Path, images: Iterable[Image], *, pages: int, suffix: str, compression: int) -> None:
    """Write a TIFF of several pages: a BigTIFF, where as many as the first take more than 4 GiB.

    Pages that come from an OME-TIFF become one again.
    """
    given = iter(images)
    first = next(given)
    big = with_alpha(first).nbytes * pages > 2**32 - 2**24
    if _is_ome(first):
        _write_ome(path, chain([first], given), pages, compression, big)
    else:
        write_pages(path, chain([first], given), compression, big)


def encode_page(image: Image, compression: int) -> bytes:
    """A TIFF of one page (see `write_pages`); an OME-TIFF, where it comes from one."""
    buffer = io.BytesIO()
    if _is_ome(image):
        _write_ome(buffer, iter([image]), 1, compression, big=False)
    else:
        write_pages(buffer, [image], compression)
    return buffer.getvalue()
