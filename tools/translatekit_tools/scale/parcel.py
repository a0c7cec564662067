"""A model's files on their way to the nodes of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from translatekit.errors import ModelFileError
from translatekit.storage import cache_folder, hash_bytes, write_atomically

_BESIDE = {".xml": (".bin",), ".engine": (".engine.json", ".onnx")}
"""Files that belong to a model file of a suffix, by theirs."""


@dataclass(frozen=True)
class Parcel:
    """A model file, and what belongs to it.

    Attributes:
        name: of the model file.
        files: all of their bytes, by their names.
        digest: of the names and bytes.
    """

    name: str
    files: dict[str, bytes]
    digest: str

    @classmethod
    def of(cls, path: Path) -> Parcel:
        """Pack a model.

        Raises:
            ModelFileError: it cannot be read.
        """
        beside = (path.with_suffix(suffix) for suffix in _BESIDE.get(path.suffix.lower(), ()))
        try:
            files = {
                each.name: each.read_bytes() for each in (path, *beside) if each == path or each.is_file()
            }
        except OSError as error:
            raise ModelFileError(
                f"the model {path} cannot be read ({error.strerror}): check the path"
            ) from None
        parts = [f"{name} {hash_bytes(data)}" for name, data in sorted(files.items())]
        return cls(path.name, files, hash_bytes("\n".join(parts).encode()))

    def unpack(self) -> Path:
        """The model file in the cache folder of this machine, where it is written unless it is there.

        Raises:
            StorageError: it cannot be written.
        """
        folder = cache_folder("models", self.digest)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != len(data):
                write_atomically(path, data, shared=True)
        return folder / self.name
