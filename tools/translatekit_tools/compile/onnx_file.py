"""The header of the ONNX files that we write: read without torch, without onnx, and without the weights."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from translatekit.errors import ModelFileError
from translatekit.model_file import ModelInfo

KEY = "translatekit"
INPUT, OUTPUT = "image", "translated"

# Field numbers and wire types of ModelProto (onnx.proto) and of Protocol Buffers' encoding.
_METADATA_PROPS, _ENTRY_KEY, _ENTRY_VALUE = 14, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_info(path: Path) -> ModelInfo:
    """What an ``.onnx`` file says of itself.

    Raises:
        ModelFileError: it is missing, damaged, or not one of ours.
    """
    try:
        with path.open("rb") as file:
            text = _find(file, path.stat().st_size)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): check the path") from None
    except (ValueError, UnicodeDecodeError):
        raise ModelFileError(f"{path} is no ONNX file, or damaged: compile the model again") from None
    if text is None:
        raise ModelFileError(
            f"{path} has no translatekit header: give a file that translatekit compile wrote from a model file"
        )
    return ModelInfo.from_json(text, path)


def check_weights(path: Path) -> None:
    """See that the numbers in an ``.onnx`` file are finite.

    Raises:
        ModelFileError: one is not.
    """
    import numpy as np
    import onnx

    for tensor in onnx.load(str(path)).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ModelFileError(
                f"{path} cannot be compiled, since its weights are not all finite: compile a model file in its place"
            )


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


def _find(file: BinaryIO, end: int) -> str | None:
    """The value of our entry of ``metadata_props``, skipping all other fields of the model."""
    found = None
    while file.tell() < end:
        tag = _varint(file)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length = _varint(file)
            if length > end - file.tell():
                raise ValueError("a field is longer than the file")
            if number == _METADATA_PROPS:
                key, value = _entry(file.read(length))
                found = value if key == KEY else found
            else:
                file.seek(length, 1)
        elif wire == _VARINT:
            _varint(file)
        elif wire in (_FIXED64, _FIXED32):
            file.seek(8 if wire == _FIXED64 else 4, 1)
        else:
            raise ValueError(f"wire type {wire}")
    return found


def _entry(data: bytes) -> tuple[str, str]:
    import io

    file = io.BytesIO(data)
    fields = {_ENTRY_KEY: "", _ENTRY_VALUE: ""}
    while file.tell() < len(data):
        tag = _varint(file)
        if tag & 7 != _BYTES:
            raise ValueError("an entry holds texts only")
        fields[tag >> 3] = file.read(_varint(file)).decode()
    return fields[_ENTRY_KEY], fields[_ENTRY_VALUE]


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte or shift > 63:
            raise ValueError("a number is cut off")
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            return value
