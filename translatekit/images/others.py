"""Files that other libraries know: camera raw, whole slides, rasters of GDAL, and what is left to imageio."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import RGB
from translatekit.images.guard import opened
from translatekit.images.image import DTYPES, Header, Image, file_spec, finite, kept, white_of
from translatekit.images.pixels import MAX_PIXELS
from translatekit.images.tiff_tags import TIFF, Tags, read_tags


class RawReader:
    """A camera's raw file, developed by LibRaw with the camera's white balance: RGB of 16 bits, upright."""

    def __init__(self, source: Path | bytes) -> None:
        import rawpy

        with opened(source):
            pass
        self._raw = rawpy.imread(str(source) if isinstance(source, Path) else io.BytesIO(source))
        sizes = self._raw.sizes
        turned = sizes.flip in (5, 6)
        self._size = (sizes.iwidth, sizes.iheight) if turned else (sizes.iheight, sizes.iwidth)
        if self._size[0] * self._size[1] > MAX_PIXELS:
            raise MemoryError

    def close(self) -> None:
        """Let go of the file."""
        self._raw.close()

    def header(self, page: int = 0) -> Header:
        """The developed image's size."""
        spec = file_spec(3, "uint16", True)
        return Header(height=self._size[0], width=self._size[1], spec=spec)

    def read(self, page: int = 0) -> Image:
        """The developed image."""
        pixels = self._raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
        return Image(pixels=np.ascontiguousarray(pixels), spec=file_spec(3, "uint16", True), white=65535.0)


class SlideReader:
    """A whole slide, at its full size, by parts."""

    def __init__(self, source: Path | bytes) -> None:
        import tiffslide

        with opened(source):
            pass
        self._slide = tiffslide.TiffSlide(str(source) if isinstance(source, Path) else io.BytesIO(source))
        width, height = self._slide.dimensions
        self._size = (int(height), int(width))
        across, down = (self._slide.properties.get(f"tiffslide.mpp-{axis}") for axis in "xy")
        resolution = (1e4 / float(across), 1e4 / float(down), 3) if across and down else None
        self._tags = Tags(size=self._size, resolution=resolution)

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def header(self, page: int = 0) -> Header:
        """The size of the level with the most pixels."""
        return Header(height=self._size[0], width=self._size[1], spec=RGB, metadata={TIFF: self._tags})

    def read(self, page: int = 0) -> Image:
        """All of it, where that is not too large."""
        if self._size[0] * self._size[1] > MAX_PIXELS:
            raise DataError(
                f"it has {self._size[1]}x{self._size[0]} pixels, too many at once: read parts of it, or cut it up by "
                "translatekit prepare tiles"
            )
        return self.read_region(0, 0, *self._size)

    def read_region(self, top: int, left: int, height: int, width: int, page: int = 0) -> Image:
        """A part of it."""
        if not (top >= 0 and left >= 0 and top + height <= self._size[0] and left + width <= self._size[1]):
            raise DataError(f"it has no part {width}x{height} at row {top}, column {left}")
        part = np.asarray(self._slide.read_region((left, top), 0, (width, height), as_array=True))
        pixels = np.ascontiguousarray(part[:, :, :3], np.uint8)
        return Image(pixels=pixels, spec=RGB, white=255.0, metadata={TIFF: self._tags})


class GdalReader:
    """A raster that GDAL knows, such as a virtual one (``.vrt``) that stacks the bands of several files."""

    def __init__(self, source: Path | bytes) -> None:
        import rasterio

        with opened(source):
            pass
        if isinstance(source, bytes):
            raise DataError("it refers to other files, and can only be read from where it is")
        self._file = rasterio.open(source)
        if len(set(self._file.dtypes)) != 1:
            raise DataError(
                f"its bands are of {', '.join(sorted(set(self._file.dtypes)))}; give them one type"
            )
        names = tuple(self._file.descriptions)
        count = self._file.count
        self._names: tuple[str, ...] | int = names if all(names) and len(set(names)) == count else count
        self._dtype = np.dtype(self._file.dtypes[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def header(self, page: int = 0) -> Header:
        """Size and bands."""
        dtype = self._dtype.name if self._dtype.name in DTYPES else "float32"
        spec = file_spec(self._names, dtype, self._dtype == np.uint8)
        return Header(height=self._file.height, width=self._file.width, spec=spec)

    def read(self, page: int = 0) -> Image:
        """All bands."""
        height, width = self._file.height, self._file.width
        if height * width > MAX_PIXELS or height * width * self._file.count > 4 * MAX_PIXELS:
            raise MemoryError
        return self.read_region(0, 0, height, width)

    def read_region(self, top: int, left: int, height: int, width: int, page: int = 0) -> Image:
        """A part of all bands."""
        import rasterio.windows

        window = rasterio.windows.Window(left, top, width, height)
        pixels = np.ascontiguousarray(kept(self._file.read(window=window)).transpose(1, 2, 0))
        valid = self._file.dataset_mask(window=window) > 0
        whole = finite(pixels)
        valid = valid if whole is None else valid & whole
        white = white_of(pixels.dtype) if self._dtype == np.uint8 else None
        spec = file_spec(self._names, pixels.dtype.name, white is not None)
        return Image(
            pixels=pixels,
            spec=spec,
            white=white,
            valid=None if valid.all() else valid,
            metadata={TIFF: self._tags()},
        )

    def _tags(self) -> Tags:
        """Its georeference as that of a GeoTIFF of as many pixels."""
        import rasterio
        import tifffile

        file = self._file
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="GTiff", height=1, width=1, count=1, dtype=self._dtype, crs=file.crs, transform=file.transform,
                nodata=file.nodata,
            ):  # fmt: skip
                pass
            with tifffile.TiffFile(io.BytesIO(memory.read())) as tiff:
                tags = read_tags(tiff.pages.first)
        return Tags(size=(file.height, file.width), geo=tags.geo)


class ImageioReader:
    """What imageio reads and nobody else here does: still images, by Pillow's plugin."""

    def __init__(self, source: Path | bytes) -> None:
        from imageio.v3 import imopen

        with opened(source) as file:
            if file.read(4) in (b"%!PS", b"\xc5\xd0\xd3\xc6"):
                raise DataError("it is PostScript, a program that would be run; convert it")
        self._file: Any = imopen(source, "r", plugin="pillow")
        properties = self._file.properties(index=0)
        shape = tuple(properties.shape)
        if len(shape) not in (2, 3):
            raise DataError(f"its shape is {shape}, but an image has 2 axes, or 3 with channels")
        if shape[0] * shape[1] > MAX_PIXELS:
            raise MemoryError
        self._shape, self._dtype = shape, np.dtype(properties.dtype)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def header(self, page: int = 0) -> Header:
        """Size and type."""
        samples = self._shape[2] if len(self._shape) == 3 else 1
        dtype = self._dtype.name if self._dtype.name in DTYPES else "uint8"
        levels = self._dtype.kind in "bu"
        spec = file_spec(samples - (samples in (2, 4)), dtype, levels)
        return Header(height=self._shape[0], width=self._shape[1], spec=spec)

    def read(self, page: int = 0) -> Image:
        """The first image."""
        values = np.asarray(self._file.read(index=0))
        values = values[:, :, None] if values.ndim == 2 else values
        samples = values.astype(np.uint8) * np.uint8(255) if values.dtype.kind == "b" else kept(values)
        colours = samples.shape[2] - (samples.shape[2] in (2, 4))
        pixels = np.ascontiguousarray(samples[:, :, :colours])
        white = white_of(pixels.dtype)
        return Image(
            pixels=pixels,
            spec=file_spec(colours, pixels.dtype.name, white is not None),
            white=white,
            alpha=np.ascontiguousarray(samples[:, :, colours]) if samples.shape[2] > colours else None,
            valid=finite(pixels),
        )
