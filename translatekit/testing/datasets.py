"""What every dataset must keep (see `translatekit.interfaces.Dataset`)."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from translatekit.datasets import make_dataset
from translatekit.datasets.palette import as_palette
from translatekit.errors import TranslatekitError
from translatekit.interfaces import DataOptions, Dataset
from translatekit.testing.contracts import ContractError, Subject, require
from translatekit.testing.networks import check_unknown_option

LOAD_SIZE, CROP_SIZE = 40, 32  # pixels a side
IMAGE_KEYS = {"paired": ("input", "target"), "unpaired": ("A", "B"), "labelled": ("image",)}
NAME_KEYS = {"paired": ("name",), "unpaired": ("name_A", "name_B"), "labelled": ("name",)}


def items(subject: Subject) -> None:
    """Its items hold what its kind of data promises: float32 images in [-1, 1] of the crop's size."""
    with _folder(subject) as folder:
        dataset = _open(subject, folder)
        require(len(dataset) > 0, f"{subject} finds no images in {folder}")
        for index in range(min(len(dataset), 3)):
            _check_item(subject, dataset, dataset[index])


def attributes(subject: Subject) -> None:
    """It says what its channels mean, what its classes are called, and which files it skipped."""
    with _folder(subject) as folder:
        dataset = _open(subject, folder)
        for key, spec in dataset.specs.items():
            try:
                spec.check()
            except ValueError as error:
                raise ContractError(f"the spec of {key!r} of {subject} contradicts itself: {error}") from None
        require(isinstance(dataset.class_names, tuple), f"the class_names of {subject} are not a tuple")
        require(
            bool(dataset.class_names) == (subject.spec.provides == "labelled"),
            f"{subject} provides {subject.spec.provides} images and names {len(dataset.class_names)} classes",
        )
        require(isinstance(dataset.skipped, list), f"the attribute skipped of {subject} is not a list")
        for image, classes in getattr(
            dataset, "palettes", {}
        ).items():  # an attribute that not every dataset has
            require(
                image in dataset.specs,
                f"{subject} has a palette of {image!r}, and its images are {', '.join(dataset.specs)}",
            )
            try:
                as_palette(classes)
            except (ValueError, TypeError, KeyError):
                raise ContractError(
                    f"the palette of {image!r} of {subject} is not a list of classes such as "
                    '{"name": "window", "color": [0, 0, 170]}'
                ) from None


def determinism(subject: Subject) -> None:
    """An item depends on the seed, the epoch and the index alone, whichever process asks for it."""
    with _folder(subject) as folder:
        dataset = _open(subject, folder)
        dataset.set_epoch(0)
        first, last = dataset[0], dataset[len(dataset) - 1]
        _check_equal(subject, first, dataset[0], "when it is read again")
        dataset.set_epoch(1)
        dataset[0]
        dataset.set_epoch(0)
        _check_equal(subject, last, dataset[len(dataset) - 1], "after another epoch")
        _check_equal(subject, first, _open(subject, folder)[0], "in a dataset made anew")
        copy = pickle.loads(pickle.dumps(dataset))
        _check_equal(subject, first, copy[0], "in a worker's copy")


def errors(subject: Subject) -> None:
    """A folder that is not there, and an option that does not exist, are refused in a sentence."""
    with _folder(subject) as folder:
        missing = (folder or Path()) / "no_such_folder"
        try:
            _open(subject, missing)
        except TranslatekitError as error:
            require(
                str(missing) in str(error), f"{subject} refuses a missing folder without naming it: {error}"
            )
        except Exception as error:
            raise ContractError(
                f"{subject} raises {type(error).__name__} for a missing folder: raise DataError with a "
                "sentence"
            ) from error
        else:
            raise ContractError(
                f"{subject} takes a folder that is not there: raise DataError, or declare folder=False"
            )
        check_unknown_option(
            subject, lambda given: make_dataset(subject.spec.name, folder, _data_options(), given)
        )


CONTRACTS = (items, attributes, determinism, errors)


def _data_options() -> DataOptions:
    return DataOptions(split="train", load_size=LOAD_SIZE, crop_size=CROP_SIZE)


def _open(subject: Subject, folder: Path | None) -> Dataset:
    return make_dataset(subject.spec.name, folder, _data_options(), subject.options)


def _check_item(subject: Subject, dataset: Dataset, item: dict[str, Any]) -> None:
    provides = subject.spec.provides
    keys = {*IMAGE_KEYS[provides], *NAME_KEYS[provides], *(["label"] if provides == "labelled" else [])}
    require(set(item) >= keys, f"an item of {subject} holds {sorted(item)}, not {sorted(keys)}")
    for key in IMAGE_KEYS[provides]:
        require(key in dataset.specs, f"the specs of {subject} do not say what {key!r} is")
        image = torch.as_tensor(item[key])
        expected = (dataset.specs[key].network_channels, CROP_SIZE, CROP_SIZE)
        require(
            tuple(image.shape) == expected,
            f"{key!r} of {subject} has the shape {tuple(image.shape)}, not {expected} (channels, crop, crop)",
        )
        require(image.dtype == torch.float32, f"{key!r} of {subject} is {image.dtype}, not float32")
        low, high = image.min().item(), image.max().item()
        require(
            low >= -1 and high <= 1, f"{key!r} of {subject} lies in [{low:.3g}, {high:.3g}], not in [-1, 1]"
        )
        require(low < high, f"{key!r} of {subject} is of one value, though the picture is not")
    for key in NAME_KEYS[provides]:
        require(isinstance(item[key], str), f"{key!r} of {subject} is {item[key]!r}, not text")
    if provides == "labelled":
        require(
            0 <= int(item["label"]) < len(dataset.class_names),
            f"{subject} gives the label {item['label']}, and has {len(dataset.class_names)} class names",
        )


def _check_equal(subject: Subject, one: dict[str, Any], other: dict[str, Any], when: str) -> None:
    for key, value in one.items():
        same = (
            torch.equal(value, other[key])
            if isinstance(value, Tensor)
            else bool((value == other[key]) is True)
        )
        if not isinstance(value, Tensor | str | int | float):
            same = torch.equal(torch.as_tensor(value), torch.as_tensor(other[key]))
        require(
            same, f"{key!r} of an item of {subject} differs {when}: draw from the seed, epoch and index alone"
        )


@contextlib.contextmanager
def _folder(subject: Subject) -> Iterator[Path | None]:
    """The subject's sample folder, or one made in the usual layout of what it provides; None if it reads none."""
    if subject.data is not None or not subject.spec.folder:
        yield subject.data
        return
    with tempfile.TemporaryDirectory(prefix="translatekit-") as name:
        folder = Path(name)
        width = 2 * LOAD_SIZE if subject.spec.provides == "paired" else LOAD_SIZE
        parents = {
            "paired": ["train"],
            "unpaired": ["trainA", "trainB"],
            "labelled": ["train/cat", "train/dog"],
        }
        for parent in parents[subject.spec.provides]:
            (folder / parent).mkdir(parents=True)
            for number in range(3):
                _picture(width, LOAD_SIZE, number).save(folder / parent / f"{number}.png")
        yield folder


def _picture(width: int, height: int, number: int) -> Image.Image:
    """A colour gradient; another one for each number."""
    ramps = [Image.linear_gradient("L").rotate(90 * turn).resize((width, height)) for turn in range(3)]
    return Image.merge("RGB", [ramps[(channel + number) % 3] for channel in range(3)])
