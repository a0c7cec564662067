"""The ONNX Runtime backend: ``.onnx`` files that ``translatekit compile`` wrote."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

# Read once, on import: from 1.29 on, ONNX Runtime otherwise keeps an identifier of the device and reports on its use.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from translatekit.terminal import native_output_captured

with native_output_captured():  # it looks for devices on import, and says where it found none
    import onnxruntime

from translatekit.errors import DataError, ModelFileError, OptionError, TranslatekitError
from translatekit.inference.statistics import StatisticsGraph
from translatekit.model_info import ModelInfo
from translatekit_tools.backends.batches import (
    check_batch,
    check_graph,
    check_precision,
    failed,
    from_graph,
    graph_dtypes,
    to_graph,
)
from translatekit_tools.backends.graph_translator import GraphTranslator
from translatekit_tools.backends.onnxruntime.statistics import OnnxStatisticsGraph
from translatekit_tools.backends.threads import told_threads
from translatekit_tools.graphs.onnx_file import INPUT, check_weights, read_info

Session: TypeAlias = onnxruntime.InferenceSession
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_KINDS = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}
_ONLY_ERRORS = 3
onnxruntime.set_default_logger_severity(_ONLY_ERRORS)  # of what belongs to no session


class OnnxTranslator(GraphTranslator):
    """A `translatekit.interfaces.Translator` that runs an ONNX graph.

    Attributes:
        device: ``cpu``, or such as ``cuda:0``.
        preferred_batch: images a batch that are quickest here.
    """

    def __init__(
        self, session: Session, info: ModelInfo, device: str, open_graph: Callable[[], StatisticsGraph]
    ) -> None:
        super().__init__(info, open_graph)
        self.device = device
        self.preferred_batch = 4 if device == "cpu" else 16
        self._session = session

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch, as `translatekit.interfaces.Translator` says.

        A graph of uint8 takes and gives 8 bits a channel, so that float32 levels come out in steps of 1/255.

        Raises:
            DataError: the batch is not of such a shape, or too large for the memory.
            ModelFileError: ONNX Runtime cannot run the graph.
        """
        check_batch(batch, self.info)
        try:
            output = self._run(to_graph(batch, self.info))
        except TranslatekitError:
            raise
        except Exception as error:  # ONNX Runtime's own errors share no base but this
            if "memory" not in str(error).lower() and "alloc" not in str(error).lower():
                raise failed(error, self.info) from None
            height, width = batch.shape[1:3]
            raise DataError(
                f"{len(batch)} of {width}x{height} pixels do not fit into the memory of {self.device}: "
                "pass --size, --tile or a smaller --batch-size"
            ) from None
        return from_graph(output, batch.dtype, self.info)

    def _infer(self, batch: np.ndarray) -> np.ndarray:
        output: np.ndarray = self._session.run(None, {INPUT: batch})[0]
        return output


def load(path: Path, device: str = "auto", precision: str | None = None) -> OnnxTranslator:
    """Open an ``.onnx`` file: a `translatekit.interfaces.Backend`.

    Args:
        path: the file.
        device: ``auto`` (CUDA where the installed ONNX Runtime has it), ``cpu``, ``cuda`` or ``cuda:1``.
        precision: None, or the one that the file was compiled for.

    Raises:
        ModelFileError: the file is damaged, or not one of ours.
        OptionError: there is no such device, or the file has another precision.
    """
    info = read_info(path)
    check_precision(path, info, precision)
    check_weights(path)
    available = onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if _CUDA in available else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise OptionError(f"ONNX Runtime runs on cpu or cuda, not on {device!r}: choose one of them")
    if kind == "cuda" and _CUDA not in available:
        raise OptionError(
            "the installed ONNX Runtime has no CUDA: run pip install onnxruntime-gpu in place of onnxruntime, "
            "or pass --device cpu"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_ERRORS
    options.intra_op_num_threads = told_threads() or 0  # 0 stands for all cores
    providers: list[object] = [_CPU]
    if kind == "cuda":  # TF32 is on by default; fp32 is to mean float32
        providers = [(_CUDA, {"device_id": int(number or 0), "use_tf32": 0}), _CPU]

    def open_session(model: str | bytes) -> Session:
        try:
            session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # likewise
            reason = " ".join(str(error).split())[:200]
            raise ModelFileError(f"{path} cannot be run ({reason}): compile the model again") from None
        # It would go on on the CPU without a word.
        if kind == "cuda" and _CUDA not in session.get_providers():
            raise OptionError(f"ONNX Runtime could not use {device}: check the driver, or pass --device cpu")
        return session

    device = "cpu" if kind == "cpu" else f"cuda:{number or 0}"
    session = open_session(str(path))
    inputs, outputs = session.get_inputs(), session.get_outputs()
    kinds = [_KINDS[dtype] for dtype in graph_dtypes(info)]
    ends = [(item.name, item.type) for item in inputs], [item.type for item in outputs[:1]]
    if ends != ([(INPUT, kinds[0])], kinds[1:]):
        raise ModelFileError(f"{path} is no graph from images to images: compile the model again")
    check_graph(path, info, inputs[0].shape, outputs[0].shape)
    return OnnxTranslator(session, info, device, partial(OnnxStatisticsGraph, path, open_session))
