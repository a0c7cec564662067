"""Our header in a ``.tflite`` file, read without LiteRT and without the weights.

The file is a FlatBuffer (https://flatbuffers.dev/internals) of TensorFlow Lite's ``schema.fbs``. The header is an entry
of its metadata: a name, and a buffer like those of the weights. Tools that do not know it leave it alone.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.model_info import ModelInfo
from translatekit.storage import write_atomically
from translatekit_tools.graphs.reading import check_finite, header_of, mapped

if TYPE_CHECKING:
    import numpy as np

KEY = "translatekit"
_IDENTIFIER, _KIND = b"TFL3", "TensorFlow Lite model"

# Places of fields in the tables of schema.fbs, and types of tensors.
_SUBGRAPHS, _BUFFERS, _METADATA = 2, 4, 6  # of a model
_TENSORS = 0  # of a subgraph
_TYPE, _BUFFER = 1, 2  # of a tensor
_NAME, _OF_METADATA = 0, 1  # of an entry of metadata
_DATA, _OFFSET, _SIZE = 0, 1, 2  # of a buffer
_FLOATS = {0: "<f4", 1: "<f2", 10: "<f8"}  # as numpy names them


def read_info(path: Path) -> ModelInfo:
    """What a ``.tflite`` file says of itself.

    Raises:
        ModelFileError: it is missing, damaged, or not one of ours.
    """
    text = None
    with mapped(path, _KIND) as data:
        model = _model(data)
        for entry in model.tables(_METADATA):
            if entry.text(_NAME) == KEY:
                text = _bytes_of(model, entry.number(_OF_METADATA)).decode()
    return header_of(text, path)


def check_weights(path: Path) -> None:
    """See that the numbers in a ``.tflite`` file are finite.

    Raises:
        ModelFileError: one is not, or the file is damaged.
    """
    with mapped(path, _KIND) as data:
        check_finite(path, _weights(data))


def write_info(path: Path, info: ModelInfo) -> None:
    """Put a header into a ``.tflite`` file, in place of the one that it has."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = unpack(path.read_bytes())
    entries = model.metadata or []
    found = [entry for entry in entries if entry.name in (KEY, KEY.encode())]
    if not found:
        entry = schema.MetadataT()
        entry.name, entry.buffer = KEY, len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata, found = [*entries, entry], [entry]
    model.buffers[found[0].buffer].data = np.frombuffer(info.to_json().encode(), np.uint8)
    write_atomically(path, pack(model))


def unpack(content: bytes) -> Any:
    """A file's model as objects, which `pack` writes: a ``ModelT`` of ``schema.fbs``."""
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.size:  # lies behind the tables, and would not be at the same place of what is written
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def pack(model: Any) -> bytes:
    """The file of what `unpack` gives."""
    import flatbuffers

    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _weights(data: mmap.mmap) -> Iterator[np.ndarray]:
    """Every constant tensor of floating-point numbers, copied one at a time."""
    import numpy as np

    model, seen = _model(data), set()
    for graph in model.tables(_SUBGRAPHS):
        for tensor in graph.tables(_TENSORS):
            kind, number = _FLOATS.get(tensor.number(_TYPE, "<b")), tensor.number(_BUFFER)
            if kind is not None and number not in seen:  # signatures share buffers
                seen.add(number)
                yield np.frombuffer(_bytes_of(model, number), kind)


def _bytes_of(model: _Table, number: int) -> bytes:
    """A buffer, which may lie behind the tables."""
    buffer = model.table(_BUFFERS, number)
    size = buffer.number(_SIZE, "<Q")
    return buffer.slice(buffer.number(_OFFSET, "<Q"), size) if size else buffer.content(_DATA)


def _model(data: mmap.mmap) -> _Table:
    if data[4:8] != _IDENTIFIER:
        raise ValueError("another identifier")
    return _Table(data, _at(data, 0, "<I"))


def _at(data: mmap.mmap, place: int, kind: str) -> int:
    """A number at a place.

    Raises:
        ValueError: the place is not in the file.
        struct.error: likewise.
    """
    if place < 0:  # would be counted from the end
        raise ValueError("a place before the beginning")
    number: int = struct.unpack_from(kind, data, place)[0]
    return number


class _Table:
    """A table of a FlatBuffer; what does not lie in the file is a ValueError or a struct.error."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self._data, self._place = data, place
        self._fields = place - _at(data, place, "<i")  # of the vtable
        self._size = _at(data, self._fields, "<H")

    def number(self, field: int, kind: str = "<I") -> int:
        """A field's number, 0 where it is not there."""
        place = self._field(field)
        return 0 if place is None else _at(self._data, place, kind)

    def content(self, field: int) -> bytes:
        """A field's vector of bytes, empty where it is not there."""
        found = self._vector(field)
        if found is None:
            return b""
        return self.slice(*found)

    def slice(self, start: int, length: int) -> bytes:
        """Bytes of the file that the table is in."""
        if start + length > len(self._data):
            raise ValueError("a vector is longer than the file")
        return self._data[start : start + length]

    def text(self, field: int) -> str:
        """A field's text."""
        return self.content(field).decode()

    def tables(self, field: int) -> Iterator[_Table]:
        """A field's vector of tables."""
        start, length = self._vector(field) or (0, 0)
        for number in range(length):
            yield self._element(start + 4 * number)

    def table(self, field: int, number: int) -> _Table:
        """One of a field's vector of tables."""
        start, length = self._vector(field) or (0, 0)
        if not 0 <= number < length:
            raise ValueError("no such element")
        return self._element(start + 4 * number)

    def _element(self, place: int) -> _Table:
        return _Table(self._data, place + _at(self._data, place, "<I"))

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        offset = _at(self._data, self._fields + entry, "<H") if entry < self._size else 0
        return self._place + offset if offset else None

    def _vector(self, field: int) -> tuple[int, int] | None:
        """Where a vector's elements begin, and how many there are."""
        place = self._field(field)
        if place is None:
            return None
        start = place + _at(self._data, place, "<I")
        return start + 4, _at(self._data, start, "<I")
