"""What the translators of compiled graphs share: statistics of a whole image for each of its parts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from translatekit.inference.statistics import Parts, StatisticsGraph
from translatekit.model_info import ModelInfo
from translatekit_tools.backends.batches import exact_dtypes, parts_to_graph


class GraphTranslator:
    """A compiled graph whose runtime a subclass calls in `_infer`.

    Attributes:
        info: the model file's header.
        dtypes: of the arrays that it takes without a loss.
    """

    def __init__(self, info: ModelInfo, open_graph: Callable[[], StatisticsGraph]) -> None:
        self.info = info
        self.dtypes = exact_dtypes(info)
        self._open_graph = open_graph
        self._graph: StatisticsGraph | None = None
        self._run: Callable[[np.ndarray], np.ndarray] = self._infer

    def _infer(self, batch: np.ndarray) -> np.ndarray:
        """The graph's output for its input, (N, H, W, C) of its own dtypes."""
        raise NotImplementedError

    @contextlib.contextmanager
    def fixed_statistics(self, parts: Parts) -> Iterator[None]:
        """Within, normalize each part of an image by the statistics of the whole.

        Args:
            parts: makes the parts of the image; see `translatekit.inference.statistics.StatisticsGraph.fixed`.

        Raises:
            OptionError: the package onnx is not installed where it is needed, or the network has a layer whose
                statistics cannot be fixed.
        """
        self._graph = self._graph or self._open_graph()
        if self._graph.layers:
            self._run = self._graph.fixed(parts_to_graph(parts, self.info))
        try:
            yield
        finally:
            self._run = self._infer
