"""What a TIFF says beside its pixels and is kept: resolution, description, names of channels, georeference."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any
from uuid import NAMESPACE_OID, uuid5
from xml.etree import ElementTree

import numpy as np

_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION = 33550, 33922, 34264  # GeoTIFF 1.1, annex B
_GEO_KEYS = 34735
_RPC = 50844  # "RPCs in GeoTIFF", 2011
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_GEO = (_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION, _GEO_KEYS, 34736, 34737, _RPC, _GDAL_NODATA)

_CENTIMETRES = {"nm": 1e-7, "µm": 1e-4, "mm": 0.1, "cm": 1.0, "m": 100.0}

TIFF = "tiff"
"""The key of `Tags` in an image's metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """What is kept of a page.

    Attributes:
        size: height and width of the page, in pixels.
        resolution: pixels a unit across and down, and the unit (1 none, 2 inch, 3 cm).
        description: free text.
        geo: the tags of GeoTIFF, as (number, type, count, value).
        items: what GDAL says of the whole image, by name.
        ome: what OME-XML says of the pixels, by attribute; None where there is none.
    """

    size: tuple[int, int]
    resolution: tuple[float, float, int] | None = None
    description: str = ""
    geo: tuple[tuple[int, int, int, Any], ...] = ()
    items: tuple[tuple[str, str], ...] = ()
    ome: tuple[tuple[str, str], ...] | None = None

    @property
    def is_geo(self) -> bool:
        """Whether it is a GeoTIFF."""
        return any(number == _GEO_KEYS for number, *_ in self.geo)

    @property
    def nodata(self) -> float | None:
        """The number that stands for a missing value."""
        return next((_number(value) for number, _, _, value in self.geo if number == _GDAL_NODATA), None)

    def of_classes(self) -> Tags:
        """Those of a map of classes, one of which may have the number that stood for a missing value."""
        return replace(self, geo=tuple(tag for tag in self.geo if tag[0] != _GDAL_NODATA))

    def part(self, top: int, left: int, height: int, width: int) -> Tags:
        """Those of a part of the page, in pixels: of the ground that it shows, at the same resolution."""
        return replace(
            self, size=(height, width), geo=tuple(_of_part(tag, float(top), float(left)) for tag in self.geo)
        )


def read_tags(page: Any) -> Tags:
    """The tags of a page of tifffile's."""
    tags = page.tags
    geo = tuple(
        (number, int(tags[number].dtype), tags[number].count, tags[number].value)
        for number in _GEO
        if number in tags
    )
    described = page.description or ""
    ome = "<OME" in described[:2000]
    resolution = None
    with contextlib.suppress(Exception):  # damaged tags are no reason to refuse sound pixels
        if 282 in tags and 283 in tags:
            across, down = (tags[number].value[0] / tags[number].value[1] for number in (282, 283))
            unit = int(tags[296].value) if 296 in tags else 2
            resolution = (across, down, unit) if across > 0 and down > 0 else None
    if ome:
        resolution = _ome_resolution(described) or resolution
    return Tags(
        size=(page.imagelength, page.imagewidth),
        resolution=resolution,
        description="" if ome or described.startswith(("ImageJ=", '{"shape"')) else described,
        geo=geo,
        ome=_ome_pixels(described) if ome else None,
        items=tuple((name, text) for name, sample, role, text in _items(page) if sample is None and not role),
    )


def turned(tags: Tags) -> Tags:
    """The tags of a page whose rows are shown as columns."""
    resolution = (
        None if tags.resolution is None else (tags.resolution[1], tags.resolution[0], tags.resolution[2])
    )
    return replace(tags, size=(tags.size[1], tags.size[0]), resolution=resolution)


def plain_tags(tags: Mapping[int, Any]) -> Tags:
    """The tags of a page, by number, that Pillow reads."""
    resolution = None
    with contextlib.suppress(Exception):
        across, down = float(tags[282]), float(tags[283])
        resolution = (across, down, int(tags.get(296, 2))) if across > 0 and down > 0 else None
    described = tags.get(270, "")
    kept = described if isinstance(described, str) and not described.startswith('{"shape"') else ""
    return Tags(size=(int(tags.get(257, 1)), int(tags.get(256, 1))), resolution=resolution, description=kept)


def fits_pillow(tags: Mapping[int, Any]) -> bool:
    """Whether a page has nothing, by its tags, that Pillow would not tell: no georeference, no stack of channels."""
    described = str(tags.get(270, ""))
    return not {_GEO_KEYS, _GDAL_NODATA} & set(tags) and not is_stack(described)


def is_stack(described: str) -> bool:
    """Whether a description says that several pages are the channels of one image."""
    return "<OME" in described[:2000] or described.startswith("ImageJ=")


def band_names(page: Any, count: int) -> tuple[str, ...] | None:
    """The descriptions of all bands, as GDAL or OME-XML has them; None where there are none."""
    if is_stack(page.description or ""):
        return ome_names(page.description, count)
    names = {
        sample: text for _, sample, role, text in _items(page) if role == "description" and sample is not None
    }
    found = tuple(names.get(band, "") for band in range(count))
    return found if all(found) and len(set(found)) == count else None


def ome_names(xml: str, count: int) -> tuple[str, ...] | None:
    """The names of all channels of an OME-TIFF; None where there are none."""
    with contextlib.suppress(ElementTree.ParseError):
        channels = [
            element for element in ElementTree.fromstring(xml).iter() if element.tag.endswith("}Channel")
        ]
        names = tuple(element.get("Name", "") for element in channels[:count])
        return names if len(names) == count and all(names) and len(set(names)) == count else None
    return None


def missing_values(samples: np.ndarray, nodata: float | None) -> np.ndarray | None:
    """Where (H, W, C) has no value; None where that is nowhere.

    Bands of levels have none where all of them say so, since 0 is also a colour's level; values, where any does.
    """
    if nodata is None or np.isnan(nodata):
        return None  # what is no number is found without being told
    number = nodata_as(nodata, samples.dtype)
    if number is None:
        return None
    equal = samples == number
    missing: np.ndarray = equal.all(axis=2) if samples.dtype == np.uint8 else equal.any(axis=2)
    return missing if missing.any() else None


def nodata_as(nodata: float | None, dtype: np.dtype) -> np.ndarray | None:
    """The number that stands for a missing value as one of a type; None where the type does not have it."""
    if nodata is None:
        return None
    if dtype.kind in "bui":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if not (float(nodata).is_integer() and low <= nodata <= high):
            return None
    return np.asarray(nodata).astype(dtype)


def options(tags: Tags | None, names: Sequence[str], size: tuple[int, int]) -> dict[str, Any]:
    """What tifffile is to write: the tags that are kept, for an image of a size, and the names of its channels."""
    extra: list[tuple[int, Any, int, Any, bool]] = []
    items = list(tags.items) if tags is not None else []
    plain = all(name.startswith("channel ") or name in ("gray", "red", "green", "blue") for name in names)
    named = not plain or tuple(names) == ("channel 1", "channel 2")  # which would be gray and something else
    if named or items:
        extra.append((_GDAL_METADATA, 2, 0, _gdal_xml(items, names if named else ()), True))
    written: dict[str, Any] = {"metadata": None}
    if tags is not None:
        extra += [(*_resized(tag, tags.size, size), True) for tag in tags.geo]
        if tags.resolution is not None:
            across, down, unit = tags.resolution
            scale = (size[1] / tags.size[1], size[0] / tags.size[0])
            written |= {"resolution": (across * scale[0], down * scale[1]), "resolutionunit": unit}
        if tags.description:
            written["description"] = tags.description.encode()
    if extra:
        written["extratags"] = extra
    return written


def ome_metadata(
    tags: Tags, names: Sequence[str], size: tuple[int, int], pages: int, contents: bytes
) -> dict[str, Any]:
    """What tifffile is to say in the OME-XML of an image that was made from one that had some.

    Args:
        tags: of that one, whose `ome` is not None.
        names: of the channels that are written.
        size: height and width in pixels.
        pages: how many; they keep the axes that they had, where there are as many.
        contents: some of the pixels, which the file's identity follows from.
    """
    known = dict(tags.ome or ())
    lengths = {axis: int(known.get(f"Size{axis}", 1)) for axis in "TZ"}
    # A stack is written as time points of sections; of another number of pages nothing is known.
    kept = lengths if lengths["T"] * lengths["Z"] == pages else {"T": 1, "Z": pages}
    axes = "".join(axis for axis, length in kept.items() if length > 1)
    metadata: dict[str, Any] = {
        "axes": f"{axes}CYX",
        "shape": [kept[axis] for axis in axes],
        "UUID": str(uuid5(NAMESPACE_OID, blake2b(contents, digest_size=16).hexdigest())),
    }
    for axis, scale in (("X", tags.size[1] / size[1]), ("Y", tags.size[0] / size[0]), ("Z", 1.0)):
        name = f"PhysicalSize{axis}"
        with contextlib.suppress(KeyError, ValueError):
            metadata[name] = float(known[name]) * scale
            metadata[f"{name}Unit"] = known.get(f"{name}Unit", "µm")
    if not any(name.startswith("channel ") for name in names):
        metadata["Channel"] = {"Name": list(names)}
    return metadata


def _resized(
    tag: tuple[int, int, int, Any], old: tuple[int, int], new: tuple[int, int]
) -> tuple[int, int, int, Any]:
    """A tag of GeoTIFF for the same ground in another number of pixels."""
    number, kind, count, value = tag
    across, down = old[1] / new[1], old[0] / new[0]
    if number == _PIXEL_SCALE and (across, down) != (1, 1):
        value = (value[0] * across, value[1] * down, *value[2:])
    if number == _TIEPOINTS and (across, down) != (1, 1):
        value = tuple(v / (across, down, 1, 1, 1, 1)[index % 6] for index, v in enumerate(value))
    if number == _TRANSFORMATION and (across, down) != (1, 1):
        value = tuple(v * (across, down, 1, 1)[index % 4] for index, v in enumerate(value))
    return number, kind, count, value


def _of_part(tag: tuple[int, int, int, Any], top: float, left: float) -> tuple[int, int, int, Any]:
    """A tag of GeoTIFF for the same ground where the pixel at the corner is another."""
    number, kind, count, value = tag
    if number == _TIEPOINTS:  # pixel (i, j, k) and ground (x, y, z) of each
        shift = (left, top, 0.0, 0.0, 0.0, 0.0)
        value = tuple(v - shift[index % 6] for index, v in enumerate(value))
    if number == _TRANSFORMATION:  # a matrix, row by row, from (i, j, k, 1) to the ground
        rows = [value[start : start + 4] for start in range(0, 16, 4)]
        value = tuple(v for row in rows for v in (*row[:3], row[3] + left * row[0] + top * row[1]))
    if number == _RPC:  # the third and the fourth are the offsets of line and sample
        value = (*value[:2], value[2] - top, value[3] - left, *value[4:])
    return number, kind, count, value


def _items(page: Any) -> list[tuple[str, int | None, str, str]]:
    """What GDAL says: name, band, role and text of each item."""
    tag = page.tags.get(_GDAL_METADATA)
    found: list[tuple[str, int | None, str, str]] = []
    with contextlib.suppress(Exception):
        for item in ElementTree.fromstring(tag.value).iter("Item"):
            sample = item.get("sample")
            band = int(sample) if sample is not None else None
            found.append((item.get("name", ""), band, item.get("role", ""), item.text or ""))
    return found


def _gdal_xml(items: Sequence[tuple[str, str]], names: Sequence[str]) -> bytes:
    root = ElementTree.Element("GDALMetadata")
    for name, text in items:
        ElementTree.SubElement(root, "Item", name=name).text = text
    for band, name in enumerate(names):
        item = ElementTree.SubElement(root, "Item", name="DESCRIPTION", sample=str(band), role="description")
        item.text = name
    return ElementTree.tostring(root)


def _ome_pixels(xml: str) -> tuple[tuple[str, str], ...]:
    with contextlib.suppress(ElementTree.ParseError):
        for element in ElementTree.fromstring(xml).iter():
            if element.tag.endswith("}Pixels"):
                return tuple(element.attrib.items())
    return ()


def _ome_resolution(xml: str) -> tuple[float, float, int] | None:
    """Pixels a cm across and down, of the physical size of a pixel."""
    with contextlib.suppress(Exception):
        for element in ElementTree.fromstring(xml).iter():
            if element.tag.endswith("}Pixels") and element.get("PhysicalSizeX"):
                unit = _CENTIMETRES[element.get("PhysicalSizeXUnit", "µm")]
                across = float(element.attrib["PhysicalSizeX"])
                down = float(element.get("PhysicalSizeY", across))
                return 1 / (across * unit), 1 / (down * unit), 3
    return None


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None
