"""The options of ``translatekit evaluate``; no torch is imported for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from translatekit.augmentation import Fold
from translatekit.bridge import MAX_STEPS
from translatekit.config import option
from translatekit.metrics import metric_names
from translatekit.options import LARGEST_SEED, LARGEST_SIDE, Choices
from translatekit.precision import Precision
from translatekit_tools.evaluate.protocols import protocol_names


def _metrics() -> list[str]:
    """The metrics that images can be measured by, those of videos left out."""
    return metric_names("pairs", "sets", "labels")


@dataclass(kw_only=True)
class EvaluateOptions:
    """What an evaluation can be told."""

    split: str = option("val", "Which images of DATA: train, val or test.", "Data")
    fold: Fold | None = option(
        None,
        "Take the part of the training images that a run with this --fold has left out, as a run's own data are taken.",
        "Data",
        metavar="NUMBER/COUNT",
    )
    dataset: str | None = option(
        None, "How DATA is laid out; as the model was trained, when not given.", "Data"
    )
    dataset_options: dict[str, Any] = option(
        {}, "An option of the dataset.", "Data", flags=("--dataset-option",), metavar="KEY=VALUE"
    )
    size: int | None = option(
        None,
        "Resize to this many pixels a side; else as the model was trained.",
        "Data",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    mask: str | None = option(
        None,
        "A folder of masks named as the images: only pixels that are not 0 in them count. Pixels without a value in "
        "the files never do.",
        "Data",
        metavar="FOLDER",
    )
    max_images: int | None = option(None, "Take the first so many images only.", "Data", minimum=1)

    metrics: tuple[Annotated[str, Choices(_metrics)], ...] | None = option(
        None,
        "What to measure; all that can be had, when not given.",
        "Metrics",
    )
    protocol: Annotated[str, Choices(protocol_names)] | None = option(
        None,
        "Measure by a stated procedure, so that figures can be set beside others by the same one.",
        "Metrics",
    )
    features: str | None = option(
        None,
        "For metrics of features, such as fid: own, inception, clean-fid, pytorch-fid, or a timm model such as "
        "resnet18,path=FILE. Inception when not given, or own where its weights are missing.",
        "Metrics",
        metavar="MODEL",
    )
    download: bool = option(
        False, "Download the weights that a metric needs where they are missing.", "Metrics"
    )
    palette: str | None = option(
        None, "The classes' colours; DATA/palette.json when not given.", "Metrics", metavar="FILE"
    )
    segmenter: str | None = option(
        None,
        "A model from photographs to label maps, to read the outputs with (FCN score).",
        "Metrics",
        metavar="MODEL",
    )
    discriminator: bool = option(
        False, "How often the run's own discriminator is right; MODEL must be a run.", "Metrics"
    )
    resamples: int = option(
        1000, "Bootstrap resamples behind each confidence interval.", "Metrics", minimum=10, maximum=1_000_000
    )
    seed: int = option(0, "Decides the resamples.", "Metrics", minimum=0, maximum=LARGEST_SEED)

    direction: str | None = option(None, "Which of a run's generators, such as BtoA.", "Model")
    backend: str | None = option(
        None,
        "What runs the models where several can, such as openvino for an .onnx; the one whose own file it is when not "
        "given.",
        "Model",
        metavar="NAME",
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:1.", "Model")
    precision: Precision = option(
        "auto", "Numbers to compute with; auto is what a compiled file was made for, and else fp32.", "Model"
    )
    passes: int | None = option(
        None,
        "Passes for an image, of a model that takes several; as many as it was trained for when not given.",
        "Model",
        minimum=1,
        maximum=MAX_STEPS,
    )
    batch_size: int = option(8, "Images at a time.", "Model", minimum=1, maximum=4096)

    report: str | None = option(
        None,
        "Write a page with the figures and the best and worst examples.",
        "Output",
        flags=("-o", "--report"),
        metavar="FILE",
    )
    examples: int = option(
        4, "How many best and how many worst examples the page shows.", "Output", minimum=0
    )
