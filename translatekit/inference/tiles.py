"""Large images in parts: tiles that overlap, and blend where they do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from translatekit.errors import OptionError, TranslatekitWarning
from translatekit.image_spec import ImageSpec
from translatekit.inference.memory import within_memory
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

        Warns:
            TranslatekitWarning: no overlap was given, and the network allows for none.

        Raises:
            OptionError: a number is no multiple of what the network needs, or the backend cannot fix the statistics
                of an image.
        """
        self.info: ModelInfo = translator.info
        self.device = str(getattr(translator, "device", "cpu"))
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
            if overlap == 0 and tile > 1:
                warnings.warn(
                    f"tiles of {tile} pixels cannot overlap, since {self.info.generator} needs multiples of "
                    f"{multiple}, and may show where they meet: pass --tile {2 * multiple}, or --overlap 0 if that is "
                    "how you want them",
                    TranslatekitWarning,
                    stacklevel=4,
                )
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

    def close(self) -> None:
        """Free what the translator within holds."""
        getattr(self.within, "close", lambda: None)()

    def rows(self, height: int) -> int:
        """How many rows of tiles an image of that height has."""
        return len(_ramps(height, self.tile, self._overlap))

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate (N, H, W, C), an image at a time, in tiles where it is larger than one."""
        if max(batch.shape[1:3]) <= self.tile:
            return self.within(batch)
        outputs = [self._translate(image) for image in batch]
        return outputs[0][None] if len(outputs) == 1 else np.stack(outputs)

    def _translate(self, image: np.ndarray) -> np.ndarray:
        output: np.ndarray | None = None
        for window, rows in self.stream(image.shape[:2], lambda tile: image[tile.place]):
            if output is None:
                output = np.empty((*image.shape[:2], rows.shape[2]), rows.dtype)
            output[window.top - len(rows) : window.top] = rows
        assert output is not None
        return output

    def stream(
        self,
        size: tuple[int, int],
        region: Callable[[Tile], np.ndarray],
        window: Window | None = None,
    ) -> Iterator[tuple[Window, np.ndarray]]:
        """Translate an image of which no more than a few tiles are in memory, from the top.

        Args:
            size: of the image, height and width in pixels; multiples of what the network needs.
            region: gives a tile's pixels (h, w, C). Tiles come row by row, once for each layer whose statistics are
                fixed, and then once to be translated.
            window: where an earlier iteration ended, with the same arguments; what lies above is not translated again.

        Yields:
            What comes next, to be kept where the iteration is to go on from here; and the rows (h, W, C') above
            that, which are finished.
        """
        height, width = size

        def tiles() -> Iterator[Tile]:
            return split(height, width, self.tile, self._overlap)

        def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for tile in tiles():
                yield region(tile)[None], tile.weights

        if window is not None and window.top >= height:
            return
        with self._fix(parts) if self._fix is not None else nullcontext():
            for tile, following in pairwise(chain(tiles(), (None,))):
                assert tile is not None
                if window is not None and tile.top < window.top:
                    continue
                part = region(tile)
                output = within_memory(self.within, part[None], self.device)[0]
                if window is None:
                    window = Window.begin(min(self.tile, height), width, self.info.output, part.dtype)
                window.add(tile, output)
                if following is None or following.top > tile.top:
                    rows = window.finish(height if following is None else following.top)
                    yield window, rows


@dataclass(slots=True)
class Window:
    """The rows of an output that further tiles add to.

    Attributes:
        top: the first of them.
        values: (h, W, C'), float32: the sums so far of weighted outputs; or (h, W, 1), uint8, class numbers.
        weights: (h, W), float32: the weight of the tile that each class number is from. None for other values, which
            are blended.
        dtype: of what is finished.
    """

    top: int
    values: np.ndarray
    weights: np.ndarray | None
    dtype: np.dtype

    @classmethod
    def begin(cls, height: int, width: int, spec: ImageSpec, dtype: np.dtype) -> Window:
        """The window at the top of an output, as high as a tile, for inputs of a dtype."""
        labels = spec.meaning == "labels"
        dtype = np.dtype(np.uint8) if labels else dtype if spec.levels else np.dtype(np.float32)
        values = np.zeros((height, width, spec.count), np.uint8 if labels else np.float32)
        return cls(0, values, np.zeros((height, width), np.float32) if labels else None, dtype)

    def add(self, tile: Tile, output: np.ndarray) -> None:
        """Take a tile's output (h, w, C')."""
        rows, columns = tile.place
        values = self.values[rows.start - self.top : rows.stop - self.top, columns]
        if self.weights is None:
            values += output * tile.weights[:, :, None]
            return
        weights = self.weights[rows.start - self.top : rows.stop - self.top, columns]
        heavier = tile.weights > weights
        values[heavier], weights[heavier] = output[heavier], tile.weights[heavier]

    def finish(self, top: int) -> np.ndarray:
        """Return the rows above `top`, and move the window down to it."""
        done = min(top - self.top, len(self.values))
        finished = self.values[:done]
        self.values = _shifted_up(self.values, done)
        if self.weights is not None:
            self.weights = _shifted_up(self.weights, done)
        self.top = top
        if self.dtype == np.uint8 and self.weights is None:
            return np.rint(finished).clip(0, 255).astype(np.uint8)
        return finished

    def state(self) -> dict[str, np.ndarray]:
        """The window as arrays, for `from_state`; rows that no tile has added to are left out."""
        used = len(self.values)
        while used and not self.values[used - 1].any():
            used -= 1
        state = {
            "top": np.array(self.top),
            "height": np.array(len(self.values)),
            "values": self.values[:used],
            "dtype": np.array(self.dtype.name),
        }
        return state if self.weights is None else state | {"weights": self.weights}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Window:
        """The window that `state` was called on."""
        used = state["values"]
        values = np.zeros((int(state["height"]), *used.shape[1:]), used.dtype)
        values[: len(used)] = used
        return cls(int(state["top"]), values, state.get("weights"), np.dtype(str(state["dtype"])))


def _shifted_up(rows: np.ndarray, up: int) -> np.ndarray:
    return np.concatenate([rows[up:], np.zeros_like(rows[:up])])


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
    """Where the tiles of one axis start, and their weights.

    Where tiles overlap, a quarter on each side counts nothing, since it knows least of what lies beyond its tile. In
    the middle half the weights rise and fall linearly.
    """
    if length <= tile:
        return [(0, np.ones(length))]
    starts = [*range(0, length - tile, tile - overlap), length - tile]
    ramps = []
    for index, start in enumerate(starts):
        place = np.arange(tile) + 0.5
        ramp = np.ones(tile)
        if index > 0:
            ramp = np.minimum(ramp, _rise(place, starts[index - 1] + tile - start))
        if index + 1 < len(starts):
            ramp = np.minimum(ramp, _rise(tile - place, start + tile - starts[index + 1]))
        ramps.append(ramp)
    total = np.zeros(length)
    for start, ramp in zip(starts, ramps, strict=True):
        total[start : start + tile] += ramp
    return [(start, ramp / total[start : start + tile]) for start, ramp in zip(starts, ramps, strict=True)]


def _rise(place: np.ndarray, overlap: int) -> np.ndarray:
    return np.ones(len(place)) if overlap == 0 else np.clip((place / overlap - 0.25) * 2, 0.0, 1.0)
