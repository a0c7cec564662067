"""The LiteRT backend: ``.tflite`` files that ``translatekit compile`` wrote, on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import ModelFileError, OptionError
from translatekit.model_info import ModelInfo
from translatekit.terminal import native_output_captured
from translatekit_tools.backends.batches import (
    check_array,
    check_graph,
    check_precision,
    exact_dtypes,
    failed,
    from_graph,
    graph_dtypes,
    to_graph,
)
from translatekit_tools.backends.litert.tflite_file import check_weights, read_info
from translatekit_tools.backends.shapes import check_fixed_size
from translatekit_tools.backends.threads import told_threads

with native_output_captured():
    from ai_edge_litert.interpreter import Interpreter


class LiteRTTranslator:
    """A `translatekit.interfaces.Translator` that runs a ``.tflite`` file.

    Its graphs take one image each, of one of the sizes that it was compiled for.

    Attributes:
        info: the model file's header.
        device: ``cpu``.
        preferred_batch: images a batch that are quickest here.
        dtypes: of the arrays that it takes without a loss.
    """

    device = "cpu"
    preferred_batch = 1

    def __init__(self, interpreter: Any, info: ModelInfo) -> None:
        """Take an interpreter whose signatures are called by their sizes."""
        self.info = info
        self.dtypes = exact_dtypes(info)
        self.sizes = tuple(interpreter.get_signature_list())
        self._interpreter = interpreter
        self._runners: dict[str, Any] = {}

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch, as `translatekit.interfaces.Translator` says.

        A graph of uint8 takes and gives 8 bits a channel, so that float32 levels come out in steps of 1/255.

        Raises:
            DataError: the batch is not of such a shape.
            ModelFileError: LiteRT cannot run the graph.
        """
        check_array(batch, self.info)
        check_fixed_size(batch.shape, self.info, self.sizes)
        count, height, width, _ = batch.shape
        size = f"{width}x{height}"
        try:
            if size not in self._runners:
                with native_output_captured():
                    self._runners[size] = self._interpreter.get_signature_runner(size)
            runner = self._runners[size]
            (name,) = runner.get_input_details()
            images = to_graph(batch, self.info)
            outputs = [next(iter(runner(**{name: image[None]}).values())) for image in images]
        except (RuntimeError, ValueError) as error:
            raise failed(error, self.info) from None
        if not count:
            return from_graph(
                np.empty((0, height, width, self.info.output.count), graph_dtypes(self.info)[1]),
                batch.dtype,
                self.info,
            )
        return from_graph(np.concatenate(outputs), batch.dtype, self.info)


def load(path: Path, device: str = "auto", precision: str | None = None) -> LiteRTTranslator:
    """Open a ``.tflite`` file: a `translatekit.interfaces.Backend`.

    Args:
        path: the file.
        device: ``auto`` or ``cpu``.
        precision: None, or the one that the file was compiled for.

    Raises:
        ModelFileError: the file is damaged, or not one of ours.
        OptionError: another device or precision is asked for.
    """
    info = read_info(path)
    check_precision(path, info, precision)
    if device not in ("auto", "cpu"):
        raise OptionError(f".tflite models run on the CPU here, not on {device!r}: pass --device cpu")
    check_weights(path)
    try:
        with native_output_captured():
            interpreter = Interpreter(str(path), num_threads=_threads())
            signatures = interpreter.get_signature_list()
            interpreter.allocate_tensors()
            graphs = {size: interpreter.get_signature_runner(size) for size in signatures}
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path} cannot be run ({reason}): compile the model again") from None
    for size, graph in graphs.items():
        taken, given = list(graph.get_input_details().values()), list(graph.get_output_details().values())
        kinds = [np.dtype(end["dtype"]).name for end in (*taken, *given)]
        shapes = [[int(side) for side in end["shape"]] for end in (*taken, *given)]
        if kinds != list(graph_dtypes(info)) or size != "x".join(map(str, shapes[0][2:0:-1])):
            raise ModelFileError(f"{path} is no graph from images to images: compile the model again")
        check_graph(path, info, *shapes)
    if not graphs:
        raise ModelFileError(f"{path} is no graph from images to images: compile the model again")
    return LiteRTTranslator(interpreter, info)


def _threads() -> int:
    """As many as there are cores, unless the environment says how many, as it does to processes that share them."""
    if (told := told_threads()) is not None:
        return told
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
