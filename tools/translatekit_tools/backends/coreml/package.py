"""Our header in an ``.mlpackage``, read without coremltools.

The package is a folder. Its manifest names the model, a Protocol Buffers message of coremltools' ``Model.proto``, whose
metadata have room for entries of one's own.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from translatekit.errors import ModelFileError
from translatekit.model_info import ModelInfo, parse_object
from translatekit.storage import write_atomically
from translatekit_tools.graphs.protobuf import fields
from translatekit_tools.graphs.reading import damaged, header_of, mapped

KEY = "translatekit"
_KIND = "Core ML package"

# Field numbers of Model.proto.
_DESCRIPTION, _METADATA, _USER_DEFINED, _ENTRY_KEY, _ENTRY_VALUE = 2, 100, 100, 1, 2


def read_info(path: Path) -> ModelInfo:
    """What an ``.mlpackage`` says of itself.

    Raises:
        ModelFileError: it is missing, damaged, or not one of ours.
    """
    found = None
    with mapped(model_path(path), _KIND, path) as data:
        for _, *description in _named(data, _DESCRIPTION, 0, len(data)):
            for _, *metadata in _named(data, _METADATA, *description):
                for _, first, last in _named(data, _USER_DEFINED, *metadata):
                    entry = {
                        number: data[low:high].decode() for number, low, high in fields(data, first, last)
                    }
                    if entry.get(_ENTRY_KEY) == KEY:
                        found = entry.get(_ENTRY_VALUE, "")
    return header_of(found, path)


def write_info(path: Path, info: ModelInfo) -> None:
    """Put a header into an ``.mlpackage``, in place of the one that it has."""
    from coremltools.proto import Model_pb2

    file = model_path(path)
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    model.description.metadata.userDefined[KEY] = info.to_json()
    write_atomically(file, model.SerializeToString())


def model_path(path: Path) -> Path:
    """The file in a package that the manifest calls its model.

    Raises:
        ModelFileError: there is none.
    """
    try:
        manifest = parse_object((path / "Manifest.json").read_text(encoding="utf-8"))
        name = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        inside = path / "Data" / name
        if not inside.resolve().is_relative_to(path.resolve()):
            raise ValueError
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read ({error.strerror}): give an .mlpackage, which is a folder"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged(path, _KIND) from None
    return inside


def _named(data: mmap.mmap, number: int, start: int, end: int) -> list[tuple[int, int, int]]:
    return [field for field in fields(data, start, end) if field[0] == number]
