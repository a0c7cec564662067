"""What all readers of compiled files share: a file read in place, our header in it, weights that are numbers."""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from translatekit.errors import ModelFileError
from translatekit.model_info import ModelInfo

if TYPE_CHECKING:
    import numpy as np

_BFLOAT16_EXPONENT = 0x7F80


@contextlib.contextmanager
def mapped(path: Path, kind: str, shown: Path | None = None) -> Iterator[mmap.mmap]:
    """The bytes of a file, of which only those that are looked at are read.

    Args:
        path: the file.
        kind: what it should be, such as ``ONNX file``.
        shown: what people call it, where that is not `path`.

    Raises:
        ModelFileError: it cannot be read; or what reads it raised a ValueError or a struct.error, since it is damaged.
    """
    shown = shown or path
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except OSError as error:
        raise ModelFileError(f"{shown} cannot be read ({error.strerror}): check the path") from None
    except (ValueError, struct.error):
        raise damaged(shown, kind) from None


def damaged(path: Path, kind: str) -> ModelFileError:
    """The sentence for a file that is not what it should be."""
    return ModelFileError(f"{path} is no {kind}, or damaged: compile the model again")


def header_of(text: str | None, path: Path) -> ModelInfo:
    """The header that was found in a file.

    Raises:
        ModelFileError: none was found, or it is damaged.
    """
    if text is None:
        raise ModelFileError(
            f"{path} has no translatekit header: give a file that translatekit compile wrote from a model file"
        )
    return ModelInfo.from_json(text, path)


def check_finite(path: Path, weights: Iterable[np.ndarray]) -> None:
    """See that weights are finite numbers.

    Args:
        path: the file that they are from.
        weights: of any floating-point type; bfloat16 as the uint16 of its bits.

    Raises:
        ModelFileError: one is not.
    """
    if not all(map(_is_finite, weights)):
        raise ModelFileError(
            f"{path} cannot be used, since its weights are not all finite: train again, and compile that model"
        )


def _is_finite(numbers: np.ndarray) -> bool:
    import numpy as np

    if numbers.dtype == np.uint16:
        return not bool(((numbers & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT).any())
    return bool(np.isfinite(numbers).all())
