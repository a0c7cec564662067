"""Images for a student: inputs alone, whose targets are what its teacher makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import translatekit
from translatekit.datasets import make_dataset, sides_of
from translatekit.datasets.base import BaseDataset
from translatekit.datasets.stored import Place
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images.codec import ValueCodec
from translatekit.inference.inputs import as_deep_as_output
from translatekit.interfaces import DataOptions, Dataset
from translatekit.model_file import find_model, read_any_info


class Taught(BaseDataset):
    """The inputs of another dataset; targets are what a teacher makes of them.

    A method that asks the teacher itself, because it wants its inner features too, does without them.

    Args:
        root: the other dataset's folder.
        options: how images are read.
        teacher: a model file of any backend.
        images: the dataset that gives the inputs; ``single`` reads a folder of images.
        images_options: that dataset's own.
        answers: whether the training images have targets; else these are black, and only other splits have some.

    Attributes:
        unpaired: the other dataset where it is unpaired: items then hold all that its do, which the teacher's own
            training wants; else None.

    Raises:
        OptionError: there is no teacher, or the dataset has no image that it takes.
        DataError: the other dataset's.
    """

    taught = True

    def __init__(
        self,
        root: Place | None,
        options: DataOptions,
        teacher: str = "",
        images: str = "single",
        images_options: dict[str, Any] | None = None,
        answers: bool = True,
    ) -> None:
        super().__init__(options)
        if not teacher:
            raise OptionError("the dataset 'taught' needs a model: pass --dataset-option teacher=FILE")
        self._path = find_model(teacher)
        self._answers = answers or options.split != "train"
        info = read_any_info(self._path)
        self._translator: Any = None
        plain = make_dataset(images, root, replace(options, specs={}, valid=False), images_options)
        self._source, target = sides_of(plain, info)
        specs = {self._source: info.input}
        if images == "single" or "A" in plain.specs:
            specs[target] = info.input if images == "single" else info.output
        self._images = make_dataset(images, root, replace(options, specs=specs, valid=False), images_options)
        self.unpaired: Dataset | None = self._images if "A" in plain.specs else None
        self.specs = {"input": info.input, "target": info.output}
        self.skipped, self.remarks = self._images.skipped, self._images.remarks  # type: ignore[assignment]
        self._name = "name" if "name" in self._images[0] else f"name_{self._source}"
        self._indices = list(range(len(self._images)))
        if options.split != "train":
            names: dict[str, int] = {}
            for index in self._indices:  # an epoch of unpaired data shows the smaller side more than once
                names.setdefault(str(self._images[index][self._name]), index)
            self._indices = list(names.values())

    def set_epoch(self, epoch: int) -> None:
        """Choose the random geometry of an epoch."""
        super().set_epoch(epoch)
        self._images.set_epoch(epoch)

    def __len__(self) -> int:
        """Inputs."""
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``input`` and ``target``, (C, H, W) float32 in [-1, 1], and ``name``."""
        item = self._images[self._indices[index]]
        x: torch.Tensor = item[self._source]
        out = self.specs["target"]
        if self._answers:
            y = self.tensor("target", self._translate(x))
        else:
            y = torch.zeros(out.network_channels, *x.shape[1:])
        own = {"input": x, "target": y, "name": str(item[self._name])}
        return own if self.unpaired is None else {**item, **own}

    def _translate(self, x: torch.Tensor) -> np.ndarray:
        if self._translator is None:
            self._translator = translatekit.load(self._path)
        pixels = _to_array(x, self.specs["input"])
        dtypes = getattr(self._translator, "dtypes", ("uint8", "float32"))
        made: np.ndarray = self._translator(as_deep_as_output(pixels, self._translator.info, dtypes)[None])
        return made[0]


def _to_array(image: torch.Tensor, spec: ImageSpec) -> np.ndarray:
    kind = torch.uint8 if spec.eight_bits else torch.float32
    return np.asarray(ValueCodec(spec).decode(image[None], image[None], kind)[0].numpy())
