"""Large rasters by region: whole slides through tiffslide, GeoTIFF and its like through rasterio."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from translatekit.errors import DataError, TranslatekitError
from translatekit.images import Image, encode_image, resize
from translatekit.images.image import file_spec
from translatekit.requirements import missing, of_extra, require

RASTER_SUFFIXES = frozenset({".bif", ".jp2", ".ndpi", ".qptiff", ".scn", ".svs", ".tif", ".tiff"})
"""Suffixes of the files that are read, in lower case."""

_OVERVIEW = 1024  # pixels of the longer side at which the background of a slide is judged

Resampling = Literal["nearest", "bilinear", "average"]


class Raster(Protocol):
    """A raster that is read by region, at one resolution.

    Attributes:
        path: the file.
        width, height: in pixels at that resolution.
    """

    path: Path
    width: int
    height: int

    def read(self, left: int, top: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The pixels (height, width, bands) of a region, and where (height, width) they hold data; None: everywhere."""

    def encode(self, pixels: np.ndarray, valid: np.ndarray | None, left: int, top: int) -> bytes:
        """A region as the contents of a TIFF file, with whatever else is known of it."""

    def overview(self) -> np.ndarray | None:
        """(H, W, 3) uint8: the whole of a slide, small; None for what has no glass around it."""


@contextmanager
def open_raster(path: Path, *, level: int | None = None, resolution: float | None = None) -> Iterator[Raster]:
    """Open a slide, or a raster.

    Files without coordinates that tiffslide knows and that hold RGB of 8 bits are slides.

    Args:
        path: the file.
        level: of its pyramid; 0 where neither is given.
        resolution: in its place: micrometres a pixel of a slide, or units of a raster's coordinates.

    Raises:
        DataError: it is damaged or no such file, or has no such level or resolution.
        PluginError: what reads it is not installed.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the path")
    with ExitStack() as stack:
        with _explained(path):
            slide = None if path.suffix.lower() == ".jp2" or is_georeferenced(path) else _open_slide(path)
            raster: Raster
            if slide is not None:
                stack.callback(slide.close)
                raster = _Slide(path, slide, level or 0, resolution)
            else:
                raster = _Geo(path, stack, level or 0, resolution)
        yield raster


def aligned(b: Raster, a: Raster, resampling: Resampling) -> Raster:
    """A raster as seen on the grid of another, resampled where it is read.

    Raises:
        DataError: one of them has no coordinates.
    """
    if isinstance(a, _Geo) and isinstance(b, _Geo):
        return b.on_grid(a, resampling)
    slide = a if isinstance(a, _Slide) else b
    raise DataError(
        f"{slide.path} has no coordinates by which to bring two grids together: register it first"
    )


def coarsened(raster: Raster, resampling: Resampling) -> Raster:
    """A raster of which several pixels become one in another way than by default; slides stay as they are."""
    return raster.coarsened(resampling) if isinstance(raster, _Geo) else raster


def misfit(a: Raster, b: Raster) -> str:
    """How the grids of two rasters differ, in words; empty where they are one."""
    if isinstance(a, _Geo) and isinstance(b, _Geo):
        if a.crs != b.crs:
            return f"has the coordinate system {b.crs or 'none'}, and A {a.crs or 'none'}"
        corners = np.array([(0, 0), (a.width, 0), (0, a.height), (a.width, a.height)], np.float64)
        apart = max(
            abs(complex(*np.subtract(a.transform * tuple(corner), b.transform * tuple(corner))))
            for corner in corners
        )
        step = abs(complex(a.transform.a, a.transform.d)) or 1.0
        if (a.width, a.height) == (b.width, b.height) and apart > 0.5 * step:
            return f"lies up to {apart / step:.3g} pixels from A"
    if (a.width, a.height) != (b.width, b.height):
        return f"is {b.width}x{b.height}, and A {a.width}x{a.height}"
    return ""


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence."""
    try:
        yield
    except TranslatekitError:
        raise
    except MemoryError:
        raise DataError(
            f"{path} claims more pixels than fit into memory: it is damaged; replace it"
        ) from None
    except Exception as error:  # readers raise nearly anything on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path} cannot be read: it is damaged or no raster ({reason}); replace or remove it"
        ) from None


def is_georeferenced(path: Path) -> bool:
    """Whether a TIFF says where on the earth it lies."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    import tifffile

    with suppress(Exception), tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        return any(
            tag in page.tags for tag in (33550, 33922, 34264, 34735, 42113)
        )  # GeoTIFF's, and GDAL's nodata
    return False


def _open_slide(path: Path) -> Any | None:
    """A slide; None for what is none."""
    needed = of_extra("slides", "tiffslide")
    if path.suffix.lower() in (".tif", ".tiff") and missing(needed):
        return None  # it may still be a raster
    require(f"reading {path}", needed)
    import tiffslide

    try:
        slide = tiffslide.TiffSlide(path)
    except Exception:
        return None  # the other reader says what is wrong with it
    page: Any = slide.ts_tifffile.pages[0]
    if page.dtype == np.uint8 and page.samplesperpixel == 3 and len(slide.level_dimensions) > 0:
        return slide
    slide.close()
    return None


class _Slide:
    """A whole slide: RGB of 8 bits, whose background is glass."""

    def __init__(self, path: Path, slide: Any, level: int, resolution: float | None) -> None:
        self.path = path
        self._slide, self._lock = slide, threading.Lock()
        factor = 1.0
        if resolution is not None:
            native = slide.properties.get("tiffslide.mpp-x")
            if not native:
                raise DataError(f"{path} does not say its resolution: pass --level instead of --resolution")
            factor = _factor(path, resolution, float(native), "micrometres a pixel")
        elif level >= len(slide.level_dimensions):
            raise DataError(
                f"{path} has the levels 0 to {len(slide.level_dimensions) - 1}, and no level {level}: choose one"
            )
        else:
            factor = float(slide.level_downsamples[level])
        fitting = [n for n, ratio in enumerate(slide.level_downsamples) if ratio <= factor * 1.001]
        self._level = fitting[-1] if fitting else 0
        self._factor = factor
        self._ratio = factor / float(slide.level_downsamples[self._level])  # of a pixel to one of the level
        width, height = slide.level_dimensions[self._level]
        self.width, self.height = int(width / self._ratio), int(height / self._ratio)

    def read(self, left: int, top: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray | None]:
        place = (round(left * self._factor), round(top * self._factor))
        size = (max(1, round(width * self._ratio)), max(1, round(height * self._ratio)))
        with _explained(self.path), self._lock:
            pixels = np.asarray(self._slide.read_region(place, self._level, size, as_array=True))
        pixels = np.ascontiguousarray(pixels[:, :, :3])
        return (pixels if pixels.shape[:2] == (height, width) else resize(pixels, (height, width))), None

    def encode(self, pixels: np.ndarray, valid: np.ndarray | None, left: int, top: int) -> bytes:
        image = Image(pixels=pixels, spec=file_spec(pixels.shape[2], "uint8", True), white=255.0)
        return encode_image(image, ".tiff")

    def overview(self) -> np.ndarray | None:
        with _explained(self.path), self._lock:
            return np.asarray(self._slide.get_thumbnail((_OVERVIEW, _OVERVIEW)).convert("RGB"))


class _Geo:
    """A raster with any number of bands, and with coordinates where it has them."""

    def __init__(self, path: Path, stack: ExitStack, level: int, resolution: float | None) -> None:
        require(f"reading {path}", of_extra("geo", "rasterio"))
        import rasterio
        from rasterio.enums import ColorInterp
        from rasterio.errors import NotGeoreferencedWarning

        warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
        self.path, self._stack, self._lock = path, stack, threading.Lock()
        # By name, since VRT and others may point to further files, and addresses.
        driver = "JP2OpenJPEG" if path.suffix.lower() == ".jp2" else "GTiff"
        self._source = source = stack.enter_context(rasterio.open(path, driver=driver))
        if not source.count or any(np.dtype(dtype).kind not in "uif" for dtype in source.dtypes):
            raise DataError(
                f"{path} holds {', '.join(set(source.dtypes))}, and not real numbers: convert it to float32"
            )
        # Alpha is no band of its own: it says where there are data.
        self._bands = [
            band
            for band, meaning in enumerate(source.colorinterp, 1)
            if meaning != ColorInterp.alpha or source.count == 1
        ]
        self._names = [source.descriptions[band - 1] for band in self._bands]
        colors = [source.colorinterp[band - 1] for band in self._bands]
        # A mean of class numbers, as colour tables have them, is another class.
        self._coarsening: Resampling = "nearest" if ColorInterp.palette in colors else "average"
        self._is_rgb = colors == [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        self.crs = source.crs
        factor = 1.0
        if resolution is not None:
            factor = _factor(path, resolution, abs(float(source.res[0])), "units a pixel")
        elif level:
            overviews = source.overviews(1)
            if level > len(overviews):
                raise DataError(
                    f"{path} has the levels 0 to {len(overviews)}, and no level {level}: choose one of them"
                )
            factor = float(overviews[level - 1])
        self._factor = factor
        self.width, self.height = max(1, int(source.width / factor)), max(1, int(source.height / factor))
        self.transform = source.transform * source.transform.scale(factor)

    def coarsened(self, resampling: Resampling) -> _Geo:
        """The same raster, of which several pixels become one in this way."""
        other = copy(self)
        other._coarsening = resampling
        return other

    def on_grid(self, other: _Geo, resampling: Resampling) -> _Geo:
        """The same raster on the grid of another."""
        from rasterio.enums import Resampling as Kinds
        from rasterio.vrt import WarpedVRT

        if self.crs is None or other.crs is None:
            missing = self.path if self.crs is None else other.path
            raise DataError(
                f"{missing} has no coordinate system by which to bring two grids together: give it one"
            )
        moved = copy(self)
        with _explained(self.path):
            moved._source = self._stack.enter_context(
                WarpedVRT(
                    self._source,
                    crs=other.crs,
                    transform=other.transform,
                    width=other.width,
                    height=other.height,
                    resampling=Kinds[resampling],
                    # so that what lies outside of it is told from zero
                    add_alpha=self._source.nodata is None and len(self._bands) == self._source.count,
                )
            )
        moved.crs, moved.transform, moved._factor = other.crs, other.transform, 1.0
        moved.width, moved.height = other.width, other.height
        return moved

    def read(self, left: int, top: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray | None]:
        from rasterio.enums import Resampling as Kinds
        from rasterio.windows import Window

        ratio = self._factor
        window = Window(left * ratio, top * ratio, width * ratio, height * ratio)
        how = Kinds[self._coarsening] if ratio > 1 else Kinds.nearest
        with _explained(self.path), self._lock:
            bands = self._source.read(
                self._bands, window=window, out_shape=(len(self._bands), height, width), resampling=how
            )
            masks = self._source.dataset_mask(window=window, out_shape=(height, width)) > 0
        pixels = np.ascontiguousarray(np.moveaxis(bands, 0, 2))
        if pixels.dtype.kind == "f":
            masks &= np.isfinite(pixels).all(axis=2)
        return pixels, None if masks.all() else masks

    def encode(self, pixels: np.ndarray, valid: np.ndarray | None, left: int, top: int) -> bytes:
        import rasterio
        from rasterio.enums import ColorInterp
        from rasterio.transform import Affine

        nodata = self._source.nodata
        alpha = None
        if valid is not None and nodata is None:
            if pixels.dtype.kind == "f":
                pixels, nodata = np.where(valid[:, :, None], pixels, np.nan).astype(pixels.dtype), np.nan
            else:  # no number is free to stand for what is missing
                alpha = valid * np.array(np.iinfo(pixels.dtype).max, pixels.dtype)
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "count": pixels.shape[2] + (alpha is not None),
            "dtype": pixels.dtype.name,
            "nodata": nodata,
            "compress": "deflate",
            "predictor": 3 if pixels.dtype.kind == "f" else 2,
            "interleave": "pixel",
            "photometric": "rgb" if self._is_rgb else "minisblack",
        }
        if self.crs is not None:
            profile |= {"crs": self.crs, "transform": self.transform * Affine.translation(left, top)}
        with _explained(self.path), rasterio.MemoryFile() as memory:
            with memory.open(**profile) as tile:
                tile.write(np.moveaxis(pixels, 2, 0), list(range(1, pixels.shape[2] + 1)))
                if alpha is not None:
                    tile.write(alpha, pixels.shape[2] + 1)
                    tile.colorinterp = [*tile.colorinterp[:-1], ColorInterp.alpha]
                for band, name in enumerate(self._names, 1):
                    if name:
                        tile.set_band_description(band, name)
            return bytes(memory.read())

    def overview(self) -> np.ndarray | None:
        return None


def _factor(path: Path, wanted: float, native: float, unit: str) -> float:
    """How many pixels become one.

    Raises:
        DataError: the file is coarser than that.
    """
    if wanted < native * 0.999:
        raise DataError(
            f"{path} has {native:g} {unit}, which is coarser than {wanted:g}: pass a larger --resolution"
        )
    return wanted / native
