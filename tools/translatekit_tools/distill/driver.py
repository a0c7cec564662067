"""From a trained model to a small one: what costs no training, candidates, training, verdict."""

from __future__ import annotations

import json
import math
import re
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from translatekit.config import RunConfig, data_address
from translatekit.errors import OptionError
from translatekit.model_file import find_model, read_info
from translatekit.model_info import ModelInfo
from translatekit.options import check_options, written
from translatekit.registry import registry
from translatekit.storage import hash_file, is_uri, write_atomically
from translatekit.training import train
from translatekit.training.batches import first_batch, make_batches
from translatekit.training.diagnosis import read_entries
from translatekit.training.setup import build, make_fabric, make_optimizer, resolve, resolve_precision
from translatekit_tools.distill.candidates import Bench, Candidate, candidate_of, choose, smaller_forms
from translatekit_tools.distill.method import save_trained_teacher
from translatekit_tools.distill.options import (
    CommandOptions,
    LossOptions,
    check_own_training,
    check_passes,
    check_same_task,
)
from translatekit_tools.distill.page import write_page
from translatekit_tools.distill.verdict import Distilled, Measuring, conclude, name_of
from translatekit_tools.evaluate.models import run_of

_PLAN = "distill.json"
_TIMED_STEPS = 5
_SPLITS = ("train", "trainA", "A")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6}

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The images that a student learns on.

    Attributes:
        root: their folder; None where they are drawn.
        dataset: how they are laid out.
        options: of the dataset.
        targets: whether they have targets that are learned from.
    """

    root: str | None
    dataset: str
    options: dict[str, Any]
    targets: bool


def run(
    model: str | Path | None,
    data: str | Path | None,
    out: Path,
    resume: bool,
    say: Say,
    given: Mapping[str, Any],
) -> Distilled:
    """See `translatekit_tools.distill.distill`."""
    if resume:
        plan = _read_plan(out)
        if model is not None or data is not None or given:
            raise OptionError(f"--resume goes on with {out} as it was begun: leave out all else")
        model, data, given = plan["model"], plan["data"], plan["options"]
    elif model is None:
        raise OptionError("name the model to learn from: translatekit distill MODEL DATA -o small/")
    else:
        model, data = data_address(model), None if data is None else data_address(data)
    options = CommandOptions(**check_options(CommandOptions, given, "distill"))
    _check(options)
    teacher = find_model(model, options.direction)
    info = _check_teacher(teacher)
    options.teacher_also = tuple(
        str(_further_teacher(name, teacher, info, options)) for name in options.teacher_also
    )
    inputs = choose_inputs(teacher, info, data, options)
    if options.train_teacher:
        unpaired = registry("dataset").get(inputs.dataset).provides == "unpaired"
        check_own_training(teacher, info, "paired" if inputs.targets else "unpaired" if unpaired else None)
    say(_how_read(inputs, options))
    if not resume:
        _check_folder(out)
    bench = Bench(
        teacher, options.targets, options.precision, options.image_size or info.size, options.rounds, say
    )
    try:
        if resume:
            for path, known in zip(_teachers(teacher, options), plan["teacher_hashes"], strict=True):
                if hash_file(path) != known:
                    raise OptionError(f"{path} is another model than {out} was begun with: put that back")
            candidates = [_candidate(item) for item in plan["candidates"]]
            chosen = [item for item in candidates if item.chosen]
            steps, epochs = plan["steps"], plan["epochs"]
        else:
            candidates, chosen = _select(info, options, bench, say)
            arguments = _training(teacher, info, inputs, options, chosen[0], 1, 1)
            steps, epochs = _steps(inputs, arguments, seconds_of(options.budget) / len(chosen), say)
            _make_folder(out)
            _write_plan(out, str(model), data, options, teacher, candidates, steps, epochs)
        runs = []
        for item in chosen:
            say(f"training {item.name}: {steps} steps")
            runs.append(
                (
                    item,
                    _train(out, item, _training(teacher, info, inputs, options, item, steps, epochs), inputs),
                )
            )
        final = teacher
        if options.train_teacher:
            final = save_trained_teacher(runs[0][1], teacher, out / "teacher.safetensors")
            say(f"what has become of the teacher lies in {final}")
            bench.exchange_teacher(final)
        made = conclude(
            out,
            teacher,
            final,
            candidates,
            runs,
            bench,
            Measuring(
                root=inputs.root,
                dataset=inputs.dataset,
                options=inputs.options,
                targets=registry("dataset").get(inputs.dataset).provides == "paired" and inputs.targets,
                size=options.image_size or info.size,
                max_images=options.max_images,
            ),
            options,
            most_bytes=None if options.size is None else bytes_of(options.size),
            trained={
                "seconds": sum(_seconds_in(run) for _, run in runs),
                "steps": steps,
                "batch_size": options.batch_size,
                "budget": options.budget,
                "teacher_also": [name_of(Path(path)) for path in options.teacher_also],
                "train_teacher": options.train_teacher,
            },
            say=say,
        )
        write_page(made, next(iter(bench.targets)))
        return made
    finally:
        bench.close()


def seconds_of(text: str) -> float:
    """A time such as ``20min``."""
    number, unit = re.fullmatch(r"([\d.]+)\s*(s|min|h)", text.strip().lower()).groups()  # type: ignore[union-attr]
    return float(number) * _SECONDS[unit]


def bytes_of(text: str) -> int:
    """A size such as ``1MB``, of 1,000,000 bytes."""
    number, unit = re.fullmatch(r"([\d.]+)\s*([KM]?B)", text.strip().upper()).groups()  # type: ignore[union-attr]
    return int(float(number) * _BYTES[unit])


def choose_inputs(teacher: Path, info: ModelInfo, data: str | Path | None, options: CommandOptions) -> Inputs:
    """Which images are learned on, and how they are read.

    A folder that holds a split is laid out as the model was trained, any other is a folder of inputs. Without one, the
    images are those of the run that the model lies in.

    Raises:
        OptionError: there is nothing to learn on.
    """
    trained_on = str(info.data.get("dataset") or "aligned")
    names = registry("dataset").names()
    own: dict[str, Any] = {}
    if data is None:
        folder = run_of(teacher)
        config = None if folder is None else RunConfig.of_model(teacher)
        if config is None and (trained_on not in names or registry("dataset").get(trained_on).folder):
            raise OptionError(f"{teacher} lies in no run: name a folder of images as DATA")
        root = None if config is None else config.data
        dataset = options.dataset or trained_on
        own = dict(config.options.dataset_options) if config is not None and dataset == trained_on else {}
    else:
        root = str(data)
        if not is_uri(root) and not Path(root).expanduser().exists():
            raise OptionError(f"there is no {root}: name a folder of images as DATA")
        laid_out = any((Path(root) / name).is_dir() for name in _SPLITS) or not Path(root).is_dir()
        known = trained_on in names and registry("dataset").get(trained_on).folder
        dataset = options.dataset or (trained_on if laid_out and known else "single")
    spec = registry("dataset").get(dataset)
    if spec.provides == "labelled":
        raise OptionError(f"the dataset {dataset!r} gives nothing to translate: pass another --dataset")
    targets = options.use_targets and spec.provides == "paired" and dataset not in ("single", "taught")
    return Inputs(root=root, dataset=dataset, options=own, targets=targets)


def _how_read(inputs: Inputs, options: CommandOptions) -> str:
    where = inputs.root or "the images that the model was trained on"
    if inputs.dataset == "single":
        return f"learning from the inputs in {where}, without targets"
    if not inputs.targets:
        targets = "without targets"
    elif options.lambda_target or options.lambda_gan:
        targets = "with targets"
    else:
        targets = "with targets to be measured by"
    return f"learning from {where}, read as {inputs.dataset}, {targets}"


def _select(
    info: ModelInfo, options: CommandOptions, bench: Bench, say: Say
) -> tuple[list[Candidate], list[Candidate]]:
    size = options.image_size or info.size
    most = None if options.size is None else bytes_of(options.size)
    if options.student:
        wanted = {**info.generator_options, "dropout": 0.0} if "dropout" in info.generator_options else {}
        named = {**(wanted or info.generator_options), **options.student}
        item = candidate_of(info.generator, named, info.generator_options, size)
        bench.time([item], options.faster, 1)
        item.chosen = True
        return [item], [item]
    candidates = bench.time(
        smaller_forms(info, size, options.faster, most), options.faster, options.students + 1
    )
    return candidates, choose(candidates, options.faster, options.students)


def _training(
    teacher: Path,
    info: ModelInfo,
    inputs: Inputs,
    options: CommandOptions,
    item: Candidate,
    steps: int,
    epochs: int,
) -> dict[str, Any]:
    """The options of the run that trains a student."""
    config = RunConfig.of_model(teacher)
    crop = _crop_size(teacher, info, options)
    load = options.load_size or (config.options.load_size if config is not None else None) or crop
    losses = {name: getattr(options, name) for name in LossOptions.__dataclass_fields__}
    own: dict[str, Any] = dict(inputs.options)
    if not inputs.targets:
        own = {
            "teacher": str(teacher.resolve()),
            "images": inputs.dataset,
            "images_options": inputs.options,
            "answers": False,
        }
    judge: dict[str, Any] = {}
    if config is not None and config.options.discriminator is not None:
        judge = {
            "discriminator": config.options.discriminator,
            "discriminator_options": config.options.discriminator_options,
        }
        if hasattr(config.method_options, "adversarial"):
            judge["adversarial"] = config.method_options.adversarial
    skip = ("in_channels", "out_channels")
    return {
        **losses,
        **judge,
        "teacher_every": options.asks_every(),
        "teacher": str(teacher.resolve()),
        "steps": steps,
        "dataset": inputs.dataset if inputs.targets else "taught",
        "dataset_options": own,
        "direction": info.direction if info.direction in ("AtoB", "BtoA") else "AtoB",
        "generator": info.generator,
        "generator_options": {key: value for key, value in item.options.items() if key not in skip},
        "norm_inference": info.norm_inference,
        "flip": config is None or config.options.flip,
        "load_size": max(load, crop),
        "crop_size": crop,
        "batch_size": options.batch_size,
        "lr": options.lr,
        "seed": options.seed,
        "epochs": epochs,
        "epochs_decay": 0,
        "max_steps": steps,
        "sample_every": max(1, steps // 8),
        "log_every": max(1, min(50, steps // 20)),
        "validate_every": 0,
    }


def _crop_size(teacher: Path, info: ModelInfo, options: CommandOptions) -> int:
    config = RunConfig.of_model(teacher)
    return options.crop_size or (info.size if config is None else config.options.crop_size)


def _steps(inputs: Inputs, arguments: dict[str, Any], seconds: float, say: Say) -> tuple[int, int]:
    """How many steps fit into a time, by a few of them, and how many epochs these are, begun ones counted.

    An epoch has whole batches only: images that do not fill one are left for the next epoch.
    """
    say("measuring a step of the training")
    config, _, _ = resolve("distill", inputs.root, None, None, {**arguments, "output": None})
    resolve_precision(config.options)
    fabric = make_fabric(config.options)
    parts = build(config, fabric)
    parts.method.setup(fabric, partial(make_optimizer, options=config.options), lambda network: network)
    times = []
    every = int(arguments["teacher_every"])  # of so many steps, one costs more
    for _ in range(_TIMED_STEPS + 1):
        start = time.perf_counter()
        for _ in range(every):
            parts.method.step(fabric.to_device(first_batch(parts.data, config.options.batch_size)))
        times.append((time.perf_counter() - start) / every)
    steps = max(1, int(seconds / statistics.median(times[1:])))
    return steps, math.ceil(steps / make_batches(parts.data, config.options, fabric).steps_after(0))


def _train(out: Path, item: Candidate, arguments: dict[str, Any], inputs: Inputs) -> Path:
    """Train a student, or go on with it; its run's folder."""
    folder = out / "students" / re.sub(r"[^a-z0-9]+", "-", item.name.lower()).strip("-")
    if (folder / "config.toml").is_file():
        model = folder / "model.safetensors"
        if not model.is_file() or read_info(model).step < arguments["max_steps"]:
            train(resume=folder)
        return folder
    folder.parent.mkdir(exist_ok=True)
    train("distill", inputs.root, **arguments, output=str(folder))
    return folder


def _seconds_in(run: Path) -> float:
    """How long a run has been trained, all times that it was gone on with together."""
    return max(
        (float(entry.get("seconds", 0.0)) for entry in read_entries(run / "metrics.jsonl")), default=0.0
    )


def _check(options: CommandOptions) -> None:
    known = [entry.spec.name for entry in registry("backend").entries()]
    for name in options.targets:
        if name not in (*known, "web"):
            raise OptionError(f"--for {name} is no backend: choose from {', '.join([*known, 'web'])}")
    options.asks_every()
    if options.student and options.students > 1:
        raise OptionError(
            f"--student says what the one student is, and --students {options.students} asks for several: leave out "
            "one of the two"
        )
    if options.train_teacher and options.students > 1:
        raise OptionError(
            f"--train-teacher with --students {options.students} would train another teacher for each: leave out one "
            "of the two"
        )


def _further_teacher(name: str, teacher: Path, info: ModelInfo, options: CommandOptions) -> Path:
    """The model file of a further teacher.

    Raises:
        OptionError: it is none to learn from, or does something else than the teacher.
    """
    path = find_model(name, options.direction).resolve()
    other = _check_teacher(path)
    check_same_task(teacher, info, path, other)
    crop = _crop_size(teacher, info, options)
    if crop % other.size_multiple:
        raise OptionError(
            f"{path} takes sides that are multiples of {other.size_multiple}, and the student is trained on crops of "
            f"{crop}: pass --crop-size {math.ceil(crop / other.size_multiple) * other.size_multiple}"
        )
    return path


def _teachers(teacher: Path, options: CommandOptions) -> list[Path]:
    return [teacher, *map(Path, options.teacher_also)]


def _check_teacher(path: Path) -> ModelInfo:
    if path.suffix != ".safetensors":
        raise OptionError(
            f"{path} is compiled, and no network to learn from: give the model file it was made of"
        )
    info = read_info(path)
    if info.source != "image":
        raise OptionError(
            f"{path} draws images from noise, and a student learns to translate: give a translator"
        )
    check_passes(path, info)
    return info


def _check_folder(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(
            f"{out} exists already and nothing in it will be overwritten: choose another with -o, or go on with it by "
            "--resume"
        )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{out} cannot be written ({error.strerror}): choose another with -o") from None


def _write_plan(
    out: Path,
    model: str,
    data: str | Path | None,
    options: CommandOptions,
    teacher: Path,
    candidates: list[Candidate],
    steps: int,
    epochs: int,
) -> None:
    plan = {
        "model": model,
        "data": None if data is None else str(data),
        "teacher_hashes": [hash_file(path) for path in _teachers(teacher, options)],
        "options": {name: written(value) for name, value in asdict(options).items()},
        "steps": steps,
        "epochs": epochs,
        "candidates": [asdict(item) for item in candidates],
    }
    write_atomically(out / _PLAN, json.dumps(plan, indent=1).encode())


def _read_plan(out: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads((out / _PLAN).read_bytes())
        return {
            name: plan[name]
            for name in ("model", "data", "teacher_hashes", "options", "steps", "epochs", "candidates")
        }
    except (OSError, ValueError, KeyError):
        raise OptionError(f"{out} holds no distillation to go on with: begin one without --resume") from None


def _candidate(fields: dict[str, Any]) -> Candidate:
    from translatekit_tools.distill.candidates import Timing

    timings = {key: Timing(**item) for key, item in fields.pop("timings").items()}
    return Candidate(**fields, timings=timings)
