"""Datasets, and the function that makes them by name."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from translatekit.datasets.stored import Place, StoredPath, place_of
from translatekit.errors import OptionError
from translatekit.interfaces import SIDES, DataOptions, Dataset
from translatekit.model_info import ModelInfo
from translatekit.options import check_options
from translatekit.registry import registry

if TYPE_CHECKING:
    from torch import Tensor


def make_dataset(
    name: str, root: str | Place | None, options: DataOptions, own_options: Mapping[str, Any] | None = None
) -> Dataset:
    """Make a dataset by name.

    Args:
        name: of an installed dataset.
        root: its folder, an archive, or an address such as ``s3://bucket/facades``; None for a
            dataset that reads none, such as the demo.
        options: which split, and how images are read.
        own_options: the dataset's own keyword arguments, as values or as the text a user typed.

    Raises:
        PluginError: no such dataset is installed.
        OptionError: an option is unknown or does not fit, or a folder is named for a dataset that reads none.
        MissingSplitError: the folder has images, but none for this split.
        DataError: the folder is missing, empty, or not laid out as this dataset wants it.
    """
    spec = registry("dataset").get(name)
    spec.check_folder(root)
    place = root if root is None or isinstance(root, StoredPath) else place_of(root)
    if isinstance(place, StoredPath) and not spec.stores:
        raise OptionError(
            f"the dataset {name!r} reads folders of this machine alone, and {place} is elsewhere: copy it here, or "
            "pass another --dataset"
        )
    dataset_type = spec.load()
    owner = f"dataset {name!r}"
    checked = check_options(dataset_type, own_options or {}, owner, skip=("root", "options"))
    try:
        dataset: Dataset = dataset_type(place, options, **checked)
    except ValueError as error:
        raise OptionError(f"{owner}: {error}") from None
    return dataset


def sides_of(data: Dataset, info: ModelInfo) -> tuple[str, str]:
    """The keys of a dataset's images that a model takes, and that its outputs are to be like.

    They are those that it was trained on, as its file says; on data of another kind, those of its direction.
    """
    trained = info.data.get("input"), info.data.get("target")
    if all(key in data.specs for key in trained):
        return str(trained[0]), str(trained[1])
    return ("input", "target") if "input" in data.specs else SIDES.get(info.direction, SIDES["AtoB"])


def identity_of(name: str, image: Tensor) -> tuple[str, bytes]:
    """What an image of unpaired data is known by where an epoch shows it again: files of several folders share names.

    Args:
        name: of its file.
        image: as it is shown, (C, H, W).
    """
    return name, blake2b(image.contiguous().numpy().data, digest_size=16).digest()
