"""Protocols: how figures are measured, so that only like is compared with like; no torch is imported for them."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from translatekit.errors import OptionError
from translatekit.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A stated procedure.

    Attributes:
        name: as it is given to ``--protocol``.
        summary: one line.
        metrics: what it measures, or some of it where ``--metrics`` says so; None for all that can be had.
        features: what FID and KID compare images by; None where it measures neither.
        size: pixels a side at which images are measured; None for that of the model's training.
        segmenter: whether a network must read label maps from the outputs.
    """

    name: str
    summary: str
    metrics: tuple[str, ...] | None = None
    features: str | None = None
    size: int | None = None
    segmenter: bool = False


PROTOCOLS = (
    Protocol(
        name="own",
        summary="all that can be had, with FID and KID by translatekit's own features, which need no download",
        features="own",
    ),
    Protocol(
        name="inception",
        summary="FID and KID as first published: the Inception of 2015, resized as TensorFlow 1 did "
        "(Heusel et al., 2017)",
        metrics=("fid", "kid"),
        features="inception",
    ),
    Protocol(
        name="clean-fid",
        summary="the same network, resized with antialiasing (Parmar et al., 2022)",
        metrics=("fid", "kid"),
        features="clean-fid",
    ),
    Protocol(
        name="cut",
        summary="as CUT was measured: 256 pixels, the same network resized as the package pytorch-fid does "
        "(Park et al., 2020)",
        metrics=("fid",),
        features="pytorch-fid",
        size=256,
    ),
    Protocol(
        name="fcn",
        summary="the FCN score: label maps that --segmenter reads from the outputs, at 256 pixels (Isola et al., 2017)",
        metrics=("pixel_accuracy", "class_accuracy", "mean_iou"),
        size=256,
        segmenter=True,
    ),
    Protocol(
        name="lpips",
        summary="the distance of AlexNet's features, at 256 pixels (Zhang et al., 2018)",
        metrics=("lpips",),
        size=256,
    ),
)


def protocol_names() -> list[str]:
    """Their names."""
    return [protocol.name for protocol in PROTOCOLS]


def digest(parts: Iterable[bytes]) -> str:
    """Of images, by the digests of each, in their order."""
    whole = blake2b(digest_size=16)
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def described(name: str | None, metrics: Mapping[str, Mapping[str, str]], **seeds: int) -> dict[str, Any]:
    """What figures depend on besides models and images.

    Args:
        name: of the protocol, where one was asked for.
        metrics: what each says of itself.
        seeds: what decides the intervals.
    """
    from importlib.metadata import version

    packages = {name: version(name) for name in ("torch", "torchmetrics", "timm", "pillow")}
    return {
        "name": name,
        **seeds,
        "metrics": {metric: dict(facts) for metric, facts in metrics.items()},
        "versions": {"translatekit": __version__, "python": platform.python_version(), **packages},
    }


_IMAGES = {
    "data": "other data",
    "split": "another split",
    "images": "another number of images",
    "size": "images of another size",
    "inputs": "other inputs",
    "targets": "other targets",
}


def check_alike(here: Mapping[str, Any], there: Mapping[str, Any], names: Sequence[str], file: str) -> None:
    """Refuse to put figures side by side that were not measured alike.

    Args:
        here, there: the protocols of this evaluation and of an earlier one.
        names: the metrics that both have.
        file: the earlier one's, for the sentence.

    Raises:
        OptionError: they differ in what figures depend on.
    """
    for key, words in _IMAGES.items():
        if key != "data" and here.get(key) != there.get(key):
            raise OptionError(
                f"{file} was measured on {words} ({there.get(key)}, here {here.get(key)}): its figures cannot be set "
                "beside these; measure its model again on these images"
            )
    for name in names:
        mine, other = (protocol["metrics"].get(name, {}) for protocol in (here, there))
        for key in mine.keys() | other.keys():
            if mine.get(key) != other.get(key):
                raise OptionError(
                    f"{name} was measured otherwise in {file} ({key}: {other.get(key)}, here {mine.get(key)}): choose "
                    "the same --protocol, --features, --segmenter, --palette or --temporal, or measure its model again"
                )
