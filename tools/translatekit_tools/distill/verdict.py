"""What a student is worth: time, size and quality beside its teacher's, and whether that is what was asked for."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from translatekit.errors import TranslatekitError
from translatekit.model_file import read_info, save_model
from translatekit.storage import hash_file, write_atomically
from translatekit_tools.distill.candidates import Bench, Candidate, Timing
from translatekit_tools.distill.options import CommandOptions
from translatekit_tools.evaluate import evaluate
from translatekit_tools.evaluate.result import ModelResult
from translatekit_tools.evaluate.statistics import Estimate

_METRICS = ("l1", "psnr", "ssim")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The images that quality is measured on.

    Attributes:
        root, dataset, options: where they are and how they are read.
        targets: whether they have targets.
        size: pixels a side.
        max_images: how many at most.
    """

    root: str | None
    dataset: str
    options: dict[str, Any]
    targets: bool
    size: int
    max_images: int | None


@dataclass(kw_only=True)
class Row:
    """One model in the table.

    Attributes:
        name: what it is called.
        kind: ``teacher``, ``compiled`` (the teacher in another precision), ``student`` or ``timed`` (not trained).
        bytes: of the weights in half precision, or of the compiled file of the teacher in another one.
        timings: by runtime and precision.
        to_teacher: L1, PSNR and SSIM to the teacher's outputs; of a compiled one, the PSNR to those in fp32.
        to_targets: the same to the targets, where there are any.
        difference: of the figures to the targets, from the teacher's.
        shortcomings: what was asked for and not reached; one sentence each.
    """

    name: str
    kind: str
    bytes: int
    timings: dict[str, Timing] = field(default_factory=dict)
    to_teacher: dict[str, Estimate] = field(default_factory=dict)
    to_targets: dict[str, Estimate] = field(default_factory=dict)
    difference: dict[str, Estimate] = field(default_factory=dict)
    shortcomings: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Distilled:
    """What a distillation made.

    Attributes:
        folder: all of it.
        model: the student; None where none is what was asked for.
        summary: of the best student, as its file says it.
        rows: the table.
        split, images: what quality was measured on, and how many.
        trained: seconds, steps, batch size and budget.
        page, picture: of all this.
    """

    folder: Path
    model: Path | None
    summary: str
    rows: list[Row]
    split: str
    images: int
    trained: dict[str, Any]
    page: Path
    picture: Path

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        content = asdict(self)
        return {name: str(value) if isinstance(value, Path) else value for name, value in content.items()}


def conclude(
    out: Path,
    teacher: Path,
    final: Path,
    candidates: Sequence[Candidate],
    runs: Sequence[tuple[Candidate, Path]],
    bench: Bench,
    measuring: Measuring,
    options: CommandOptions,
    *,
    most_bytes: int | None,
    trained: dict[str, Any],
    say: Say,
) -> Distilled:
    """Measure students beside their teacher, and write the best of those that are what was asked for.

    Args:
        out: the folder to write to.
        teacher: that the distillation began with.
        final: what they are measured by: the teacher, or what has become of it where it was trained, too.
        candidates: that were timed.
        runs: the trained ones and their runs.
        bench: of the final teacher.
        measuring: the images.
        options: what was asked for.
        most_bytes: of weights in half precision; None for any.
        trained: what is said of the training.
        say: told what is being done.
    """
    key = next(iter(bench.targets))
    teacher_file, _, _ = bench.teachers[key]
    size = 2 * sum(tensor.numel() for tensor in load_file(final).values())
    more = f" after {trained['steps']} more steps" if final != teacher else ""
    first = Row(name=f"teacher{more}", kind="teacher", bytes=size)
    for name, (_, translator, compiled_bytes) in bench.teachers.items():
        first.timings[name] = replace(bench.side_by_side(translator, translator, compiled_bytes), faster=1.0)
    rows = [first]
    for choice in bench.choices(options.int8):
        timed = bench.side_by_side(
            bench.teachers[bench.key_of(choice.backend)][1], choice.translator, choice.bytes
        )
        rows.append(
            Row(
                name=f"teacher, {words_of(f'{choice.backend} {choice.precision}')}",
                kind="compiled",
                bytes=choice.bytes,
                timings={f"{choice.backend} {choice.precision}": timed},
                to_teacher={"psnr": Estimate(choice.psnr)},
            )
        )
    split, images = "", 0
    for item, run in runs:
        say(f"measuring {item.name}")
        row = Row(name=item.name, kind="student", bytes=item.bytes)
        files = bench.time_file(run / "model.safetensors", item)
        row.timings = item.timings
        found = _measure([files[key]], measuring, teacher=teacher_file)
        row.to_teacher, split, images = found.models[0].metrics, found.split, found.images
        if measuring.targets:
            found = _measure([teacher_file, files[key]], measuring)
            first.to_targets = _own(found.models[0])
            row.to_targets, row.difference = _own(found.models[1]), found.models[1].differences
        row.shortcomings = shortcomings(row, options, most_bytes)
        rows.append(row)
    rows += [
        Row(name=item.name, kind="timed", bytes=item.bytes, timings=item.timings)
        for item in candidates
        if not item.chosen and item.timings
    ]
    students = [row for row in rows if row.kind == "student"]
    reached = [row for row in students if not row.shortcomings]
    best = max(reached or students, key=lambda row: row.to_teacher["psnr"].value)
    summary = sentence(best, bench, split, images, more)
    model = None
    if reached:
        model = out / "model.safetensors"
        run = runs[students.index(best)][1]
        _write(model, run / "model.safetensors", teacher, final, best, summary, trained, measuring.size)
    made = Distilled(
        folder=out,
        model=model,
        summary=summary,
        rows=rows,
        split=split,
        images=images,
        trained=trained,
        page=out / "index.html",
        picture=out / "pareto.svg",
    )
    write_atomically(out / "verdict.json", json.dumps(made.to_dict(), indent=1).encode())
    return made


def shortcomings(row: Row, options: CommandOptions, most_bytes: int | None) -> list[str]:
    """What was asked for and not reached; one sentence each."""
    found = [
        f"it is {timing.faster:.1f} times as fast in {name}, and {options.faster:g} were asked for"
        for name, timing in row.timings.items()
        if timing.faster < options.faster
    ]
    if most_bytes is not None and row.bytes > most_bytes:
        found.append(f"its weights are {row.bytes:,} bytes, and {most_bytes:,} were asked for")
    l1 = row.difference.get("l1")
    if l1 is not None and l1.low is not None and l1.low > 0:
        found.append(
            f"its L1 to the targets is {l1.value:.4f} above its teacher's [{l1.low:.4f}, {l1.high:.4f}]"
        )
    if options.min_psnr is not None and row.to_teacher["psnr"].value < options.min_psnr:
        found.append(
            f"its outputs are {row.to_teacher['psnr'].value:.1f} dB from its teacher's, and {options.min_psnr:g} were "
            "asked for"
        )
    return found


def sentence(row: Row, bench: Bench, split: str, images: int, more: str = "") -> str:
    """A student in a sentence, with the machine that it was timed on."""
    faster = " and ".join(
        f"{timing.faster:.1f}x faster in {words_of(key)}" for key, timing in row.timings.items()
    )
    size = "x".join(map(str, bench.image.shape[2:0:-1]))
    text = f"{faster} at {size} on {machine()}; {row.bytes / 1e6:.2f} MB in half precision; "
    text += f"{row.to_teacher['psnr'].value:.1f} dB from its teacher's outputs{more}"
    if row.to_targets:
        own, gap = row.to_targets["l1"], row.difference["l1"]
        text += f"; L1 to the targets {_interval(own)}, its teacher's plus {_interval(gap)}"
    return f"{text}; on {images} {split} images"


def machine() -> str:
    """This machine's processor, in words."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def name_of(model: Path) -> str:
    """What a model is called: as its run, or as its file."""
    return model.resolve().parent.name if model.stem == "model" else model.stem


def words_of(key: str) -> str:
    """A backend and its precision, as people write them."""
    name, _, precision = key.rpartition(" ")
    titles = {
        "openvino": "OpenVINO",
        "onnxruntime": "ONNX Runtime",
        "tensorrt": "TensorRT",
        "torch": "PyTorch",
    }
    return f"{titles.get(name, name)} {precision}"


def _interval(item: Estimate) -> str:
    return f"{item.value:.3f}" + ("" if item.low is None else f" [{item.low:.3f}, {item.high:.3f}]")


def _own(model: ModelResult) -> dict[str, Estimate]:
    return {name: model.metrics[name] for name in _METRICS if name in model.metrics}


def _measure(files: Sequence[Path], measuring: Measuring, teacher: Path | None = None) -> Any:
    """Evaluate on the validation images, or on those of the training where there are no others."""
    dataset, options = measuring.dataset, dict(measuring.options)
    if teacher is not None:
        dataset = "taught"
        options = {"teacher": str(teacher), "images": measuring.dataset, "images_options": measuring.options}
    error: TranslatekitError | None = None
    for split in ("val", "train"):
        try:
            return evaluate(
                files[0],
                measuring.root,
                compare=list(files[1:]),
                dataset=dataset,
                dataset_options=options,
                split=split,
                size=measuring.size,
                metrics=_METRICS,
                max_images=measuring.max_images,
                batch_size=1,
            )
        except TranslatekitError as found:
            if "images: pass --split train" not in str(found):
                raise
            error = found
    assert error is not None
    raise error


def _write(
    model: Path,
    trained: Path,
    teacher: Path,
    final: Path,
    row: Row,
    summary: str,
    training: dict[str, Any],
    size: int,
) -> None:
    """Write the student: made for the size that it was timed and measured at, whatever it was trained at."""
    info = read_info(trained)
    distilled = {
        "teacher": name_of(teacher),
        "teacher_hash": hash_file(final),
        "summary": summary[:1000],
        "faster": {name: round(timing.faster, 2) for name, timing in row.timings.items()},
        "training": training,
        "trained_size": info.size,
    }
    save_model(model, load_file(trained), replace(info, size=size, distilled=distilled))
