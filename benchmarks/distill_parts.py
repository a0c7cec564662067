"""Which parts of a distillation matter: students side by side, each held to its teacher by other parts of the loss.

    python benchmarks/distill_parts.py runs/teacher facades/ -S width=12 -S blocks=6 --work parts/ --json FILE

All are trained in one process on the same crops in the same order, and the teacher is asked once for all of them, so
that a difference is one of what was learned from. What a step costs is the processor's time of each student's own,
with the teacher's beside it. A student whose teacher is trained beside it has a copy of the teacher to itself, whose
steps are among its own.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import describe
from torch import Tensor
from translatekit_tools.distill.method import Distill
from translatekit_tools.evaluate import evaluate

from translatekit.model_file import find_model, read_info, save_model
from translatekit.options import parse_assignments, written
from translatekit.training.batches import make_batches, make_loader
from translatekit.training.setup import build, make_fabric, make_optimizer, resolve, resolve_precision

NONE: dict[str, Any] = {
    "lambda_output": 0.0,
    "lambda_ssim": 0.0,
    "lambda_features": 0.0,
    "lambda_target": 0.0,
    "lambda_gan": 0.0,
}
OUTPUT, SSIM, FEATURES, TARGET, GAN = (
    {"lambda_output": 50.0},
    {"lambda_ssim": 5.0},
    {"lambda_features": 5.0},
    {"lambda_target": 50.0},
    {"lambda_gan": 1.0},
)
INNER = OUTPUT | SSIM | FEATURES
RANDOM = {"start": "random"}
VARIANTS: dict[str, dict[str, Any]] = {
    "targets alone, random start": NONE | TARGET | RANDOM,
    "output": NONE | OUTPUT,
    "output, SSIM": NONE | OUTPUT | SSIM,
    "output, features": NONE | OUTPUT | FEATURES,
    "output, discriminator": NONE | OUTPUT | GAN,
    "output, targets": NONE | OUTPUT | TARGET,
    "output, SSIM, features": NONE | INNER,
    "output, SSIM, features, discriminator": NONE | INNER | GAN,
    "output, SSIM, channel means of features": NONE | INNER,
    "output, SSIM, features, a second teacher": NONE | INNER,
    "output, SSIM, features, the teacher training alongside": NONE | INNER | {"train_teacher": True},
    "output, SSIM, features, targets": NONE | INNER | TARGET,
    "output, SSIM, features, targets, random start": NONE | INNER | TARGET | RANDOM,
}
METRICS = ("l1", "psnr", "ssim")
TRAINED = "teacher-trained-on"


@dataclass
class Student:
    """One student, and what its steps have cost.

    Attributes:
        method: that trains it.
        milliseconds: of the processor, a step without the teacher's.
    """

    method: Distill
    milliseconds: list[float] = field(default_factory=list)


class Shared:
    """A teacher that is asked once for all students of a step.

    Args:
        students: whose layers are compared with its own.
    """

    def __init__(self, students: Mapping[str, Student]) -> None:
        self.milliseconds: list[float] = []
        self._asking = max(
            (student.method for student in students.values() if student.method.training is None),
            key=lambda item: len(item.layers),
        )
        self._ask = self._asking._ask
        self._answer: tuple[list[Tensor], dict[Any, Tensor]]
        for student in students.values():
            if student.method.training is None:
                student.method.teacher = self._asking.teacher
                student.method._ask = partial(self._answered, student.method)  # type: ignore[method-assign]

    def ask(self, x: Tensor) -> None:
        """Ask it about a batch."""
        start = time.process_time()
        self._answer = self._ask(x)
        self.milliseconds.append(1e3 * (time.process_time() - start))

    @torch.no_grad()
    def _answered(self, method: Distill, x: Tensor) -> tuple[list[Tensor], dict[Any, Tensor]]:
        """What it has said, and what a student's further teachers say."""
        taught, features = self._answer
        with method.fabric.autocast():
            return [*taught, *(other(x).float() for other in method.others)], features


def _pooled(features: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
    """The mean of each channel, as OMGD compares features."""
    return {name: value.mean((2, 3), keepdim=True) for name, value in features.items()}


def main() -> None:
    """Train, measure, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("teacher", help="a run's folder or a model file")
    parser.add_argument("data", help="a folder of pairs, as the teacher was trained on")
    parser.add_argument("-S", "--student", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--also", help="the second teacher; without one, no student has it")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--load-size", type=int, default=286)
    parser.add_argument("--crop-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--size", type=int, default=256, help="pixels a side that quality is measured at")
    parser.add_argument("--images", type=int, default=100, help="validation images")
    parser.add_argument("--answers", help="the teacher compiled, to measure nearness with; it itself else")
    parser.add_argument("--features", help="what KID and FID compare by, such as own")
    parser.add_argument("--only", action="append", help="a variant by name; all else")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the students")
    parser.add_argument("--note", action="append", default=[], help="a sentence to keep with the figures")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()

    torch.set_flush_denormal(True)
    teacher = find_model(arguments.teacher)
    arguments.work.mkdir(parents=True, exist_ok=True)
    wanted = {name: VARIANTS[name] for name in arguments.only or VARIANTS}
    if arguments.also is None:
        wanted = {name: losses for name, losses in wanted.items() if "second teacher" not in name}
    trained = arguments.work / "trained.json"
    if not trained.is_file():
        trained.write_text(json.dumps(_train(arguments, teacher, wanted)))
    costs = json.loads(trained.read_text())
    files = [arguments.work / f"{_slug(name)}.safetensors" for name in wanted]
    trained_on = arguments.work / f"{TRAINED}.safetensors"
    if trained_on.is_file():
        files.append(trained_on)
        wanted[TRAINED] = {}
    result = {
        "machine": describe(),
        "notes": arguments.note,
        "student": arguments.student,
        "crop": arguments.crop_size,
        "size": arguments.size,
        "lr": arguments.lr,
        "steps": costs["steps"],
        "second_teacher": None if arguments.also is None else read_info(arguments.also).generator_options,
        "asking_the_teacher_ms": costs["teacher"],
        **_measure(arguments, teacher, files, list(wanted)),
    }
    for row in result["students"]:
        row |= costs["students"].get(row["name"], {})
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


def _train(
    arguments: argparse.Namespace, teacher: Path, wanted: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Train all students side by side, and write them; what a step has cost."""
    info = read_info(teacher)
    options = {
        "teacher": str(teacher),
        "steps": arguments.steps,
        "teacher_every": 1,
        "dataset": "aligned",
        "direction": info.direction,
        "generator": info.generator,
        "generator_options": dict(parse_assignments(arguments.student, "--student")),
        "norm_inference": info.norm_inference,
        "load_size": arguments.load_size,
        "crop_size": arguments.crop_size,
        "lr": arguments.lr,
        "precision": arguments.precision,
        "validate_every": 0,
    }
    students: dict[str, Student] = {}
    for name, losses in wanted.items():
        also = {"teacher_also": (arguments.also,)} if "second teacher" in name else {}
        given = {**options, **losses, **also, "output": None}
        config, _, _ = resolve("distill", arguments.data, None, None, given)
        resolve_precision(config.options)
        fabric = make_fabric(config.options)
        parts = build(config, fabric)
        parts.method.setup(fabric, partial(make_optimizer, options=config.options), lambda network: network)
        for optimizer in parts.method.optimizers.values():
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        assert isinstance(parts.method, Distill)
        if "channel means" in name:
            compare = parts.method._compare
            parts.method._compare = (  # type: ignore[method-assign]
                lambda own, other, compare=compare: compare(_pooled(own), _pooled(other))
            )
        students[name] = Student(parts.method)
    shared = Shared(students)
    batches = make_batches(parts.data, config.options, fabric)
    loader = make_loader(parts.data, batches, config.options, fabric)
    step, epoch, start = 0, 0, time.perf_counter()
    while step < arguments.steps:
        parts.data.set_epoch(epoch)
        batches.start(epoch, seen=0)
        for batch in loader:
            shared.ask(batch["input"])
            for student in students.values():
                begun = time.process_time()
                for name, optimizer in student.method.optimizers.items():
                    factor = student.method.learning_rate_factor(name, step, epoch)
                    for group in optimizer.param_groups:
                        group["lr"] = group["initial_lr"] * (1.0 if factor is None else factor)
                losses = student.method.step(batch)
                student.milliseconds.append(1e3 * (time.process_time() - begun))
            step += 1
            if step % 50 == 0:
                rate = step / (time.perf_counter() - start)
                print(f"step {step} of {arguments.steps}, {rate:.2f} a second", file=sys.stderr, flush=True)
            if step == arguments.steps:
                break
        epoch += 1
    for name, student in students.items():
        network = student.method.unwrapped["G"]
        header = replace(
            info,
            generator_options=written(network.arguments),
            size_multiple=int(network.size_multiple),  # type: ignore[arg-type]
            step=step,
        )
        save_model(arguments.work / f"{_slug(name)}.safetensors", network.state_dict(), header)
        if student.method.training is not None:
            header = replace(info, step=info.step + step)
            save_model(arguments.work / f"{TRAINED}.safetensors", student.method.teacher.state_dict(), header)
    return {
        "steps": step,
        "teacher": statistics.median(shared.milliseconds),
        "students": {
            name: {
                "step_ms_without_the_teacher": statistics.median(student.milliseconds),
                "asks_the_teacher": _asks(student.method),
            }
            for name, student in students.items()
        },
    }


def _asks(method: Distill) -> bool:
    options = method.options
    return bool(method.layers or options.lambda_output or options.lambda_ssim)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _measure(arguments: argparse.Namespace, teacher: Path, files: list[Path], names: list[str]) -> Any:
    """Quality against targets and against the teacher."""
    answers = arguments.answers or str(teacher)
    common: dict[str, Any] = {
        "max_images": arguments.images,
        "size": arguments.size,
        "batch_size": 1,
    }
    sets = {"metrics": (*METRICS, "kid", "fid"), "features": arguments.features} if arguments.features else {}
    print("measuring against the targets", file=sys.stderr, flush=True)
    found = evaluate(answers, arguments.data, compare=files, **{"metrics": METRICS, **common, **sets})
    print("measuring against the teacher", file=sys.stderr, flush=True)
    taught = {"teacher": str(answers), "images": "aligned"}
    near = evaluate(
        files[0],
        arguments.data,
        compare=files[1:],
        dataset="taught",
        dataset_options=taught,
        metrics=METRICS,
        **common,
    )
    rows: list[dict[str, Any]] = []
    for name, against, close in zip(names, found.models[1:], near.models, strict=True):
        rows.append(
            {
                "name": name,
                "to_targets": {key: item.to_dict() for key, item in against.metrics.items()},
                "difference_to_teacher": {key: item.to_dict() for key, item in against.differences.items()},
                "to_teacher_outputs": {key: item.to_dict() for key, item in close.metrics.items()},
            }
        )
    if files[-1].stem == TRAINED:
        (row,) = (row for row in rows if "alongside" in row["name"])
        trained = {"teacher": str(files[-1]), "images": "aligned"}
        own = files[[item["name"] for item in rows].index(row["name"])]
        near = evaluate(
            own, arguments.data, dataset="taught", dataset_options=trained, metrics=METRICS, **common
        )
        row["to_trained_teacher_outputs"] = {
            key: item.to_dict() for key, item in near.models[0].metrics.items()
        }
    return {
        "images": found.images,
        "teacher": {key: item.to_dict() for key, item in found.models[0].metrics.items()},
        "students": rows,
    }


if __name__ == "__main__":
    main()
