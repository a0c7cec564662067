"""What is done where a device has too little memory for a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from translatekit.errors import DataError, TranslatekitError


def within_memory(compute: Callable[[np.ndarray], np.ndarray], batch: np.ndarray, device: str) -> np.ndarray:
    """Compute with a batch; where the memory was too small for it, once more.

    The second time nothing is kept of images of other sizes, and what another program held for a moment is free.

    Args:
        compute: such as a translator.
        batch: (N, H, W, C).
        device: that computes, for the sentence.

    Raises:
        DataError: the memory is too small.
    """
    for _ in range(2):
        try:
            return compute(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Here, since the error holds the frames it was raised in, and these what was computed so far.
        _free_cache()
    height, width = batch.shape[1:3]
    raise DataError(
        f"{len(batch)} of {width}x{height} pixels do not fit into the memory of {device}: "
        f"pass --tile below {max(height, width)}, --size, a smaller --batch-size, or --device cpu"
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of a runtime says that a device's memory is too small, in torch's words or ONNX Runtime's."""
    if isinstance(error, TranslatekitError):
        return False
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "alloc" in text and "memory" in text
    )


def _free_cache() -> None:
    torch = sys.modules.get("torch")  # no runtime is loaded for it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
