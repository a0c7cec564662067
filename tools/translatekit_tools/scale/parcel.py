"""A model's files on their way to the nodes of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from translatekit.errors import ModelFileError
from translatekit.storage import cache_folder, companions, hash_bytes, write_atomically


@dataclass(frozen=True)
class Parcel:
    """A model file, or a package that is a folder, and what belongs to it.

    Attributes:
        name: of the model file.
        files: all of their bytes, by their names; below the package by its name and theirs.
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
        beside = map(Path, companions(str(path)))
        try:
            found = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
            found += [each for each in beside if each.is_file()]
            files = {each.relative_to(path.parent).as_posix(): each.read_bytes() for each in found}
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
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.stat().st_size != len(data):
                write_atomically(path, data, shared=True)
        return folder / self.name
