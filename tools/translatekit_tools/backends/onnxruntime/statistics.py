"""ONNX graphs that are given the statistics which they otherwise take from the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import OptionError
from translatekit.inference.statistics import StatisticsGraph, refusal
from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT


class OnnxStatisticsGraph(StatisticsGraph):
    """An ONNX graph whose layers normalize by statistics that are inputs."""

    def __init__(self, path: Path, open_session: Callable[[bytes], Any]) -> None:
        """Open a file.

        Args:
            path: an ``.onnx`` file that ``translatekit compile`` wrote.
            open_session: from such a file's bytes to an `onnxruntime.InferenceSession`.

        Raises:
            OptionError: the package onnx is not installed, or a layer that looks at the whole image is of no known
                kind.
        """
        try:
            import onnx
        except ImportError:
            raise OptionError(
                "--tile with an .onnx model that normalizes by the image needs the package onnx: "
                "run pip install 'translatekit[compile]'"
            ) from None
        from translatekit_tools.graphs.opset import constants_of, decompose_normalization

        self._open_session = open_session
        self._model = onnx.load(str(path))
        graph = self._model.graph
        decompose_normalization(graph, constants_of(graph))
        self._nodes = list(graph.node)
        made = {output: node for node in self._nodes for output in node.output}
        averages = [node for node in self._nodes if node.op_type in ("ReduceMean", "GlobalAveragePool")]
        self._inputs: list[str] = []  # of the layers
        self._names = [INPUT]  # of the image, and of each layer's mean and variance
        for node in averages:
            mean = _mean_within(node, made)
            if mean is not None:
                self._inputs.append(mean.input[0])
                self._names += [mean.output[0], node.output[0]]
        if len(self._names) != 1 + len(averages) or any(
            node.op_type == "InstanceNormalization" for node in self._nodes
        ):
            raise refusal()
        self._image = graph.input[0]
        self._opened: tuple[str, Any] = ("", None)
        self.layers = len(self._inputs)

    def _input_of(self, layer: int, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        return self._run(self._inputs[layer], image, statistics)

    def _translate(self, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        return self._run(OUTPUT, image, statistics)

    def _run(self, output: str, image: np.ndarray, statistics: list[np.ndarray]) -> np.ndarray:
        names = self._names[: 1 + len(statistics)]
        if self._opened[0] != output:  # one at a time: each holds weights
            self._opened = (output, self._open_session(self._part(names, output)))
        given = dict(zip(names, [image, *statistics], strict=True))
        result: np.ndarray = self._opened[1].run([output], given)[0]
        return result

    def _part(self, inputs: list[str], output: str) -> bytes:
        """The part of the graph between these."""
        from onnx import TensorProto, helper

        graph = self._model.graph
        needed, nodes = {output}, []
        for node in reversed(self._nodes):
            if needed.intersection(node.output).difference(inputs):
                nodes.append(node)
                needed.update(node.input)
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(reversed(nodes))
        graph.input.append(self._image)
        for name in inputs[1:]:
            graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, 1, 1]))
        graph.output.append(helper.make_empty_tensor_value_info(output))
        return bytes(self._model.SerializeToString())


def _mean_within(node: Any, made: dict[str, Any]) -> Any:
    """Where a node averages squares of differences from an average: that average."""
    for kind in (("Pow", "Mul"), ("Sub",)):
        node = made.get(node.input[0])
        if node is None or node.op_type not in kind:
            return None
    mean = made.get(node.input[1])
    return mean if mean is not None and mean.op_type == "ReduceMean" else None
