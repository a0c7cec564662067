"""OpenVINO models that are given the statistics which they otherwise take from the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino.opset13 as ops

from translatekit.inference.statistics import StatisticsGraph, refusal
from translatekit_tools.backends.openvino.core import CORE

_PIXELS = [2, 3]


class OpenVinoStatisticsGraph(StatisticsGraph):
    """An OpenVINO model whose layers normalize by statistics that are inputs."""

    def __init__(self, path: Path, settings: dict[str, str]) -> None:
        """Open a file.

        Args:
            path: the ``.xml`` file.
            settings: to compile with.

        Raises:
            OptionError: a layer that looks at the whole image is of no known kind.
        """
        self._settings = settings
        self._model = CORE.read_model(str(path))
        self._inputs: list[Any] = []  # of the layers
        self._parameters = list(self._model.get_parameters())
        averages = 0
        for node in self._model.get_ordered_ops():
            kind = node.get_type_name()
            if kind == "MVN":
                self._open_mvn(node)
            elif kind == "ReduceMean" and _axes(node) == _PIXELS:
                averages += 1
                if (mean := _mean_within(node)) is not None:
                    averages -= 2
                    of_mean, of_variance = self._add_layer(mean.input_value(0))
                    _replace(mean, of_mean)
                    _replace(node, of_variance)
        if averages:
            raise refusal()
        self._compiled: tuple[int, Any] = (-1, None)
        self.layers = len(self._inputs)

    def _input_of(self, layer: int, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        return self._run(layer, [ops.result(self._inputs[layer])], image, statistics)

    def _translate(self, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        return self._run(self.layers, self._model.get_results(), image, statistics)

    def _run(
        self, layer: int, results: list[Any], image: np.ndarray, statistics: list[np.ndarray]
    ) -> np.ndarray:
        if self._compiled[0] != layer:  # one at a time: each holds weights
            model = openvino.Model(results, self._parameters[: 1 + len(statistics)])
            request = CORE.compile_model(model, "CPU", self._settings).create_infer_request()
            self._compiled = (layer, request)
        return np.array(self._compiled[1].infer([image, *statistics])[0])

    def _open_mvn(self, node: Any) -> None:
        settings = node.get_attributes()
        if (
            _axes(node) != _PIXELS
            or not settings["normalize_variance"]
            or settings["eps_mode"] != "INSIDE_SQRT"
        ):
            raise refusal()
        x = node.input_value(0)
        mean, variance = self._add_layer(x)
        deviation = ops.sqrt(ops.add(variance, ops.constant(np.float32(settings["eps"]))))
        _replace(node, ops.divide(ops.subtract(x, mean), deviation))

    def _add_layer(self, x: Any) -> tuple[Any, Any]:
        """Inputs for the mean and variance of `x`."""
        shape = openvino.PartialShape([1, x.get_partial_shape()[1], 1, 1])
        pair = ops.parameter(shape, np.float32), ops.parameter(shape, np.float32)
        self._inputs.append(x)
        self._parameters += pair
        return pair


def _axes(node: Any) -> list[int]:
    """Over which an average goes, in their order, counted from the first: they may be given as (-1, -2)."""
    rank = node.get_input_partial_shape(0).rank.get_length()
    return sorted(axis % rank for axis in node.input_value(1).get_node().get_data().reshape(-1).tolist())


def _mean_within(node: Any) -> Any:
    """Where a node averages squares of differences from an average: that average."""
    for kind in (("Power", "Multiply"), ("Subtract",)):
        node = node.input_value(0).get_node()
        if node.get_type_name() not in kind:
            return None
    mean = node.input_value(1).get_node()
    return mean if mean.get_type_name() == "ReduceMean" else None


def _replace(node: Any, other: Any) -> None:
    for place in list(node.output(0).get_target_inputs()):
        place.replace_source_output(other.output(0))
