"""Images of light: OpenEXR and Radiance HDR. Their numbers have no white: 1 is a bright page, and lamps are more."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.images.guard import opened
from translatekit.images.image import Header, Image, file_spec, finite, kept
from translatekit.images.pixels import MAX_PIXELS

_NAMES = {"R": "red", "G": "green", "B": "blue", "Y": "gray"}
_RGB = ("R", "G", "B")


class ExrReader:
    """An OpenEXR file of scan lines or tiles: R, G, B and A, Y, or channels of any names."""

    def __init__(self, source: Path | bytes) -> None:
        import OpenEXR

        with opened(source):
            pass
        self._source = source
        with _as_path(source, ".exr") as path:
            file = OpenEXR.InputFile(str(path))
            head = file.header()
            file.close()
        window = head["dataWindow"]
        self._size = (window.max.y - window.min.y + 1, window.max.x - window.min.x + 1)
        found = set(head["channels"])
        self._alpha = "A" in found and bool(found & {"R", "Y"})
        rest = sorted(found - ({"A"} if self._alpha else set()))
        self._channels = tuple(sorted(rest, key=lambda name: (name not in _RGB, "RGB".find(name), name)))
        if not self._channels or min(self._size) < 1:
            raise DataError("it holds no channels; choose another file")
        if (
            self._size[0] * self._size[1] > MAX_PIXELS
            or self._size[0] * self._size[1] * len(found) > 4 * MAX_PIXELS
        ):
            raise MemoryError

    def close(self) -> None:
        """Nothing is open."""

    def header(self, page: int = 0) -> Header:
        """What the header says."""
        names = tuple(_NAMES.get(name, name) for name in self._channels)
        return Header(height=self._size[0], width=self._size[1], spec=file_spec(names, "float32", False))

    def read(self, page: int = 0) -> Image:
        """All channels, as float32."""
        import OpenEXR

        with _as_path(self._source, ".exr") as path, OpenEXR.File(str(path), separate_channels=True) as file:
            planes = {name: np.array(channel.pixels) for name, channel in file.channels().items()}
        if any(plane.shape != self._size for plane in planes.values()):
            raise DataError("its channels have different sizes; convert it to channels of one size")
        pixels = np.stack([kept(planes[name]).astype(np.float32) for name in self._channels], axis=2)
        return Image(
            pixels=pixels,
            spec=self.header().spec,
            alpha=kept(planes["A"]).astype(np.float32) if self._alpha else None,
            valid=finite(pixels),
        )


def encode_exr(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """An OpenEXR file of 32-bit floats. Levels are written from 0 to 1."""
    import OpenEXR

    letters = {name: letter for letter, name in _NAMES.items()}
    names = [letters.get(name, name) for name in image.spec.channels]
    planes = {name: _plane(image, image.pixels[:, :, index]) for index, name in enumerate(names)}
    if image.alpha is not None:
        planes["A"] = _plane(image, image.alpha)
    packing = OpenEXR.ZIP_COMPRESSION if compression else OpenEXR.NO_COMPRESSION
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.exr")
        file = OpenEXR.File({"compression": packing, "type": OpenEXR.scanlineimage}, planes)
        file.write(str(path))
        return path.read_bytes()


def _plane(image: Image, values: np.ndarray) -> np.ndarray:
    floats = values.astype(np.float32)
    return np.ascontiguousarray(floats if image.white in (None, 1.0) else floats / np.float32(image.white))


class RadianceReader:
    """A Radiance HDR file: RGB that shares an exponent."""

    def __init__(self, source: Path | bytes) -> None:
        with opened(source) as file:
            start = file.read(65536)
        found = re.search(rb"\n\n([+-][XY]) (\d{1,9}) ([+-][XY]) (\d{1,9})\n", start)
        if not start.startswith(b"#?") or found is None:
            raise DataError("it is no Radiance file, or damaged at its start; replace or remove it")
        if (found[1], found[3]) != (b"-Y", b"+X"):
            raise DataError("its rows are stored in another order than from the top and the left; convert it")
        self._size = (int(found[2]), int(found[4]))
        if not 0 < self._size[0] * self._size[1] <= MAX_PIXELS:
            raise MemoryError
        self._source = source

    def close(self) -> None:
        """Nothing is open."""

    def header(self, page: int = 0) -> Header:
        """What the header says."""
        spec = file_spec(("red", "green", "blue"), "float32", False)
        return Header(height=self._size[0], width=self._size[1], spec=spec)

    def read(self, page: int = 0) -> Image:
        """RGB, as float32."""
        import imagecodecs

        data = self._source if isinstance(self._source, bytes) else self._source.read_bytes()
        pixels = np.ascontiguousarray(imagecodecs.rgbe_decode(data), np.float32)
        if pixels.shape != (*self._size, 3):
            raise DataError("it is damaged or not accessible (its size is another); replace or remove it")
        return Image(pixels=pixels, spec=self.header().spec, valid=finite(pixels))


def encode_radiance(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """A Radiance HDR file, of 8 bits a channel and a common exponent. Levels are written from 0 to 1."""
    import imagecodecs

    pixels = np.stack(
        [_plane(image, image.pixels[:, :, min(c, image.pixels.shape[2] - 1)]) for c in range(3)], axis=2
    )
    if not np.isfinite(pixels).all() or pixels.min() < 0:
        raise DataError("Radiance HDR holds no negative numbers: choose .exr")
    return bytes(imagecodecs.rgbe_encode(pixels, header=True))


@contextmanager
def _as_path(source: Path | bytes, suffix: str) -> Iterator[Any]:
    """A file's path, for libraries that read nothing else."""
    if isinstance(source, Path):
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"image{suffix}")
        path.write_bytes(source)
        yield path
