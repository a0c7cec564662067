"""The OpenVINO backend: ``.xml`` files that ``translatekit compile`` wrote, and ``.onnx`` files in fp32."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import ModelFileError, OptionError, TranslatekitWarning
from translatekit.inference.statistics import StatisticsGraph
from translatekit.model_info import ModelInfo
from translatekit.storage import hash_file, writable_cache
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
from translatekit_tools.backends.openvino import ir_file
from translatekit_tools.backends.openvino.compiler import check_precision as check_cpu
from translatekit_tools.backends.openvino.core import CORE
from translatekit_tools.backends.openvino.speeds import HINTS, openvino_speeds
from translatekit_tools.backends.openvino.statistics import OpenVinoStatisticsGraph
from translatekit_tools.graphs import onnx_file

_OF_FP32 = ("bf16", "fp16")
"""What a file is compiled for and can still be run in fp32: its weights are rounded by the processor, or hardly."""

_KEPT = 16
"""Models in the cache; each is as large as its weights."""


class OpenVinoTranslator(GraphTranslator):
    """A `translatekit.interfaces.Translator` that runs an OpenVINO model on the CPU.

    Attributes:
        device: ``cpu``.
        preferred_batch: images a batch that are quickest here.
    """

    device = "cpu"

    def __init__(self, model: Any, info: ModelInfo, open_graph: Callable[[], StatisticsGraph]) -> None:
        super().__init__(info, open_graph)
        self.preferred_batch = 4
        self._request = model.create_infer_request()

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch, as `translatekit.interfaces.Translator` says.

        A graph of uint8 takes and gives 8 bits a channel, so that float32 levels come out in steps of 1/255.

        Raises:
            DataError: the batch is not of such a shape.
            ModelFileError: OpenVINO cannot run the graph.
        """
        check_batch(batch, self.info)
        try:
            output = self._run(to_graph(batch, self.info))
        except RuntimeError as error:
            raise failed(error, self.info) from None
        return from_graph(output, batch.dtype, self.info)

    def _infer(self, batch: np.ndarray) -> np.ndarray:
        return np.array(self._request.infer([batch], share_inputs=True)[0])


def load(path: Path, device: str = "auto", precision: str | None = None) -> OpenVinoTranslator:
    """Open an ``.xml`` file, or an ``.onnx`` in fp32: a `translatekit.interfaces.Backend`.

    What OpenVINO makes of the model for this CPU is kept in the user's cache folder, so that the next start is quick;
    the oldest makes room.

    Args:
        path: the file; an ``.xml``'s ``.bin`` lies beside it.
        device: ``auto`` or ``cpu``.
        precision: the one that the file was compiled for; or, of a file for bf16 or fp16, ``fp32``. None is the first,
            and the second where this CPU is slower in it or has it not.

    Raises:
        ModelFileError: the file is damaged, or not one of ours.
        OptionError: another device or precision is asked for, or the CPU lacks the precision.

    Warns:
        TranslatekitWarning: the CPU is slow in the file's precision, or does not compute in it.
    """
    is_onnx = path.suffix == ".onnx"
    file = onnx_file if is_onnx else ir_file
    info = file.read_info(path)
    own = str(info.compiled.get("precision", "fp32"))
    if is_onnx and own != "fp32":
        raise OptionError(
            f"{path} is in {own}, and OpenVINO would compute it otherwise than its graph says: run it by onnxruntime, "
            f"or compile the model to .xml with --precision {own}"
        )
    if precision != "fp32" or own not in _OF_FP32:
        check_precision(path, info, precision)
    if device not in ("auto", "cpu"):
        raise OptionError(f"OpenVINO models run on the CPU here, not on {device!r}: pass --device cpu")
    if not is_onnx and not path.with_suffix(".bin").is_file():
        raise ModelFileError(
            f"{path} has no {path.stem}.bin beside it: copy both, or compile the model again"
        )
    if own not in HINTS:
        raise ModelFileError(
            f"the header of {path} names the precision {own!r}, which OpenVINO has not: compile the model again"
        )
    file.check_weights(path)
    finished = "parity" in info.compiled  # else it is a file under a temporary name, not to be opened again
    chosen = _choose(path, own, precision) if finished else own
    settings = {"INFERENCE_PRECISION_HINT": HINTS[chosen], "PERFORMANCE_HINT": "LATENCY"}
    cache = writable_cache("openvino", _content(path)) if finished else None
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    try:
        model = CORE.compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise ModelFileError(f"{path} cannot be run ({reason}): compile the model again") from None
    if cache is not None:
        _make_room(cache.parent)
    settings.pop("CACHE_DIR", None)
    ends = [port.get_element_type().to_dtype().name for port in (*model.inputs, *model.outputs[:1])]
    if ends != list(graph_dtypes(info)):
        raise ModelFileError(f"{path} is no graph from images to images: compile the model again")
    taken, given = (
        [side.get_length() if side.is_static else str(side) for side in port.partial_shape]
        for port in (model.inputs[0], model.outputs[0])
    )
    check_graph(path, info, taken, given)
    return OpenVinoTranslator(model, info, partial(OpenVinoStatisticsGraph, path, settings))


def _choose(path: Path, own: str, asked: str | None) -> str:
    """What to compute in: the file's own precision, or fp32 where that is asked for or the CPU is not made for its own.

    Raises:
        OptionError: the file's own is asked for, and the CPU does not compute in it.
    """
    if asked == "fp32" or own == "fp32":
        return "fp32"
    if asked is not None:
        check_cpu(own)
    speeds = openvino_speeds()
    slow = speeds.slowness(own) if speeds.supports(own) else f"this processor does not compute in {own}"
    if slow is None:
        return own
    if asked is None and own in _OF_FP32:
        _warn(f"{slow}: {path} is run in fp32, which is nearer to the model it was made from")
        return "fp32"
    _warn(
        f"{slow}: "
        + ("--precision fp32 is quicker" if own in _OF_FP32 else "a model compiled for fp32 is quicker")
    )
    return own


def _warn(sentence: str) -> None:
    warnings.warn(sentence, TranslatekitWarning, stacklevel=4)


def _content(path: Path) -> str:
    """What a model is kept under: OpenVINO itself goes by the path and by when the ``.xml`` was changed."""
    files = (path,) if path.suffix == ".onnx" else (path, path.with_suffix(".bin"))
    return "-".join(hash_file(file)[:16] for file in files)


def _make_room(folder: Path) -> None:
    """Remove all but the newest of the cache."""
    with contextlib.suppress(OSError):  # another process makes room too
        blobs = sorted(folder.rglob("*.blob"), key=lambda blob: blob.stat().st_mtime, reverse=True)
        for blob in blobs[_KEPT:]:
            blob.unlink()
            if blob.parent != folder and not any(blob.parent.iterdir()):
                blob.parent.rmdir()
