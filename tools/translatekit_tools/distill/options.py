"""The options of distillation; no torch is imported for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from translatekit.config import RunConfig, option
from translatekit.errors import OptionError
from translatekit.model_info import ModelInfo
from translatekit.options import LARGEST_SEED, LARGEST_SIDE, Pattern
from translatekit.registry import registry
from translatekit.specs import DataKind

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
    teacher_every: int | None = option(
        None,
        "Ask the teacher in one step of so many, and learn in the others from what it has said lately; 4 when not "
        "given, and 1 with --train-teacher.",
        _GROUP,
        minimum=1,
        maximum=64,
    )
    teacher_also: tuple[str, ...] = option(
        (),
        "A further teacher of the same task, such as a deeper and narrower one, whose outputs count as much.",
        _GROUP,
        metavar="MODEL",
        multiple=True,
    )
    train_teacher: bool = option(
        False,
        "Go on with the teacher's own training, a step for each of the student's (online distillation); its run stays "
        "as it is.",
        _GROUP,
    )
    start: Literal["teacher", "random"] = option(
        "teacher",
        "The student's first weights: the teacher's most important channels, or random ones.",
        _GROUP,
    )

    def asks_every(self) -> int:
        """In one step of how many the teacher is asked.

        Raises:
            OptionError: less than always, of a teacher that changes.
        """
        if self.train_teacher and self.teacher_every not in (None, 1):
            raise OptionError(
                f"--teacher-every {self.teacher_every} learns from what the teacher has said before, and with "
                "--train-teacher it says something else after each step: leave out one of the two"
            )
        return self.teacher_every or (1 if self.train_teacher else 4)


@dataclass(kw_only=True)
class DistillOptions(LossOptions):
    """What the method can be told."""

    teacher: str | None = option(
        None, "The trained model to learn from, a .safetensors file.", _GROUP, metavar="FILE"
    )
    teacher_hash: str | None = option(
        None,
        "Of that file and those of the further teachers; noted down, so that no others are gone on with.",
        _GROUP,
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


def check_same_task(teacher: object, info: ModelInfo, other: object, other_info: ModelInfo) -> None:
    """Refuse a further teacher that does something else.

    Raises:
        OptionError: it takes or makes other images.
    """
    check_passes(other, other_info)
    if (other_info.input, other_info.output) != (info.input, info.output):
        raise OptionError(
            f"{other} makes {other_info.output} of {other_info.input}, and the teacher {teacher} makes {info.output} "
            f"of {info.input}: give --teacher-also a model of the same task"
        )


def check_own_training(teacher: Path, info: ModelInfo, given: DataKind | None) -> None:
    """Refuse to go on with the training of a teacher where that cannot be.

    Args:
        teacher: its model file.
        info: its header.
        given: what kind of images there is to train on; None for inputs alone.

    Raises:
        OptionError: it lies in no run, not in its run's last state, or its method trains on other images.
        PluginError: its method is not installed.
    """
    folder = teacher.parent
    steps = sorted(int(path.stem[5:]) for path in folder.glob("checkpoints/step-*.pt"))
    if not (folder / "config.toml").is_file() or not steps:
        raise OptionError(
            f"--train-teacher goes on with the run that trained the teacher, and {teacher} lies in none with a "
            "checkpoint: give the run's folder, or leave out --train-teacher"
        )
    if info.step != steps[-1]:
        raise OptionError(
            f"--train-teacher goes on with the run of {teacher} at step {steps[-1]}, and that file is of step "
            f"{info.step}: give {folder / 'model.safetensors'}, or leave out --train-teacher"
        )
    config = RunConfig.from_toml(folder / "config.toml")
    wanted = registry("method").get(config.method).data
    if wanted != given:
        needs = {"paired": "inputs with targets", "unpaired": "images of both sides"}.get(wanted, wanted)
        raise OptionError(
            f"--train-teacher goes on with {config.method}, which needs {needs}: give DATA as the teacher was trained "
            "on, or leave out --train-teacher"
        )
