"""NIfTI-1 and NIfTI-2 volumes, slice by slice, by nibabel."""

from __future__ import annotations

import gzip
import io
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from translatekit.errors import DataError
from translatekit.images.guard import opened
from translatekit.images.image import DTYPES, Header, Image, file_spec, finite, kept
from translatekit.images.pixels import MAX_PIXELS
from translatekit.types import SliceAxis

NIFTI = "nifti"
"""The key of `Place` in an image's metadata."""

# Where columns, rows and slices go, as viewers show them: to the left of the body, its back, its head, and so on.
_SHOWN: Mapping[SliceAxis, tuple[str, str, str]] = {
    "axial": ("L", "P", "S"),
    "coronal": ("L", "I", "A"),
    "sagittal": ("P", "I", "R"),
}
_MAX_CHANNELS = 64
_MAX_GZIP_RATIO = 1100  # times that deflate makes of a byte at most
_MAX_BYTES = 2**35


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a slice comes from.

    Attributes:
        header: nibabel's, of the file.
        affine: from the file's voxels to mm.
        shape: of the file's volume.
        axis: of its slices.
    """

    header: Any
    affine: np.ndarray
    shape: tuple[float, ...]
    axis: SliceAxis = "axial"

    @property
    def shown_affine(self) -> np.ndarray:
        """(4, 4): from the column, the row and the number of a slice, as it is read, to mm."""
        import nibabel

        to_shown = _orientation(self.affine, self.axis)[0]
        back = nibabel.orientations.inv_ornt_aff(to_shown, (*self.shape, 1, 1)[:3])
        return np.asarray(self.affine @ back)

    def part(self, top: float, left: float, height: float, width: float) -> Place:
        """That of a part of the slices, in pixels as they are shown: over the same part of the body."""
        shown = ((left, width), (top, height))
        starts, shape = [0.0, 0.0, 0.0], [*(*self.shape, 1, 1)[:3]]
        for stored, (axis, turn) in enumerate(_orientation(self.affine, self.axis)[0]):
            if axis < 2:
                start, length = shown[int(axis)]
                starts[stored] = start if turn > 0 else shape[stored] - start - length
                shape[stored] = length
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ starts
        return replace(self, affine=affine, shape=(*shape, *self.shape[3:]))


class NiftiReader:
    """A volume in slices, as viewers show them.

    Axial ones go from the feet to the head, the front of the body at the top; coronal ones from the back to the front,
    the head at the top; both with the patient's right on the left. Sagittal ones go from the left side to the right,
    the head at the top and the front on the left. Axes are only swapped and turned round, so that no voxel is changed,
    and turned back on writing. A fourth axis is that of channels.
    """

    def __init__(self, source: Path | bytes, axis: SliceAxis = "axial") -> None:
        import nibabel

        logging.getLogger("nibabel.global").handlers.clear()  # it prints remarks about headers
        with opened(source) as file:
            packed = file.read(2) == b"\x1f\x8b"
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            start = (gzip.GzipFile(fileobj=file) if packed else file).read(540)
        kind: Any = (
            nibabel.Nifti2Image if start[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nibabel.Nifti1Image
        )
        if len(start) < 348:
            raise DataError("it is damaged or not accessible (it is cut off); replace or remove it")
        block = start[: kind.header_class.template_dtype.itemsize]
        header = kind.header_class(block, check=True)  # without extensions, which may be longer
        shape = tuple(int(side) for side in header.get_data_shape())
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        count, item = math.prod(shape), int(header.get_data_dtype().itemsize)
        max_bytes = min(_MAX_BYTES, size * (_MAX_GZIP_RATIO if packed else 1))
        if len(shape) not in (2, 3, 4) or min(shape) < 1 or (len(shape) == 4 and shape[3] > _MAX_CHANNELS):
            raise DataError(
                f"its shape is {shape}, but a volume has 3 axes, or 4 with up to {_MAX_CHANNELS} channels"
            )
        if count * item > max_bytes or shape[0] * shape[1] > MAX_PIXELS:
            raise DataError(
                f"its header says {shape} of {item} bytes each, more than the file can hold; replace it"
            )
        if isinstance(source, Path):
            # Compressed volumes are read at once: to go to a slice, all before it has to be decompressed.
            self._image = (
                kind.from_file_map(kind.make_file_map({"image": str(source)})) if not packed else None
            )
        else:
            self._image = kind.from_bytes(source) if not packed else None
        if self._image is None:
            data = source if isinstance(source, bytes) else source.read_bytes()
            self._image = kind.from_bytes(_unpacked(data, count * item + 2**20))
        header.extensions = self._image.header.extensions
        self._shape, self._place = shape, Place(header, self._image.affine, shape, axis)
        self._to_shown = _orientation(self._image.affine, axis)[0]
        self._raw: np.ndarray | None = None
        slope, inter = header.get_slope_inter()
        self._scale = (1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter))

    def close(self) -> None:
        """Let go of the volume."""
        self._raw = self._image = None

    def header(self, page: int = 0) -> Header:
        """The volume's size; its spacing is in mm."""
        import nibabel

        columns, rows, slices = _turned_shape(self._shape, self._to_shown)
        zooms = np.abs(nibabel.affines.voxel_sizes(self._place.affine))
        across, down, along = (float(zooms[int(axis)]) for axis in np.argsort(self._to_shown[:, 0]))
        dtype = "float32"
        stored = self._place.header.get_data_dtype()
        if stored.names is None and stored.name in DTYPES and self._scale == (1.0, 0.0):
            dtype = stored.name
        count = 3 if stored.names else self._shape[3] if len(self._shape) == 4 else 1
        return Header(
            height=rows,
            width=columns,
            spec=file_spec(count, "uint8" if stored.names else dtype, bool(stored.names)),
            pages=slices,
            spacing=(along, down, across),
            metadata={NIFTI: self._place},
        )

    def read(self, page: int = 0) -> Image:
        """A slice."""
        header = self.header()
        if page >= header.pages:
            raise DataError(f"it has {header.pages} slices, and no slice {page + 1}; name one that is there")
        values = np.asarray(self._volume()[:, :, page])
        pixels = values.swapaxes(0, 1)
        if pixels.dtype.names:
            pixels = np.stack([pixels[name] for name in pixels.dtype.names[:3]], axis=-1)
        pixels = pixels if pixels.ndim == 3 else pixels[:, :, None]
        if self._scale != (1.0, 0.0):
            pixels = pixels * np.float64(self._scale[0]) + np.float64(self._scale[1])
        pixels = kept(pixels)
        if pixels.dtype.name != header.spec.dtype:
            pixels = pixels.astype(np.float32)
        pixels = np.ascontiguousarray(pixels)
        return Image(
            pixels=pixels,
            spec=header.spec,
            white=255.0 if header.spec.levels else None,
            valid=finite(pixels),
            metadata={NIFTI: self._place},
        )

    def _volume(self) -> np.ndarray:
        """The stored numbers, axes as they are shown."""
        import nibabel

        if self._raw is None:
            assert self._image is not None
            raw = self._image.dataobj.get_unscaled().reshape(self._shape)
            volume = raw if raw.ndim > 2 else raw[:, :, None]
            self._raw = nibabel.orientations.apply_orientation(volume, self._to_shown)
        return self._raw


def encode_slice(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """A volume of one slice."""
    file = io.BytesIO()
    _write(file, [image], 1, suffix, compression)
    return file.getvalue()


def write_volume(
    path: Path, images: Iterable[Image], *, pages: int, suffix: str, compression: int = 4
) -> None:
    """Write slices as a volume, with the affine and the header of the one that they were made from."""
    with path.open("wb") as file:
        _write(file, images, pages, suffix, compression)


def _write(file: BinaryIO, images: Iterable[Image], pages: int, suffix: str, compression: int) -> None:
    import nibabel

    given = iter(images)
    first = next(given)
    height, width, channels = first.pixels.shape
    volume = np.empty((width, height, pages, channels), first.pixels.dtype)
    for page, image in enumerate(chain([first], given)):
        if (image.pixels.shape, image.pixels.dtype) != (first.pixels.shape, first.pixels.dtype):
            raise DataError(
                f"slices of {first.pixels.shape} and of {image.pixels.shape} cannot be in one volume"
            )
        volume[:, :, page] = image.pixels.swapaxes(0, 1)
    if volume.shape[3] == 1:
        volume = volume[..., 0]
    place: Place | None = first.metadata.get(NIFTI)
    header, affine = None, np.diag([-1.0, -1.0, 1.0, 1.0])
    if place is not None:
        to_shown, to_stored = _orientation(place.affine, place.axis)
        shown = _turned_shape(place.shape, to_shown)
        affine, header = place.affine, place.header.copy()
        if volume.shape[:3] == shown:
            volume = nibabel.orientations.apply_orientation(volume, to_stored)
        else:  # another number of voxels over the same body
            factors = [old / new for old, new in zip(shown, volume.shape[:3], strict=True)]
            larger = np.diag([*factors, 1.0])
            larger[:3, 3] = [(factor - 1) / 2 for factor in factors]  # places are those of voxels' middles
            affine = place.shown_affine @ larger
    else:
        volume = np.ascontiguousarray(volume)
    kind: Any = nibabel.Nifti2Image if _is_second(header) else nibabel.Nifti1Image
    made = kind(volume, affine, header)
    made.header.set_data_dtype(volume.dtype)
    made.header.set_slope_inter(1, 0)
    made.header["cal_min"] = made.header["cal_max"] = 0
    if not suffix.endswith(".gz"):
        made.to_stream(file)
        return
    with gzip.GzipFile("", "wb", compression, file, mtime=0) as packed:
        made.to_stream(packed)


def _is_second(header: Any) -> bool:
    return header is not None and int(header["sizeof_hdr"]) == 540


def _orientation(affine: np.ndarray, axis: SliceAxis) -> tuple[np.ndarray, np.ndarray]:
    """How the stored axes become the shown ones, and back."""
    import nibabel

    stored = nibabel.orientations.io_orientation(affine)
    if np.isnan(stored).any():
        stored = nibabel.orientations.axcodes2ornt(_SHOWN["axial"])
    shown = nibabel.orientations.axcodes2ornt(_SHOWN[axis])
    return (
        nibabel.orientations.ornt_transform(stored, shown),
        nibabel.orientations.ornt_transform(shown, stored),
    )


def _turned_shape(shape: tuple[Any, ...], transform: np.ndarray) -> tuple[Any, Any, Any]:
    sides = (*shape, 1, 1)[:3]
    columns, rows, slices = (sides[int(axis)] for axis in np.argsort(transform[:, 0]))
    return columns, rows, slices


def _unpacked(data: bytes, limit: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        return file.read(limit)
