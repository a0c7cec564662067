"""One model over all images: raw figures, label maps counted, and features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

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
from translatekit.inference.inputs import as_deep_as_output
from translatekit.inference.predictor import Predictor
from translatekit.inference.stages import batched
from translatekit.interfaces import MetricImages
from translatekit.metrics.pairs import measure_pairs
from translatekit.metrics.sets import without_invalid
from translatekit_tools.evaluate.choice import Extractor
from translatekit_tools.evaluate.images import Images, Sample
from translatekit_tools.evaluate.models import check_channels
from translatekit_tools.evaluate.protocols import digest
from translatekit_tools.evaluate.tools import Tools


@dataclass
class Measured:
    """Raw figures of one model: by image, or as confusions of label maps, or as features by their extractor.

    Attributes:
        values: by metric, (N,); NaN for an image of which no pixel counts.
        confusions: by what was compared, (N, classes, classes).
        features: (N, D).
        counted: of each image, the share of its pixels that count; empty where all do.
        digests: of each image, those of its input and of its target with the pixels that count.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    confusions: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[Extractor, Tensor] = field(default_factory=dict)
    counted: list[float] = field(default_factory=list)
    digests: list[tuple[bytes, bytes]] = field(default_factory=list)

    @classmethod
    def joined(cls, parts: Sequence[Measured]) -> Measured:
        """What was measured of some images after others, as if of all of them."""
        return cls(
            {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
            {name: np.concatenate([part.confusions[name] for part in parts]) for name in parts[0].confusions},
            {key: torch.cat([part.features[key] for part in parts]) for key in parts[0].features},
            [share for part in parts for share in part.counted],
            [each for part in parts for each in part.digests],
        )


@dataclass(slots=True)
class _PendingImage:
    """An image whose translation is measured."""

    sample: Sample
    request: Request


def real_features(images: Images, tools: Tools, batch_size: int) -> tuple[dict[Extractor, Tensor], str]:
    """The features of all real images, by their extractor; and the digest of those that belong to no input."""
    found: dict[Extractor, list[Tensor]] = {}
    digests: list[bytes] = []
    if not tools.metrics.sets:
        return {}, ""
    spec = images.data.specs[images.target]
    if images.paired:
        for samples in batched(images.items(), batch_size):
            targets, valid = np.stack([sample.target for sample in samples]), _valid(samples)
            _extract(_metric_images(targets, spec, tools.device, valid), tools, found)
    else:
        for targets in images.others(batch_size):
            digests += map(_digest, targets)
            _extract(_metric_images(targets, spec, tools.device), tools, found)
    return {key: torch.cat(parts) for key, parts in found.items()}, digest(digests) if digests else ""


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
    features: dict[Extractor, list[Tensor]] = {}
    counted: list[float] = []
    digests: list[tuple[bytes, bytes]] = []
    finished = 0
    spec = images.data.specs[images.target]
    asked = (_asked(predictor, sample) for sample in images.items())
    for batch in batched(predictor.run(asked), batch_size):
        samples = [one.sample for one in batch]
        inputs, targets = (np.stack([getattr(one, side) for one in samples]) for side in ("source", "target"))
        valid = _valid(samples)
        outputs = np.stack([one.request.result() for one in batch])
        if images.paired and outputs.shape != targets.shape:
            raise DataError(
                f"the model gives images of {outputs.shape[3]} channels and the targets have {targets.shape[3]}: "
                "pass the --dataset and --dataset-option it was trained with"
            )
        made = _metric_images(outputs, spec, tools.device, valid)
        digests += [(_digest(one.source), _digest(one.target, one.valid)) for one in samples]
        if valid is not None:
            counted += valid.mean(axis=(1, 2)).tolist()
        if images.paired:
            wanted = _metric_images(targets, spec, tools.device, valid)
            for name, value in measure_pairs(tools.metrics.pairs, made, wanted).items():
                values.setdefault(name, []).append(value.cpu().numpy())
        _extract(made, tools, features)
        if tools.palette and tools.target_is_labels:
            confusions.setdefault("", []).append(
                _confusions(to_uint8(outputs), to_uint8(targets), tools.palette, valid)
            )
        if tools.palette and tools.segmenter:
            for prefix, maps in (("fcn_", outputs), ("fcn_real_", targets)):
                check_channels(maps, tools.segmenter.info)
                segmented = np.stack(list(tools.segmenter.predict(maps)))
                confusions.setdefault(prefix, []).append(
                    _confusions(to_uint8(segmented), to_uint8(inputs), tools.palette, valid)
                )
        finished += len(inputs)
        done(finished)
    return Measured(
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: np.concatenate(parts) for name, parts in confusions.items()},
        {key: torch.cat(parts) for key, parts in features.items()},
        counted,
        digests,
    )


def _digest(*arrays: np.ndarray | None) -> bytes:
    """Of an image, and of what belongs to it."""
    whole = blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            whole.update(f"{array.dtype}{array.shape}".encode())
            whole.update(np.ascontiguousarray(array).data)
    return whole.digest()


def _valid(samples: Sequence[Sample]) -> np.ndarray | None:
    """(N, H, W), bool: the pixels of a batch that count; None where all do."""
    given = [sample.valid for sample in samples if sample.valid is not None]
    return np.stack(given) if given else None


@torch.no_grad()
def _extract(images: MetricImages, tools: Tools, found: dict[Extractor, list[Tensor]]) -> None:
    images = without_invalid(images)
    for extractor in tools.metrics.extractors:
        found.setdefault(extractor, []).append(extractor(images).cpu())


def _asked(predictor: Predictor, sample: Sample) -> _PendingImage:
    check_channels(sample.source, predictor.info)
    pixels = as_deep_as_output(sample.source, predictor.info, predictor.dtypes)
    return _PendingImage(sample, predictor.request(pixels))


def _confusions(
    found: np.ndarray, wanted: np.ndarray, classes: list[PaletteClass], valid: np.ndarray | None
) -> np.ndarray:
    palette = Palette.of(classes)
    counts = np.ones(found.shape[:3], bool) if valid is None else valid
    return np.stack(
        [
            confusion(palette.nearest(one)[there], palette.nearest(other)[there], len(classes))
            for one, other, there in zip(found, wanted, counts, strict=True)
        ]
    )


def _metric_images(
    images: np.ndarray, spec: ImageSpec, device: torch.device, valid: np.ndarray | None = None
) -> MetricImages:
    """Arrays (N, H, W, C) of a spec, of which pixels (N, H, W) count, as metrics take them."""
    values = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    if spec.levels:
        values = values / (127.5 if images.dtype == np.uint8 else 0.5) - 1
    return MetricImages(values, spec, None if valid is None else torch.from_numpy(valid).to(device)[:, None])


def confusion(found: np.ndarray, wanted: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix (classes, classes): pixels of each true class (rows) by predicted class (columns)."""
    joint = wanted.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(joint, minlength=classes**2).reshape(classes, classes)
