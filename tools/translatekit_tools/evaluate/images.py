"""The images that models are measured on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from translatekit.config import RunConfig
from translatekit.datasets import identity_of, make_dataset, sides_of
from translatekit.datasets.layouts import MissingSplitError
from translatekit.datasets.stored import Place, StoredPath, place_of
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images.codec import ValueCodec
from translatekit.interfaces import SIDES, DataOptions, Dataset
from translatekit.model_info import ModelInfo
from translatekit.registry import registry
from translatekit.storage import local_folder
from translatekit_tools.evaluate.models import run_of
from translatekit_tools.evaluate.options import EvaluateOptions


class Sample(NamedTuple):
    """One item to measure on.

    Attributes:
        name: of its file.
        source: (H, W, C), what the model takes.
        target: (H, W, C'), what its output is compared with; of unpaired data, any image of the other side.
        valid: (H, W), bool: the pixels that count; None where all do.
    """

    name: str
    source: np.ndarray
    target: np.ndarray
    valid: np.ndarray | None = None


@dataclass
class Images:
    """The images to measure on, as arrays (H, W, C) of their specs: uint8 where they have levels of 8 bits or classes.

    Attributes:
        data: the dataset.
        source, target: the keys of its items.
        indices: of the items that are taken.
        paired: whether the target belongs to the input.
    """

    data: Dataset
    source: str
    target: str
    indices: list[int]
    paired: bool

    def __len__(self) -> int:
        return len(self.indices)

    def item(self, number: int) -> Sample:
        """One of them."""
        item = self.data[self.indices[number]]
        name = item["name"] if self.paired else item[f"name_{self.source}"]
        source, target = (
            to_array(item[key], self.data.specs[key], item[self.source]) for key in (self.source, self.target)
        )
        valid = item["valid"][0].numpy() if "valid" in item else None
        return Sample(str(name), source, target, valid)

    def items(self) -> Iterator[Sample]:
        """All of them, in order."""
        return map(self.item, range(len(self)))

    def others(self, size: int) -> Iterator[np.ndarray]:
        """Each image of the target's side of unpaired data, once."""
        seen: set[tuple[str, bytes]] = set()
        batch: list[np.ndarray] = []
        for index in range(len(self.data)):
            item = self.data[index]
            image = identity_of(str(item[f"name_{self.target}"]), item[self.target])
            if image not in seen:
                seen.add(image)
                batch.append(to_array(item[self.target], self.data.specs[self.target], item[self.source]))
            if len(batch) == size:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)


def choose_data(
    root: Place | None, options: EvaluateOptions, model: Path, info: ModelInfo, notes: list[str]
) -> tuple[Place | None, EvaluateOptions]:
    """Which images to measure on: their folder, and the options with the dataset filled in.

    Without a folder they are those of the run that the model lies in, or what was drawn for its training.

    Args:
        root: the folder that the user named.
        options: which dataset the user named, and with what options.
        model: the first model's path.
        info: its header.
        notes: told where the images come from, where the user did not say.

    Raises:
        DataError: there is nothing to measure on, or it is not there any more.
    """
    datasets, methods = registry("dataset"), registry("method")
    name = options.dataset or info.data.get("dataset")
    if root is not None:
        if options.dataset is None and (name is None or not datasets.get(name).folder):
            name = methods.get(info.method).dataset if info.method in methods.names() else "aligned"
        return _readable(root, str(name)), replace(options, dataset=name)
    run = None if options.dataset and not datasets.get(options.dataset).folder else run_of(model)
    if run is not None:
        config = RunConfig.from_toml(run / "config.toml")
        trained_on = str(config.options.dataset)
        own = config.options.dataset_options if options.dataset in (None, trained_on) else {}
        name = options.dataset or trained_on
        if config.data is not None:
            root = place_of(config.data)
            if not root.is_dir():
                raise DataError(f"the run's data, {root}, are not there any more: name their folder as DATA")
        fold = options.fold or (config.options.fold if name == trained_on else None)
        options = replace(options, dataset_options={**own, **options.dataset_options}, fold=fold)
        notes.append(
            f"measured on the run's own data, {config.data or name}"
            + (f", of which it has left fold {fold} out" if fold is not None else "")
        )
    if root is None and (name is None or datasets.get(name).folder):
        raise DataError(f"{model} does not say where its images lie: name a folder of images as DATA")
    return None if root is None or name is None else _readable(root, name), replace(options, dataset=name)


def _readable(root: Place, dataset: str) -> Place:
    """The place itself, or a local copy of it for a dataset that reads local folders alone."""
    if isinstance(root, StoredPath) and not registry("dataset").get(dataset).stores:
        return local_folder(root.source.uri)
    return root


def open_images(root: Place | None, options: EvaluateOptions, info: ModelInfo) -> Images:
    """The images of one split, in the model's direction.

    Raises:
        OptionError: the dataset has labels and no images to translate.
        DataError: there are no such images.
    """
    name = options.dataset or info.data.get("dataset") or ("aligned" if root else "demo")
    spec = registry("dataset").get(name)
    if spec.provides == "labelled":
        raise OptionError(
            f"the dataset {name!r} gives images by class and nothing to translate them to: pass another --dataset"
        )
    if options.fold is not None and not spec.folds:
        raise OptionError(
            f"the dataset {name!r} has no folds: leave out --fold {options.fold}, or pass another --dataset"
        )
    masks = None if options.mask is None else Path(options.mask).expanduser()
    if masks is not None and spec.provides != "paired":
        raise OptionError(
            "--mask says which pixels of a pair are compared: give paired data, or leave it out"
        )
    own = dict(options.dataset_options)
    if info.output.codec == "lab" and "mode" not in own and name == "colorization":
        own["mode"] = "rgb"  # the model takes gray and gives RGB, whatever its network predicts
    paired = spec.provides == "paired"
    direction: Any = info.direction if info.direction in SIDES else "AtoB"
    # Images are read as the model takes and gives them; colours that are made for a lightness are compared as RGB.
    keys = ("input", "target") if paired else SIDES[direction]
    trained = info.data.get("input"), info.data.get("target")
    if set(trained) == set(keys) and trained != keys:  # a method of several generators calls them as it likes
        keys, direction = (str(trained[0]), str(trained[1])), "AtoB"
    given = replace(info.output, network_slices=1)  # of which the model gives the middle one
    specs = dict(zip(keys, (info.input, given), strict=True)) if info.output.codec != "lab" else {}
    of_volumes = info.input.slices > 1 or info.data.get("slices") == 1
    data_options = DataOptions(
        split=options.split,
        direction=direction if paired else "AtoB",
        load_size=options.size or info.size,
        crop_size=options.size or info.size,
        flip=False,
        slices=info.input.slices if of_volumes else None,
        slice_axis=info.input.slice_axis,
        valid=paired,
        masks=masks,
        fold=options.fold,
        specs=specs,
    )
    try:
        data = make_dataset(name, root, data_options, own)
    except MissingSplitError:
        raise DataError(
            f"{root} has no {options.split} images: pass --split train, or add a folder {options.split}"
        ) from None
    data.set_epoch(0)
    if masks is not None and "valid" not in data[0]:
        raise OptionError(f"the dataset {name!r} takes no masks: leave out --mask, or pass --dataset aligned")
    source, target = sides_of(data, info)
    indices: list[int] = []
    seen: set[tuple[str, bytes]] = set()
    for index in range(len(data)):
        if len(indices) == options.max_images:
            break
        if not paired:  # an epoch of unpaired data shows the smaller side more than once
            item = data[index]
            image = identity_of(str(item[f"name_{source}"]), item[source])
            if image in seen:
                continue
            seen.add(image)
        indices.append(index)
    return Images(data, source, target, indices, paired)


def to_array(image: Tensor, spec: ImageSpec, taken: Tensor) -> np.ndarray:
    """A network's image as an array.

    Args:
        image: (C, H, W), of the spec.
        spec: what it is.
        taken: what the network is given with it, which is the lightness of colours.

    Returns:
        (H, W, C'): uint8 for levels of 8 bits and for classes, else float32.
    """
    if spec.codec == "onehot":
        classes = torch.tensor(spec.ids, dtype=torch.uint8)[image[: len(spec.ids)].argmax(dim=0)]
        return torch.cat([classes[None], image[len(spec.ids) :].to(torch.uint8)]).permute(1, 2, 0).numpy()
    kind = torch.uint8 if spec.dtype == "uint8" else torch.float32
    return np.asarray(ValueCodec(spec).decode(image[None], taken[None], kind)[0].numpy())
