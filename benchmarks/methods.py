"""Every method on every kind of data for the same time: figures with their protocol, size, speed, and pictures.

    python benchmarks/methods.py --facades path/to/facades --monet2photo path/to/monet2photo --mnist path/to/mnist \\
        --minutes 15 --work runs/methods --json benchmarks/results/methods.json

Each method trains by its own command at small settings until it has used its minutes of the processor, one after the
other. It is stopped as a user would stop it, and measured as it is then. What a folder of an earlier call holds is not
trained again. ``--held`` names pairs that nothing was trained on, for those that the facades trained.

Methods that draw from noise are measured by what is drawn: the share that a classifier of real digits reads as the
class that was asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from machine import describe
from PIL import Image
from stackgan import read_samples, train_classifier
from translatekit_tools.compile import compile_model
from translatekit_tools.evaluate import evaluate

import translatekit
from translatekit.model_file import find_model, read_info

SIDE = 128
SMALL = ("--load-size", "143", "--crop-size", str(SIDE), "--epochs", "100000", "--epochs-decay", "0")
UNET = ("--generator", "unet", "-G", "depth=7", "-G", "width=32", "-D", "width=32")
RESNET = ("-G", "blocks=6", "-G", "width=32", "-D", "width=32")


@dataclass(frozen=True)
class Task:
    """Data, and what is trained on it.

    Attributes:
        name: of the data.
        direction: in which it is translated.
        entries: by the name of a row, the method and its options.
        drawn: whether the data is drawn, and no folder.
        reader: the options of a network that reads label maps from photographs, for the FCN score; None where there
            are none.
        times: as many of the minutes as it is given.
        options: of `evaluate`.
    """

    name: str
    direction: str
    entries: dict[str, tuple[str, ...]]
    drawn: bool = False
    reader: tuple[str, ...] | None = None
    times: float = 1
    options: dict[str, Any] = field(default_factory=dict)


PAIRED = {
    "pix2pix, unet": ("pix2pix", *UNET),
    "pix2pix, unet, features": ("pix2pix", *UNET, "--scales", "3", "--lambda-features", "10"),
    "pix2pix, resnet": ("pix2pix", "--generator", "resnet", *RESNET),
    "pix2pixhd": ("pix2pixhd", "-G", "width=16", "-D", "width=32"),
    "spade": ("spade", "-G", "width=16", "-G", "upsamplings=5", "-G", "hidden=32", "-D", "width=32"),
}
SHALLOW = ("pix2pixhd", "-G", "width=32", "-G", "downsamplings=2", "-D", "width=32")
PARTS = {  # of Pix2PixHD
    "pix2pixhd, nearest": (*PAIRED["pix2pixhd"], "-G", "upsampling=nearest"),
    "pix2pixhd, shallow": SHALLOW,
    "pix2pixhd, shallow, nearest": (*SHALLOW, "-G", "upsampling=nearest"),
    "pix2pixhd, unet": ("pix2pixhd", *UNET, "-D", "norm=batch"),
    "pix2pixhd, shallow, average": (*SHALLOW, "--ema", "0.998"),
    "pix2pix, unet, average": ("pix2pix", *UNET, "--ema", "0.998"),
}
UNPAIRED = {
    "cyclegan": ("cyclegan", *RESNET),
    "cut": ("cut", *RESNET),
    "fastcut": ("fastcut", *RESNET),
    "unsb": ("unsb", "-G", "blocks=6", "-G", "width=32", "-D", "width=32"),
}
DIGIT = 32
DIGITS = ("--load-size", str(DIGIT), "--crop-size", str(DIGIT), "--no-flip", "--batch-size", "64")
DRAWING = {
    "cgan": ("cgan", *DIGITS, "-G", "width=16", "-D", "width=16"),
    "stackgan, stage I": ("stackgan", *DIGITS, "-G", "width=16", "-D", "width=16", "-D", "condition_size=32"),
}
TASKS = (
    Task("drawn", "AtoB", PAIRED, drawn=True, reader=("pix2pix", *UNET, "--direction", "BtoA")),
    Task("facades", "BtoA", PAIRED | PARTS, reader=("pix2pix", *UNET, "--direction", "AtoB")),
    Task("monet2photo", "AtoB", UNPAIRED, times=2, options={"split": "test"}),
    Task("mnist", "", DRAWING),
)
FIGURES = ("l1", "ssim", "kid", "fid", "fcn_pixel_accuracy", "fcn_mean_iou", "held l1", "read right")


def main() -> None:
    """Train, measure, and write what was found after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facades", type=Path, help="the folder of the facades")
    parser.add_argument("--monet2photo", type=Path, help="the folder of monet2photo")
    parser.add_argument("--mnist", type=Path, help="the folder of MNIST's four files")
    parser.add_argument("--held", type=Path, help="a folder of facades that nothing is trained on")
    parser.add_argument(
        "--minutes", type=float, default=15, help="of the processor that each trains for; twice that unpaired"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/methods"), help="where the runs go")
    parser.add_argument("--only", action="append", help="a task, or a task/row; may be repeated")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, help="a folder for a sheet of each task")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {"rows": []}
    for task in TASKS:
        data = None if task.drawn else getattr(arguments, task.name)
        if data is None and not task.drawn:
            continue
        rows = [
            row
            for row in task.entries
            if not arguments.only or {task.name, f"{task.name}/{row}"} & {*arguments.only}
        ]
        if not rows:
            continue
        runs = {row: train(task, data, task.entries[row], row, arguments) for row in rows}
        reader = None if task.reader is None else train(task, data, task.reader, "reader", arguments)
        for row, run in runs.items():
            if task.entries is DRAWING:
                measured = measure_drawn(data, run)
            else:
                measured = measure(task, data, run, reader, arguments.held if reader else None)
            entry = {"data": task.name, "method": row, "minutes": task.times * arguments.minutes}
            kept = [one for one in found["rows"] if any(one[key] != entry[key] for key in entry)]
            entry |= measured
            found = {"machine": describe(), "rows": [*kept, entry]}
            arguments.json.write_text(json.dumps(found, indent=1) + "\n")
        if arguments.pictures and task.entries is not DRAWING:
            draw(task, data, runs, arguments.pictures / f"methods-{task.name}.png")
    print(table(found["rows"]))


def train(
    task: Task, data: Path | None, entry: tuple[str, ...], row: str, arguments: argparse.Namespace
) -> Path:
    """The folder of a run that has trained for the minutes."""
    run: Path = arguments.work / task.name / row.replace(", ", "-")
    done = run / "seconds.txt"
    if done.is_file():
        return run
    method, *options = entry
    direction = () if "--direction" in options or task.reader is None else ("--direction", task.direction)
    command = [sys.executable, "-m", "translatekit", "train", method, *([] if data is None else [str(data)])]
    command += [*SMALL, *options, *direction, "-o", str(run)]
    print(" ".join(command), file=sys.stderr, flush=True)
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    seconds = 0.0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds = processor_seconds(process)
        if seconds > 60 * task.times * arguments.minutes:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(1)
    else:  # such as a run that failed, or one that an earlier call was killed over and that is in the way
        raise SystemExit(
            f"{' '.join(command)} ended with {process.wait()} before its time: remove {run} and try again"
        )
    code = process.wait()
    if not list(run.glob("model*.safetensors")):
        raise SystemExit(f"{' '.join(command)} ended with {code} and left no model")
    done.write_text(f"{seconds:.1f}\n")
    return run


def processor_seconds(process: psutil.Process) -> float:
    """What a process and those that it has started have used."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def measure_drawn(data: Path, run: Path) -> dict[str, Any]:
    """The same of a model that draws digits."""
    model = find_model(run)
    classifier, accuracy = train_classifier(data, DIGIT)
    right = read_samples(run, classifier)
    return {
        "steps": read_info(model).step,
        "seconds": float((run / "seconds.txt").read_text()),
        "bytes": model.stat().st_size,
        "milliseconds": None,
        "figures": {"read right": {"value": right, "low": None, "high": None}},
        "protocol": f"50 samples of each class; the classifier reads {accuracy:.1%} of MNIST's test images right",
    }


def measure(
    task: Task, data: Path | None, run: Path, reader: Path | None, held: Path | None
) -> dict[str, Any]:
    """Figures, size and speed of what a run has learnt."""
    model = find_model(run)
    info = read_info(model)
    options: dict[str, Any] = {
        "protocol": "own",
        "direction": None if task.drawn else task.direction,
        **task.options,
    }
    if reader is not None:
        options["segmenter"] = str(reader)
    evaluation = evaluate(run, data, **options)
    (result,) = evaluation.models
    figures = {name: figure.to_dict() for name, figure in result.metrics.items()}
    if held is not None and not task.drawn:
        (other,) = evaluate(run, held, direction=task.direction, metrics=("l1",)).models
        figures["held l1"] = other.metrics["l1"].to_dict()
    compiled = run / "model.onnx"
    if not compiled.is_file():
        compile_model(run, compiled, direction=options["direction"])
    translator = translatekit.load(compiled)
    batch = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, translator.info.input.count), np.uint8)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        translator(batch)
        times.append(time.perf_counter() - start)
    return {
        "steps": info.step,
        "seconds": float((run / "seconds.txt").read_text()),
        "bytes": model.stat().st_size,
        "milliseconds": 1000 * statistics.median(times[5:]),
        "figures": figures,
        "images": evaluation.images,
        "protocol": evaluation.protocol,
    }


def draw(task: Task, data: Path | None, runs: dict[str, Path], path: Path, count: int = 4) -> None:
    """A sheet: a row an image; its input, what each method makes of it, and its target where there is one."""
    from translatekit_tools.evaluate.images import choose_data, open_images
    from translatekit_tools.evaluate.options import EvaluateOptions

    first = next(iter(runs.values()))
    info = read_info(find_model(first))
    root, options = choose_data(data, EvaluateOptions(**task.options), first, info.whole, [])
    images = open_images(root, options, info.whole)
    samples = [images.item(number) for number in range(count)]
    models = [translatekit.open(run) for run in runs.values()]
    lines = []
    for sample in samples:
        made = [np.asarray(model.translate(sample.source)) for model in models]
        lines.append(np.concatenate([sample.source, *made, *([sample.target] if images.paired else [])], 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, 0)).save(path)


def table(rows: list[dict[str, Any]]) -> str:
    """A table of each data set, as Markdown, with the figures that there are."""
    lines: list[str] = []
    for data, minutes in dict.fromkeys((row["data"], row["minutes"]) for row in rows):
        own = [row for row in rows if (row["data"], row["minutes"]) == (data, minutes)]
        figures = [name for name in FIGURES if any(name in row["figures"] for row in own)]
        lines += [f"{data}, {minutes:g} minutes", ""]
        lines += ["| " + " | ".join(["method", "steps", *figures, "MB", "ms"]) + " |"]
        lines += ["| --- " * (4 + len(figures)) + "|"]
        for row in own:
            cells = [figure_text(row["figures"].get(name)) for name in figures]
            speed = row["milliseconds"]
            tail = [f"{row['bytes'] / 1e6:.1f}", "" if speed is None else f"{speed:.0f}"]
            lines.append("| " + " | ".join([row["method"], f"{row['steps']:,}", *cells, *tail]) + " |")
        lines.append("")
    return "\n".join(lines)


def figure_text(figure: dict[str, Any] | None) -> str:
    """A value, and its interval where it has one."""
    if figure is None:
        return ""
    low, high = figure["low"], figure["high"]
    return f"{figure['value']:.3g}" + ("" if low is None else f" [{low:.3g}, {high:.3g}]")


if __name__ == "__main__":
    main()
