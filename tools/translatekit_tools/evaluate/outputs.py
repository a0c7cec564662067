"""One model over all images: raw figures, label maps counted, and features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from translatekit.datasets.palette import (
    Palette,
    PaletteClass,
)
from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images import to_uint8
from translatekit.inference.batching import Request
from translatekit.inference.predictor import Predictor
from translatekit.inference.stages import batched
from translatekit.interfaces import MetricImages
from translatekit.metrics.pairs import measure_pairs
from translatekit_tools.evaluate.images import Images
from translatekit_tools.evaluate.models import check_channels
from translatekit_tools.evaluate.tools import Tools


@dataclass
class Measured:
    """Raw figures of one model: by image, or as confusions of label maps, or as features by their extractor."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    confusions: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[int, Tensor] = field(default_factory=dict)


@dataclass(slots=True)
class _PendingImage:
    """An image whose translation is measured."""

    source: np.ndarray
    target: np.ndarray
    request: Request


def real_features(images: Images, tools: Tools, batch_size: int) -> dict[int, Tensor]:
    """The features of all real images, by their extractor."""
    found: dict[int, list[Tensor]] = {}
    if not tools.metrics.sets:
        return {}
    if images.paired:
        targets: Iterator[np.ndarray] = map(
            np.stack, batched((item[2] for item in images.items()), batch_size)
        )
    else:
        targets = images.others(batch_size)
    for batch in targets:
        _extract(_metric_images(batch, images.data.specs[images.target], tools.device), tools, found)
    return {key: torch.cat(parts) for key, parts in found.items()}


def measure_one(
    predictor: Predictor, images: Images, tools: Tools, batch_size: int, done: Callable[[int], None]
) -> Measured:
    """Translate all images with one model and measure what comes out, batch by batch.

    Args:
        predictor: the model.
        images: what it is measured on.
        tools: what measures.
        batch_size: images that are looked at together.
        done: told how many are.

    Raises:
        DataError: the images are not what the model takes or gives.
    """
    values: dict[str, list[np.ndarray]] = {}
    confusions: dict[str, list[np.ndarray]] = {}
    features: dict[int, list[Tensor]] = {}
    finished = 0
    spec = images.data.specs[images.target]
    asked = (_asked(predictor, source, target) for _, source, target in images.items())
    for batch in batched(predictor.run(asked), batch_size):
        inputs, targets = (np.stack([getattr(one, side) for one in batch]) for side in ("source", "target"))
        outputs = np.stack([one.request.result() for one in batch])
        if images.paired and outputs.shape != targets.shape:
            raise DataError(
                f"the model gives images of {outputs.shape[3]} channels and the targets have {targets.shape[3]}: "
                "pass the --dataset and --dataset-option it was trained with"
            )
        made = _metric_images(outputs, spec, tools.device)
        if images.paired:
            wanted = _metric_images(targets, spec, tools.device)
            for name, value in measure_pairs(tools.metrics.pairs, made, wanted).items():
                values.setdefault(name, []).append(value.cpu().numpy())
        _extract(made, tools, features)
        if tools.palette and tools.target_is_labels:
            confusions.setdefault("", []).append(
                _confusions(to_uint8(outputs), to_uint8(targets), tools.palette)
            )
        if tools.palette and tools.segmenter:
            for prefix, maps in (("fcn_", outputs), ("fcn_real_", targets)):
                check_channels(maps, tools.segmenter.info)
                segmented = np.stack(list(tools.segmenter.predict(maps)))
                confusions.setdefault(prefix, []).append(
                    _confusions(to_uint8(segmented), to_uint8(inputs), tools.palette)
                )
        finished += len(inputs)
        done(finished)
    return Measured(
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: np.concatenate(parts) for name, parts in confusions.items()},
        {key: torch.cat(parts) for key, parts in features.items()},
    )


@torch.no_grad()
def _extract(images: MetricImages, tools: Tools, found: dict[int, list[Tensor]]) -> None:
    for key, extractor in tools.metrics.extractors.items():
        found.setdefault(key, []).append(extractor(images).cpu())


def _asked(predictor: Predictor, source: np.ndarray, target: np.ndarray) -> _PendingImage:
    check_channels(source, predictor.info)
    return _PendingImage(source, target, predictor.request(source))


def _confusions(found: np.ndarray, wanted: np.ndarray, classes: list[PaletteClass]) -> np.ndarray:
    palette = Palette.of(classes)
    return np.stack(
        [
            confusion(palette.nearest(one), palette.nearest(other), len(classes))
            for one, other in zip(found, wanted, strict=True)
        ]
    )


def _metric_images(images: np.ndarray, spec: ImageSpec, device: torch.device) -> MetricImages:
    """Arrays (N, H, W, C) of a spec as metrics take them."""
    values = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    if spec.levels:
        values = values / (127.5 if images.dtype == np.uint8 else 0.5) - 1
    return MetricImages(values, spec)


def confusion(found: np.ndarray, wanted: np.ndarray, classes: int) -> np.ndarray:
    """How many pixels of each class (rows) were given which class (columns): (classes, classes)."""
    joint = wanted.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(joint, minlength=classes**2).reshape(classes, classes)
