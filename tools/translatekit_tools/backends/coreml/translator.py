"""The Core ML backend: ``.mlpackage`` folders that ``translatekit compile`` wrote, on macOS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import ModelFileError, OptionError
from translatekit.model_info import ModelInfo
from translatekit_tools.backends.batches import (
    check_array,
    check_precision,
    exact_dtypes,
    failed,
    from_graph,
    graph_dtypes,
    to_graph,
)
from translatekit_tools.backends.coreml.ends import INPUT, OUTPUT, is_image
from translatekit_tools.backends.coreml.package import read_info
from translatekit_tools.backends.shapes import check_fixed_size

_UNITS = {"auto": "ALL", "cpu": "CPU_ONLY", "mps": "CPU_AND_GPU"}


class CoreMLTranslator:
    """A `translatekit.interfaces.Translator` that computes one image at a time.

    Attributes:
        info: the model file's header.
        device: where it runs.
        preferred_batch: images a batch that are quickest here.
        dtypes: of the arrays that it takes without a loss.
    """

    preferred_batch = 1

    def __init__(self, compute: Callable[[np.ndarray], np.ndarray], info: ModelInfo, device: str) -> None:
        """Take what computes.

        Args:
            compute: from an image (H, W, C) to one, both as the graph takes and gives them, (H, W, C).
            info: the header.
            device: where it computes.
        """
        self.info, self.device = info, device
        self.dtypes = exact_dtypes(info)
        self._compute = compute

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch, as `translatekit.interfaces.Translator` says.

        Raises:
            DataError: the batch is not of such a shape.
            ModelFileError: it cannot be computed.
        """
        check_array(batch, self.info)
        check_fixed_size(batch.shape, self.info, (str(self.info.compiled["shapes"]),), several=False)
        given = graph_dtypes(self.info)[1]
        outputs = np.empty((*batch.shape[:3], self.info.output.count), given)
        try:
            for number, image in enumerate(to_graph(batch, self.info)):
                outputs[number] = self._compute(image)
        except RuntimeError as error:
            raise failed(error, self.info) from None
        return from_graph(outputs, batch.dtype, self.info)


def load(path: Path, device: str = "auto", precision: str | None = None) -> CoreMLTranslator:
    """Open an ``.mlpackage``: a `translatekit.interfaces.Backend`.

    Args:
        path: the package, a folder.
        device: ``auto`` (what Core ML chooses), ``cpu`` or ``mps`` (the GPU).
        precision: None, or the one that it was compiled for.

    Raises:
        ModelFileError: it is damaged, or not one of ours.
        OptionError: this is no macOS; or another device or precision is asked for.
    """
    info = read_info(path)
    check_precision(path, info, precision)
    find_core_ml()
    if device not in _UNITS:
        raise OptionError(f"Core ML runs on cpu or mps, not on {device!r}: choose one of them")
    import coremltools as ct

    try:
        model = ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[_UNITS[device]])
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path} cannot be run ({reason}): compile the model again") from None
    return CoreMLTranslator(lambda image: _predict(model, image, info), info, device)


def find_core_ml() -> None:
    """Raise where there is no Core ML.

    Raises:
        OptionError: this is no macOS.
    """
    if sys.platform != "darwin":
        raise OptionError(
            "an .mlpackage is run by Core ML, which is on macOS and iOS only: compile the model to .onnx, .xml or "
            ".tflite here"
        )


def _predict(model: Any, image: np.ndarray, info: ModelInfo) -> np.ndarray:
    """Translate an image (H, W, C) by Core ML."""
    from PIL import Image

    dtype = str(info.compiled.get("dtype", "uint8"))
    given: Any = image[None].astype(np.float32)
    if is_image(info.input, dtype):
        given = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
    output = model.predict({INPUT: given})[OUTPUT]
    if not is_image(info.output, dtype):
        return np.asarray(output)[0]
    pixels = np.asarray(output.convert("RGB" if info.output.count == 3 else "L"))
    return pixels if pixels.ndim == 3 else pixels[..., None]
