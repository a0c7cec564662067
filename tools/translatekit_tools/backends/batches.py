"""What every backend checks of the arrays that it is given, and in which dtype they go into its graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from translatekit.errors import DataError, ModelFileError
from translatekit.image_spec import ImageSpec
from translatekit.inference.statistics import Parts
from translatekit.model_info import ModelInfo


def check_batch(batch: np.ndarray, info: ModelInfo) -> None:
    """Refuse what a model does not take.

    Args:
        batch: should be (N, H, W, C) of ``info.input``, finite, H and W multiples of ``info.size_multiple``.
        info: the model's header.

    Raises:
        DataError: it is not.
    """
    check_array(batch, info)
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


def check_array(batch: np.ndarray, info: ModelInfo) -> None:
    """Refuse what is no batch of a model's images, of whatever size.

    Args:
        batch: should be (N, H, W, C) of ``info.input``, finite.
        info: the model's header.

    Raises:
        DataError: it is not.
    """
    dtypes = array_dtypes(info.input)
    if batch.ndim != 4 or batch.shape[3] != info.input.count or batch.dtype.name not in dtypes:
        raise DataError(
            f"the model takes {' or '.join(dtypes)} arrays (N, H, W, {info.input.count}), which are {info.input}, "
            f"got {batch.dtype} {batch.shape}: convert the images"
        )
    if batch.dtype == np.float32 and not np.isfinite(batch).all():
        raise DataError(
            "the images hold NaN or infinite values, which no network can take: replace them, or mask them out"
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
    """The error for a compiled file that a runtime could not run, with what the runtime says."""
    reason = " ".join(str(error).split())[:200]
    return ModelFileError(
        f"the compiled {info.generator} could not be run ({reason}): compile the model again"
    )


def array_dtypes(spec: ImageSpec) -> tuple[str, ...]:
    """The dtypes in which arrays of such images may be: values in a unit are float32 alone."""
    return ("uint8", "float32") if spec.levels or spec.meaning == "labels" else ("float32",)


def exact_dtypes(info: ModelInfo) -> tuple[str, ...]:
    """The dtypes that a compiled model takes without a loss."""
    return ("uint8",) if graph_dtypes(info)[0] == "uint8" else array_dtypes(info.input)


def lossless_dtype(info: ModelInfo) -> str:
    """The dtype of a graph's input that costs a model nothing: uint8 where both ends are of 8 bits, else float32."""
    return "uint8" if info.input.eight_bits and info.output.eight_bits else "float32"


def graph_dtypes(info: ModelInfo) -> tuple[str, str]:
    """The dtypes that a compiled model's graph takes and gives."""
    dtype = str(info.compiled.get("dtype", "uint8"))
    if info.output.levels:
        return dtype, dtype
    return dtype, "uint8" if info.output.meaning == "labels" else "float32"


def to_graph(batch: np.ndarray, info: ModelInfo) -> np.ndarray:
    """A batch in the dtype that the graph of a compiled model takes; float32 levels are rounded to those of uint8."""
    wanted = np.dtype(graph_dtypes(info)[0])
    if batch.dtype == wanted:
        return np.ascontiguousarray(batch)
    if not info.input.levels:
        return batch.astype(wanted)
    return _to_levels(batch, wanted)


def from_graph(output: np.ndarray, dtype: np.dtype, info: ModelInfo) -> np.ndarray:
    """What a compiled model's graph gives, where that has levels in the dtype of what was given."""
    return _to_levels(output, dtype) if info.output.levels and output.dtype != dtype else output


def parts_to_graph(parts: Parts, info: ModelInfo) -> Parts:
    """The parts of an image in the dtype that the graph of a compiled model takes."""

    def converted() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        made: Iterable[tuple[np.ndarray, np.ndarray]] = parts()
        for part, weights in made:
            yield to_graph(part, info), weights

    return converted


def _to_levels(levels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype == np.uint8:
        return np.rint(levels.clip(0, 1) * 255).astype(np.uint8)
    return levels / np.float32(255)


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
