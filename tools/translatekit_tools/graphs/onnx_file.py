"""The header of the ONNX files that we write: read without torch, without onnx, and without the weights."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from translatekit.model_info import ModelInfo
from translatekit_tools.graphs.protobuf import fields, varint
from translatekit_tools.graphs.reading import check_finite, header_of, mapped

if TYPE_CHECKING:
    import numpy as np

KEY = "translatekit"
INPUT, OUTPUT = "image", "translated"

# Field numbers and data types of onnx.proto.
_METADATA_PROPS, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2
_GRAPH, _INITIALIZER, _DATA_TYPE, _FLOAT_DATA, _RAW_DATA = 7, 5, 2, 4, 9
_FLOATS = {1: "<f4", 10: "<f2", 11: "<f8", 16: "<u2"}  # as numpy names them, which has no bfloat16

_KIND = "ONNX file"


def read_info(path: Path) -> ModelInfo:
    """What an ``.onnx`` file says of itself.

    Raises:
        ModelFileError: it is missing, damaged, or not one of ours.
    """
    with mapped(path, _KIND) as data:
        text = _find(data)
    return header_of(text, path)


def check_weights(path: Path) -> None:
    """See that the numbers in an ``.onnx`` file are finite, without the package onnx.

    Raises:
        ModelFileError: one is not, or the file is damaged.
    """
    with mapped(path, _KIND) as data:
        check_finite(path, _weights(data))


def write_info(path: Path, info: ModelInfo) -> None:
    """Put a header into an ``.onnx`` file, in place of the one that it has."""
    import onnx

    model = onnx.load(str(path))
    set_info(model, info)
    onnx.save(model, str(path))


def set_info(model: object, info: ModelInfo) -> None:
    """Put a header into an `onnx.ModelProto`."""
    entries = model.metadata_props  # type: ignore[attr-defined]
    for entry in [entry for entry in entries if entry.key == KEY]:
        entries.remove(entry)
    entries.add(key=KEY, value=info.to_json())


def _find(data: mmap.mmap) -> str | None:
    """The value of our entry of ``metadata_props``, skipping all other fields of the model."""
    found = None
    for number, start, end in fields(data, 0, len(data)):
        if number == _METADATA_PROPS:
            entry = {field: data[first:last].decode() for field, first, last in fields(data, start, end)}
            if entry.get(_ENTRY_KEY) == KEY:
                found = entry.get(_ENTRY_VALUE, "")
    return found


def _weights(data: mmap.mmap) -> Iterator[np.ndarray]:
    """Every initializer of floating-point numbers, copied one at a time."""
    import numpy as np

    for number, start, end in fields(data, 0, len(data)):
        if number != _GRAPH:
            continue
        for field, first, last in fields(data, start, end):
            if field == _INITIALIZER:
                kind, raw = 0, b""
                for part, low, high in fields(data, first, last):
                    if part == _DATA_TYPE:
                        kind = varint(data, low, high)[0]
                    elif part in (_RAW_DATA, _FLOAT_DATA):
                        raw = data[low:high]
                if kind in _FLOATS:
                    yield np.frombuffer(raw, _FLOATS[kind])
