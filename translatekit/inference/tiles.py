"""Large images in parts: tiles that overlap, and blend where they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np

from translatekit.errors import OptionError
from translatekit.inference.statistics import Parts
from translatekit.interfaces import Translator
from translatekit.model_info import ModelInfo


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image.

    Attributes:
        top, left: of its first pixel.
        vertical, horizontal: how much each of its rows and columns counts.
    """

    top: int
    left: int
    vertical: np.ndarray
    horizontal: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """(rows, columns): how much its output counts; at each pixel, those of all tiles add up to 1."""
        return np.outer(self.vertical, self.horizontal).astype(np.float32)

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns of the image."""
        return (
            slice(self.top, self.top + len(self.vertical)),
            slice(self.left, self.left + len(self.horizontal)),
        )


class TiledTranslator:
    """A `translatekit.interfaces.Translator` that translates images of any size in tiles of one size.

    Where a network normalizes by the statistics of the image it is given, those of the whole image are measured
    first, layer by layer, and fixed for all of its tiles: tiles then agree, at the price of a pass for each such layer.

    Attributes:
        info: of the translator within.
        device, dtypes: likewise.
        within: that translator.
        tile: the side of a tile, in pixels.
        preferred_batch: 1; tiles are what is translated at once.
    """

    preferred_batch = 1

    def __init__(self, translator: Translator, tile: int, overlap: int | None = None) -> None:
        """Wrap a translator.

        Args:
            translator: what translates a tile.
            tile: its side in pixels.
            overlap: of neighbours, in pixels; a quarter of the tile when not given.

        Raises:
            OptionError: a number is no multiple of what the network needs, or the backend cannot fix the statistics
                of an image.
        """
        self.info: ModelInfo = translator.info
        self.device = getattr(translator, "device", "cpu")
        self.dtypes = getattr(translator, "dtypes", ("uint8", "float32"))
        self.within = translator
        multiple = self.info.size_multiple
        if tile % multiple or tile < 1:
            raise OptionError(
                f"--tile must be a multiple of {multiple} for {self.info.generator}, got {tile}: "
                f"pass --tile {max(1, round(tile / multiple)) * multiple}"
            )
        if overlap is None:
            overlap = min(-(-tile // (4 * multiple)) * multiple, tile - multiple)
        if overlap % multiple or not 0 <= overlap < tile:
            raise OptionError(
                f"--overlap must be a multiple of {multiple} below the tile's {tile}, got {overlap}: "
                "leave it out for a quarter of the tile"
            )
        self.tile, self._overlap = tile, overlap
        self._fix: Callable[..., AbstractContextManager[object]] | None = None
        if not normalizes_by_constants(self.info):
            self._fix = getattr(translator, "fixed_statistics", None)
            if self._fix is None:
                raise OptionError(
                    f"{self.info.generator} normalizes by statistics of the whole image, which this compiled model "
                    "cannot fix for its tiles: use the .safetensors model, or leave out --tile"
                )

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate (N, H, W, C), an image at a time, in tiles where it is larger than one."""
        if max(batch.shape[1:3]) <= self.tile:
            return self.within(batch)
        outputs = [self._translate(image) for image in batch]
        return outputs[0][None] if len(outputs) == 1 else np.stack(outputs)

    def _translate(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        tiles = list(split(height, width, self.tile, self._overlap))

        def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for tile in tiles:
                yield image[tile.place][None], tile.weights

        spec = self.info.output
        if spec.meaning == "labels":
            return self._choose(image, tiles, parts)
        channels = spec.count
        dtype = image.dtype if spec.levels else np.dtype(np.float32)
        output = np.empty((height, width, channels), dtype)
        # Tiles come row by row: what is above the next row's tiles is finished.
        sums, top = np.zeros((min(self.tile, height), width, channels), np.float32), 0
        with self._fix(parts) if self._fix is not None else nullcontext():
            for tile, (part, weights) in zip(tiles, parts(), strict=True):
                if (done := tile.top - top) > 0:
                    output[top : tile.top] = _finished(sums[:done], dtype)
                    sums = np.concatenate([sums[done:], np.zeros_like(sums[:done])])
                    top = tile.top
                sums[:, tile.place[1]] += self.within(part)[0] * weights[:, :, None]
        output[top:] = _finished(sums, dtype)
        return output

    def _choose(self, image: np.ndarray, tiles: Sequence[Tile], parts: Parts) -> np.ndarray:
        """Class numbers, which cannot be blended: each pixel has the one of the tile that counts most there."""
        output = np.empty((*image.shape[:2], self.info.output.count), np.uint8)
        most = np.zeros(image.shape[:2], np.float32)
        with self._fix(parts) if self._fix is not None else nullcontext():
            for tile, (part, weights) in zip(tiles, parts(), strict=True):
                better = weights > most[tile.place]
                output[tile.place][better] = self.within(part)[0][better]
                most[tile.place][better] = weights[better]
        return output


def _finished(sums: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.rint(sums).clip(0, 255).astype(np.uint8) if dtype == np.uint8 else sums


def normalizes_by_constants(info: ModelInfo) -> bool:
    """Whether a network treats each part of an image as it treats the whole, as far as its header tells."""
    norm = info.generator_options.get("norm")
    return norm == "none" or (norm == "batch" and info.norm_inference == "running")


def split(height: int, width: int, tile: int, overlap: int) -> Iterator[Tile]:
    """Tiles that cover an image of that size, in pixels, row by row; a side shorter than a tile is not cut."""
    rows, columns = _ramps(height, tile, overlap), _ramps(width, tile, overlap)
    for top, vertical in rows:
        for left, horizontal in columns:
            yield Tile(top, left, vertical, horizontal)


def _ramps(length: int, tile: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """Where the tiles of one axis start, and their weights: they rise and fall linearly where tiles overlap."""
    if length <= tile:
        return [(0, np.ones(length))]
    starts = [*range(0, length - tile, tile - overlap), length - tile]
    ramps = []
    for index, start in enumerate(starts):
        place = np.arange(tile) + 0.5
        ramp = np.ones(tile)
        if index > 0:
            ramp = np.minimum(ramp, place / max(1, starts[index - 1] + tile - start))
        if index + 1 < len(starts):
            ramp = np.minimum(ramp, (tile - place) / max(1, start + tile - starts[index + 1]))
        ramps.append(ramp)
    total = np.zeros(length)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + tile] += ramp
    return [(start, ramp / total[start : start + tile]) for start, ramp in zip(starts, ramps, strict=True)]
