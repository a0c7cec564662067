"""What every backend checks of the arrays that it is given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from translatekit.errors import DataError, ModelFileError
from translatekit.model_info import ModelInfo


def check_batch(batch: np.ndarray, info: ModelInfo) -> None:
    """Refuse what a model does not take.

    Args:
        batch: should be (N, H, W, C), uint8 or float32, H and W multiples of ``info.size_multiple``.
        info: the model's header.

    Raises:
        DataError: it is not.
    """
    if batch.ndim != 4 or batch.shape[3] != info.input.count or batch.dtype not in (np.uint8, np.float32):
        raise DataError(
            f"the model takes uint8 or float32 arrays (N, H, W, {info.input.count}), "
            f"got {batch.dtype} {batch.shape}: convert the images"
        )
    height, width = batch.shape[1:3]
    if height % info.size_multiple or width % info.size_multiple:
        raise DataError(
            f"{info.generator} needs sides that are multiples of {info.size_multiple}, "
            f"got {width}x{height}: pass --fit pad or --size {info.size_multiple}"
        )
    shapes = info.compiled.get("shapes", "any")
    if shapes not in ("any", f"{width}x{height}") and isinstance(shapes, str):
        raise DataError(
            f"the compiled model takes images of {shapes} only, got {width}x{height}: pass --size {shapes}"
        )


def check_graph(path: object, info: ModelInfo, taken: Sequence[object], given: Sequence[object]) -> None:
    """Hold the header of a compiled file against its graph.

    Args:
        path: of the file.
        info: its header.
        taken, given: shapes of the graph's input and output, (N, H, W, C); a size that is no number is free.

    Raises:
        ModelFileError: they differ.
    """
    for what, shape, channels in (
        ("takes", taken, info.input.count),
        ("gives", given, info.output.count),
    ):
        if len(shape) != 4 or (isinstance(shape[3], int) and shape[3] != channels):
            raise ModelFileError(
                f"the header of {path} says that it {what} images of {channels} channels, but its graph {what} arrays "
                f"{tuple(shape)}: compile the model again"
            )


def failed(error: Exception, info: ModelInfo) -> ModelFileError:
    """What a runtime said when it could not run a compiled file, in a sentence."""
    reason = " ".join(str(error).split())[:200]
    return ModelFileError(
        f"the compiled {info.generator} could not be run ({reason}): compile the model again"
    )


def to_uint8(batch: np.ndarray) -> np.ndarray:
    """A batch as compiled graphs take it: 8 bits a channel."""
    if batch.dtype == np.uint8:
        return np.ascontiguousarray(batch)
    return np.rint(batch.clip(0, 1) * 255).astype(np.uint8)


def like(output: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """What a compiled graph gives, in the dtype of what it was given; float32 comes in steps of 1/255."""
    return output if batch.dtype == np.uint8 else output / np.float32(255)


def check_precision(path: object, info: ModelInfo, precision: str | None) -> str:
    """The precision that a compiled file was made for.

    Raises:
        OptionError: another one is asked for.
    """
    from translatekit.errors import OptionError

    own = str(info.compiled.get("precision", "fp32"))
    if precision not in (None, own):
        raise OptionError(
            f"{path} was compiled for {own}, not {precision}: leave out --precision, "
            f"or compile another with translatekit compile --precision {precision}"
        )
    return own
