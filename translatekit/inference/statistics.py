"""Fixed statistics of a whole image for compiled graphs, which normalize each part of it by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from translatekit.errors import OptionError

Parts = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Makes an image's parts anew: (1, h, w, C) each, and (h, w) weights that add up to 1 at each pixel of the image."""


class StatisticsGraph(ABC):
    """A graph whose layers normalize by statistics that are inputs of its own.

    Attributes:
        layers: how many there are.
    """

    layers: int

    @abstractmethod
    def _input_of(self, layer: int, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        """The input of a layer, (N, C, h, w).

        Args:
            layer: its number, in the order in which they are computed.
            image: (N, H, W, C), of the dtype that the graph takes.
            statistics: mean and variance, (1, C, 1, 1) both, of each layer before.
        """

    @abstractmethod
    def _translate(self, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        """Translate (N, H, W, C) with given statistics of all layers."""

    def fixed(self, parts: Parts) -> Callable[[np.ndarray], np.ndarray]:
        """The graph's translation with mean and variance of what comes to each layer, over all parts of an image.

        A layer's statistics depend on those of the layers before, so there is one pass over the parts for each layer,
        which ends at that layer.
        """
        statistics: list[np.ndarray] = []
        for layer in range(self.layers):
            sums = np.zeros(())
            for part, weights in parts():
                x = self._input_of(layer, part, statistics)[0]
                w = _pooled(weights, x.shape[1], x.shape[2])
                total = np.full(len(x), w.sum(dtype=np.float64))
                first = np.einsum("chw,hw->c", x, w, dtype=np.float64)
                second = np.einsum("chw,chw,hw->c", x, x, w, dtype=np.float64)
                sums = sums + np.stack([total, first, second])
            mean, square = sums[1:] / sums[0]
            for values in (mean, np.maximum(square - mean**2, 0)):
                statistics.append(values.astype(np.float32).reshape(1, -1, 1, 1))
        return partial(self._translate, statistics=statistics)


def refusal() -> OptionError:
    """The error for a graph that depends on the whole image in a way that is not known."""
    return OptionError(
        "--tile cannot fix the statistics of this compiled network over tiles: "
        "use the .safetensors model, or leave out --tile"
    )


def _pooled(weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width): the weights of a layer's pixels.

    Raises:
        OptionError: a pixel of the layer is no whole number of pixels of the image.
    """
    rows, columns = weights.shape
    if rows % height or columns % width:
        raise refusal()
    return weights.reshape(height, rows // height, width, columns // width).mean((1, 3))
