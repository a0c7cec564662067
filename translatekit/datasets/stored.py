"""Image files that lie elsewhere than on a disk of this machine, as paths are used."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import PurePosixPath


class Stored(ABC):
    """An image file that lies in a store, an archive or a shard.

    Attributes:
        name: without the folders.
        stamp: changes when its contents do.
    """

    name: str
    stamp: str

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """What its name ends in, with the dot."""
        return PurePosixPath(self.name).suffix

    @property
    @abstractmethod
    def parent(self) -> str:
        """The address of what it lies in."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Its contents.

        Raises:
            StorageError: it cannot be read.
        """
