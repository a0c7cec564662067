"""NumPy's ``.npy`` and ``.npz``: arrays of numbers, and nothing that would run code."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.images.guard import opened
from translatekit.images.image import DTYPES, Header, Image, file_spec, finite, in_16_bits, kept, white_of
from translatekit.images.pixels import MAX_PIXELS

_MAX_CHANNELS = 64  # a longer axis is taken for a side, unless the file says that it holds the channels
_IMAGE, _AXES = "image", "axes"


class ArrayReader:
    """An array as an image: (H, W), (H, W, C) or (C, H, W).

    Of three axes, channels are the first or the last: the one that is shorter than both others. Where that does not
    tell, the array must be in an ``.npz`` with a text ``axes`` beside it, such as ``CYX``; ``Z`` in it are slices.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._file = opened(source)
        self._source = source if isinstance(source, Path) else None
        is_archive = self._file.read(2) == b"PK"
        self._file.seek(0)
        self._member: str | None = None
        axes = None
        if is_archive:
            self._zip = zipfile.ZipFile(self._file)
            self._member, axes = _members(self._zip)
            with self._zip.open(self._member) as member:
                self._shape, self._fortran, self._dtype, _ = _array_header(member)
            size = self._zip.getinfo(self._member).file_size
        else:
            self._shape, self._fortran, self._dtype, self._start = _array_header(self._file)
            size = self._file.seek(0, io.SEEK_END)
        _check(self._shape, self._dtype, size)
        self._axes = axes or _axes(self._shape)
        if len(self._axes) != len(self._shape):
            raise DataError(
                f"its axes {self._axes!r} do not fit its shape {self._shape}; write one letter for each"
            )
        self._array: np.ndarray | None = None

    def close(self) -> None:
        """Close the file."""
        self._array = None
        self._file.close()

    def _length(self, axis: str) -> int:
        return self._shape[self._axes.index(axis)] if axis in self._axes else 1

    def header(self, page: int = 0) -> Header:
        """What the array's header says."""
        dtype = self._dtype.name if self._dtype.name in DTYPES else "float32"
        levels = white_of(self._dtype) is not None and self._dtype.itemsize <= 2
        return Header(
            height=self._length("Y"),
            width=self._length("X"),
            spec=file_spec(self._length("C"), dtype, levels),
            pages=self._length("Z"),
        )

    def read(self, page: int = 0) -> Image:
        """An image, or a slice."""
        return self.read_region(0, 0, self._length("Y"), self._length("X"), page)

    def read_region(self, top: int, left: int, height: int, width: int, page: int = 0) -> Image:
        """A part, without reading the rest of an ``.npy`` file."""
        pages = self._length("Z")
        if page >= pages:
            raise DataError(f"it has {pages} slices, and no slice {page + 1}; name one that is there")
        if self._length("Y") * self._length("X") > MAX_PIXELS and height * width > MAX_PIXELS:
            raise MemoryError
        picks: dict[str, Any] = {
            "Z": page,
            "Y": slice(top, top + height),
            "X": slice(left, left + width),
            "C": slice(None),
        }
        part = self._values()[tuple(picks[axis] for axis in self._axes)]
        left_over = [axis for axis in self._axes if axis != "Z"]
        part = (
            np.expand_dims(part, -1) if "C" not in left_over else np.moveaxis(part, left_over.index("C"), -1)
        )
        if [axis for axis in left_over if axis != "C"] == ["X", "Y"]:
            part = part.swapaxes(0, 1)
        pixels = np.ascontiguousarray(kept(np.asarray(part)))
        white = white_of(self._dtype) if self._dtype.itemsize <= 2 else None
        spec = file_spec(pixels.shape[2], pixels.dtype.name, white is not None)
        return Image(
            pixels=pixels, spec=spec, white=white, valid=finite(pixels), metadata={"npy": self._axes}
        )

    def _values(self) -> np.ndarray:
        if self._array is None:
            if self._member is not None:
                if math.prod(self._shape) > 4 * MAX_PIXELS:
                    raise MemoryError
                with self._zip.open(self._member) as member:
                    _array_header(member)
                    data = member.read()
                flat = np.frombuffer(data, self._dtype, math.prod(self._shape))
            elif self._source is not None:
                flat = np.memmap(self._file, self._dtype, "r", self._start, (math.prod(self._shape),))
            else:
                self._file.seek(self._start)
                flat = np.frombuffer(self._file.read(), self._dtype, math.prod(self._shape))
            self._array = flat.reshape(self._shape, order="F" if self._fortran else "C")
        return self._array


def encode_array(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """An ``.npy`` of (H, W) or (H, W, C); or an ``.npz`` that says its axes.

    Raises:
        DataError: which axis an ``.npy`` has channels in could not be told.
    """
    samples = image.pixels
    if samples.dtype == np.uint16 and image.white is not None:
        samples = in_16_bits(image, samples)  # an array does not say what white is
    pixels = samples[:, :, 0] if samples.shape[2] == 1 else samples
    buffer = io.BytesIO()
    if suffix == ".npz":
        save: Any = np.savez_compressed if compression else np.savez
        save(buffer, **{_IMAGE: pixels, _AXES: np.array("YXC"[: pixels.ndim])})
        return buffer.getvalue()
    try:
        plain = _axes(pixels.shape) == "YXC"[: pixels.ndim]
    except DataError:
        plain = False
    if not plain:
        raise DataError(
            f"an array of {pixels.shape} does not tell its channels; choose .npz, which says its axes"
        )
    np.save(buffer, pixels, allow_pickle=False)
    return buffer.getvalue()


def write_stack(
    path: Path, images: Iterable[Image], *, pages: int, suffix: str, compression: int = 4
) -> None:
    """An ``.npz`` of slices (Z, H, W, C), written one by one."""
    method = zipfile.ZIP_DEFLATED if compression else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method, compresslevel=compression or None) as archive:
        axes = io.BytesIO()
        np.save(axes, np.array("ZYXC"), allow_pickle=False)
        archive.writestr(f"{_AXES}.npy", axes.getvalue())
        with archive.open(f"{_IMAGE}.npy", "w", force_zip64=True) as member:
            first: np.ndarray | None = None
            for image in images:
                pixels = np.ascontiguousarray(image.pixels)
                if first is None:
                    first = pixels
                    head = {
                        "descr": np.lib.format.dtype_to_descr(pixels.dtype),
                        "fortran_order": False,
                        "shape": (pages, *pixels.shape),
                    }
                    np.lib.format.write_array_header_2_0(member, head)
                if (pixels.shape, pixels.dtype) != (first.shape, first.dtype):
                    raise DataError(f"slices of {first.shape} and of {pixels.shape} cannot be in one array")
                member.write(pixels.tobytes())


def _members(archive: zipfile.ZipFile) -> tuple[str, str | None]:
    """The name of the member that is the image, and what it says of its axes."""
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    axes = None
    if f"{_AXES}.npy" in names:
        names.remove(f"{_AXES}.npy")
        with archive.open(f"{_AXES}.npy") as member:
            shape, _, dtype, _ = _array_header(member)
            if dtype.kind != "U" or shape != () or dtype.itemsize > 64:
                raise DataError("its axes are no text; save them as np.array('CYX')")
            axes = (
                str(np.frombuffer(member.read(dtype.itemsize), dtype)[0])
                .upper()
                .replace("H", "Y")
                .replace("W", "X")
            )
        if set(axes) - set("ZCYX") or len(set(axes)) != len(axes) or not {"Y", "X"} <= set(axes):
            raise DataError(
                f"its axes are {axes!r}: use each of Y and X once, and C and Z where there are such"
            )
    if f"{_IMAGE}.npy" in names:
        return f"{_IMAGE}.npy", axes
    if len(names) != 1:
        found = ", ".join(name.removesuffix(".npy") for name in names[:5]) or "none"
        raise DataError(f"it holds {len(names)} arrays ({found}) and none is called image; keep one")
    return names[0], axes


def _array_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, dtype, and where the numbers start."""
    version = np.lib.format.read_magic(file)
    read: Any = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError("it holds Python objects, which would have to be unpickled; save numbers")
    if dtype.names is not None:
        raise DataError("it holds records; save an array of numbers")
    return shape, fortran, dtype, file.tell()


def _check(shape: tuple[int, ...], dtype: np.dtype, size: int) -> None:
    count = math.prod(shape)
    if any(side <= 0 for side in shape) or count * dtype.itemsize > size:
        raise DataError(
            f"it is damaged or not accessible (its header says {shape} of {dtype}, but it has {size:,} bytes); "
            "replace or remove it"
        )
    if len(shape) not in (2, 3, 4):
        raise DataError(f"its shape is {shape}, but an image has 2 axes, or 3 with channels")


def _axes(shape: tuple[int, ...]) -> str:
    """Which axis is which, where the shape tells.

    Raises:
        DataError: it does not.
    """
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3:
        first, middle, last = shape
        if last < min(first, middle) and last <= _MAX_CHANNELS:
            return "YXC"
        if first < min(middle, last) and first <= _MAX_CHANNELS:
            return "CYX"
    raise DataError(
        f"its shape {shape} does not tell which axis is which; save it as np.savez(file, image=array, axes='CYX')"
    )
