"""The options of distillation; no torch is imported for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from translatekit.config import option
from translatekit.errors import OptionError
from translatekit.model_info import ModelInfo
from translatekit.options import LARGEST_SEED, LARGEST_SIDE, Pattern

_GROUP = "Distillation"


@dataclass(kw_only=True)
class LossOptions:
    """What a student is held to."""

    lambda_output: float = option(50.0, "Weight of L1 to the teacher's outputs.", _GROUP, minimum=0)
    lambda_ssim: float = option(5.0, "Weight of SSIM to the teacher's outputs.", _GROUP, minimum=0)
    lambda_features: float = option(
        5.0, "Weight of the features inside, at each resolution; 0 leaves them out.", _GROUP, minimum=0
    )
    lambda_target: float = option(
        0.0, "Weight of L1 to the targets, where the data have any; 0 leaves it out.", _GROUP, minimum=0
    )
    lambda_gan: float = option(
        0.0,
        "Weight of a discriminator, that of the teacher's run where it is at hand; 0 leaves it out.",
        _GROUP,
        minimum=0,
    )
    teacher_every: int = option(
        4,
        "Ask the teacher in one step of so many, and learn in the others from what it has said lately.",
        _GROUP,
        minimum=1,
        maximum=64,
    )
    start: Literal["teacher", "random"] = option(
        "teacher",
        "The student's first weights: the teacher's most important channels, or random ones.",
        _GROUP,
    )


@dataclass(kw_only=True)
class DistillOptions(LossOptions):
    """What the method can be told."""

    teacher: str | None = option(
        None, "The trained model to learn from, a .safetensors file.", _GROUP, metavar="FILE"
    )
    teacher_hash: str | None = option(
        None, "Of that file; noted down, so that no other is gone on with.", _GROUP
    )
    adversarial: str = option("vanilla", "The adversarial loss, by name.", _GROUP)
    steps: int | None = option(
        None,
        "Steps until the learning rate is zero, from the half of them on; the run's schedule when not given.",
        _GROUP,
        minimum=1,
    )


@dataclass(kw_only=True)
class CommandOptions(LossOptions):
    """Everything ``translatekit distill`` can be told beside the model and where the student goes."""

    faster: float = option(
        10.0, "How many times as fast as its teacher the student is to be.", "Student", minimum=1
    )
    size: Annotated[str | None, Pattern(r"\d{1,6}(\.\d+)?\s*[kKmM]?B", "bytes, such as 800kB or 1MB")] = (
        option(None, "How large its weights may be in half precision.", "Student", metavar="1MB")
    )
    student: dict[str, Any] = option(
        {},
        "An option of the student, such as width=16, instead of a search among the smaller forms of its teacher.",
        "Student",
        flags=("-S", "--student"),
        metavar="KEY=VALUE",
    )
    students: int = option(
        1, "How many are trained, the budget split among them.", "Student", minimum=1, maximum=8
    )
    targets: tuple[str, ...] = option(
        ("openvino",), "What it is to be fast in.", "Student", flags=("--for",), metavar="BACKEND,..."
    )
    precision: Literal["fp32", "bf16", "fp16"] | None = option(
        None,
        "Numbers both compute in; fp16 on a GPU, and fp32 or bf16 on a CPU, whichever is quicker here, when not given.",
        "Student",
    )
    min_psnr: float | None = option(
        None,
        "How near its outputs must be to its teacher's, in dB; with targets, its L1 must not be worse anyway.",
        "Student",
        minimum=0,
        maximum=120,
        metavar="DB",
    )
    image_size: int | None = option(
        None,
        "Pixels a side of the images that are timed; as the model was trained when not given.",
        "Student",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    int8: bool = option(
        True,
        "Also show the teacher in int8, where it is to be fast in OpenVINO and int8 is installed.",
        "Student",
    )
    rounds: int = option(5, "Timings of each, taken in turn.", "Student", minimum=1)

    budget: Annotated[str, Pattern(r"\d+(\.\d+)?\s*(s|min|h)", "a time, such as 90s, 20min or 2h")] = option(
        "20min", "How long training may take.", "Training", metavar="20min"
    )
    dataset: str | None = option(
        None,
        "How DATA is laid out: as the model was trained, or single for a folder of inputs, when not given.",
        "Data",
    )
    use_targets: bool = option(True, "Learn from the targets, too, where the data have any.", "Data")
    load_size: int | None = option(
        None, "Resize to this many pixels a side first.", "Data", minimum=1, maximum=LARGEST_SIDE
    )
    crop_size: int | None = option(
        None,
        "Train on crops of this many pixels a side; as the model was trained when not given.",
        "Data",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    max_images: int | None = option(
        None, "Measure quality on the first so many validation images only.", "Data", minimum=1
    )
    batch_size: int = option(1, "Images a batch.", "Training", minimum=1)
    lr: float = option(1e-3, "Adam's learning rate.", "Training", exclusive_minimum=0)
    seed: int = option(0, "Decides all that is random.", "Training", minimum=0, maximum=LARGEST_SEED)
    direction: str | None = option(None, "Which generator of a run's folder, such as BtoA.", "Data")


def check_passes(teacher: object, info: ModelInfo) -> None:
    """Refuse a teacher that takes several passes: its network alone makes no translation.

    Raises:
        OptionError: it does.
    """
    if info.bridge is not None:
        raise OptionError(
            f"{teacher} takes several passes for an image, and a student learns from the network of one: run it with "
            "translatekit run, and train pix2pix on what it was given and made"
        )
