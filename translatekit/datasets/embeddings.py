"""Embeddings of the texts that describe images: a vector or several for each, made by any text encoder."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from translatekit.datasets.stored import Place, place_of
from translatekit.errors import DataError

_FORMS = (
    "give a folder of .npy files named like the images, an .npz table with names and embeddings, or an .npy file with "
    "a row for each class"
)


class Embeddings:
    """The vectors of images, or of classes.

    A folder holds ``CLASS/NAME.npy`` or ``NAME.npy`` for each image ``NAME``. A table, ``.npz``, holds ``names`` (N,),
    ``CLASS/NAME`` or ``NAME``, and ``embeddings``. An ``.npy`` file has a row for each class. Each image or class has
    one vector, (D,), or several, (K, D), of as many texts.

    Attributes:
        size: D.

    Args:
        place: of the folder or file.
        class_names: by label.

    Raises:
        DataError: there is none of that kind.
    """

    def __init__(self, place: Place, class_names: tuple[str, ...]) -> None:
        self._place, self._classes = place, class_names
        self._rows: dict[str, int] | None = None
        self._table: np.ndarray | None = None
        if place.is_dir():
            first = _first(place)
            if first is None:
                raise DataError(f"{place} holds no .npy files: {_FORMS}")
            self.size = int(read_vectors(first).shape[-1])
            return
        self._table, names = _read_table(place)
        self.size = int(self._table.shape[-1])
        if names is not None:
            self._rows = {name: row for row, name in enumerate(names)}
        elif len(self._table) != len(class_names):
            raise DataError(f"{place} has {len(self._table)} rows for {len(class_names)} classes: {_FORMS}")

    def __call__(self, label: int, name: str, rng: np.random.Generator | None = None) -> np.ndarray:
        """The vector (size,), float32, of an image; of several a drawn one, or without `rng` the first.

        Raises:
            DataError: there is none, or one of another length.
        """
        found = self._found(label, name)
        vectors = found.reshape(-1, found.shape[-1]) if found.ndim else found
        if vectors.ndim != 2 or vectors.shape[1] != self.size or not len(vectors):
            raise DataError(
                f"the embedding of {name} in {self._place} has the shape {found.shape}, and the first one has "
                f"{self.size} numbers: make all of them by one text encoder"
            )
        chosen = 0 if rng is None or len(vectors) == 1 else int(rng.integers(len(vectors)))
        return np.array(vectors[chosen], np.float32)

    def _found(self, label: int, name: str) -> np.ndarray:
        names = (f"{self._classes[label]}/{name}", name)
        if self._table is None:
            for one in names:
                path = self._place / f"{one}.npy"
                if path.is_file():
                    return read_vectors(path)
        elif self._rows is None:
            row: np.ndarray = self._table[label]
            return row
        else:
            for one in names:
                if one in self._rows:
                    row = self._table[self._rows[one]]
                    return row
        raise DataError(f"{self._place} has no embedding of {names[0]}: {_FORMS}")


def open_embeddings(text: str, root: Place | None, class_names: tuple[str, ...]) -> Embeddings:
    """Embeddings by the path that a user gave: in the data's folder, or anywhere else.

    Raises:
        DataError: there is nothing.
    """
    inside = None if root is None or Path(text).is_absolute() else root / text
    place = inside if inside is not None and inside.exists() else place_of(text)
    if not place.exists():
        raise DataError(f"there are no embeddings at {text}: {_FORMS}")
    return Embeddings(place, class_names)


def read_vectors(path: Place | str) -> np.ndarray:
    """The numbers of an ``.npy`` file, of at least one axis.

    Raises:
        DataError: it is none, or holds something else than finite numbers.
    """
    place = place_of(path) if isinstance(path, str) else path
    try:
        return _checked(np.load(BytesIO(place.read_bytes()), allow_pickle=False))
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise _unreadable(place, error) from None


def _read_table(place: Place) -> tuple[np.ndarray, list[str] | None]:
    try:
        loaded = np.load(BytesIO(place.read_bytes()), allow_pickle=False)
        names = None if isinstance(loaded, np.ndarray) else [str(name) for name in loaded["names"]]
        table = _checked(loaded if isinstance(loaded, np.ndarray) else loaded["embeddings"])
        if table.ndim < 2 or (names is not None and len(names) != len(table)):
            raise ValueError(
                f"it holds embeddings of the shape {table.shape} for {names and len(names)} names"
            )
        return table, names
    except (OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise _unreadable(place, error) from None


def _first(folder: Place) -> Place | None:
    """The first file of a folder, those of its folders included, by name."""
    children: list[Place] = list(folder.iterdir())
    for child in sorted(children, key=lambda child: child.name):
        found = _first(child) if child.is_dir() else child if child.suffix == ".npy" else None
        if found is not None:
            return found
    return None


def _checked(array: np.ndarray) -> np.ndarray:
    if (
        not isinstance(array, np.ndarray)
        or array.ndim < 1
        or array.dtype.kind not in "fiu"
        or not np.isfinite(array).all()
    ):
        raise ValueError("it holds something else than vectors of finite numbers")
    return array


def _unreadable(place: Place, error: Exception) -> DataError:
    return DataError(f"{place} cannot be read as embeddings ({error}): {_FORMS}")
