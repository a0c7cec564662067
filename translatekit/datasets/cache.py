"""Decoded images on disk, so that a later epoch, another process or another run need not decode them again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL

from translatekit.datasets.slices import File, Files, Slice
from translatekit.datasets.stored import Stored
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import DataOptions
from translatekit.storage import VARIABLE, hash_bytes, temporary_path, writable_cache
from translatekit.terminal import say
from translatekit.version import __version__


class Loaded(NamedTuple):
    """A sample, ready to be cropped.

    Attributes:
        names: of its files, without suffix.
        images: each (H, W, C) of its spec, resized.
        label: the number of its class; -1 where there are none.
    """

    names: tuple[str, ...]
    images: tuple[np.ndarray, ...]
    label: int


class DiskCache:
    """The images of samples, in a file each, in the user's cache folder.

    A file is called after all that its pixels follow from: the files of the sample and what says that they are as they
    were, how they are read, and the versions of what reads them. So nothing in the folder is ever out of date, several
    processes may fill it at once, and all of it may be deleted at any time.

    Args:
        specs: of the images of a sample.
        options: how they are read.

    Raises:
        OptionError: nothing can be written there.
    """

    def __init__(self, specs: Sequence[ImageSpec], options: DataOptions) -> None:
        folder = writable_cache("images")
        if folder is None:
            raise OptionError(
                f"--cache disk has no folder to write to: set {VARIABLE} to one, or pass --cache memory"
            )
        self._folder, self._count = folder, len(specs)
        side = options.load_size if options.at_random else options.crop_size
        self._recipe = [
            *(
                __version__,
                PIL.__version__,
                side,
                options.direction,
                options.slices,
                options.slice_axis,
                options.valid,
            ),
            *(spec.to_fields() for spec in specs),
        ]
        self._full = False

    def get(self, files: Files) -> Loaded | None:
        """A sample; None where it is not there, or not whole."""
        try:
            with self._path(files).open("rb") as file:
                label, *names = (str(text) for text in np.load(file, allow_pickle=False))
                images = tuple(np.load(file, allow_pickle=False) for _ in range(self._count))
            return Loaded(tuple(names), images, int(label))
        except (OSError, ValueError, EOFError):
            return None

    def put(self, files: Files, sample: Loaded) -> None:
        """Keep a sample. Where the disk is full, no more are kept, and that is said once."""
        if self._full:
            return
        path = self._path(files)
        temporary = temporary_path(path, shared=True)
        try:
            path.parent.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                for array in (np.array([str(sample.label), *sample.names]), *sample.images):
                    np.save(file, array, allow_pickle=False)
            temporary.replace(path)  # not flushed to the disk first: what a power cut leaves is read anew
        except OSError as error:
            self._full = True
            say(f"no more images are kept in {self._folder} ({error.strerror}): free some space")
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _path(self, files: Files) -> Path:
        known = [_identity(file) for file in files]
        name = hash_bytes(json.dumps([self._recipe, known], sort_keys=True).encode())
        return self._folder / name[:2] / f"{name}.npy"


def _identity(file: File) -> list[Any]:
    """A file, and what changes when its contents change."""
    if isinstance(file, Slice):
        return [file.page, *_identity(file.path)]
    if isinstance(file, Stored):
        return [file.address, file.stamp]
    if file.is_dir():  # one volume, of whose files any may change
        return [str(file), *(_identity(child) for child in sorted(file.iterdir()) if child.is_file())]
    about = file.stat()
    return [str(file), about.st_size, about.st_mtime_ns]
