"""Every method on every kind of data for the same time: figures with their protocol, size, speed, and pictures.

    python benchmarks/methods.py --facades path/to/facades --monet2photo path/to/monet2photo --minutes 15 \\
        --work runs/methods --json benchmarks/results/methods.json

Each method trains by its own command at small settings until its minutes are over, one after the other. It is stopped
as a user would stop it, and measured as it is then. What a folder of an earlier call holds is not trained again.
"""

from __future__ import annotations

import argparse
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
from machine import describe
from PIL import Image
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
    """

    name: str
    direction: str
    entries: dict[str, tuple[str, ...]]
    drawn: bool = False
    reader: tuple[str, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


PAIRED = {
    "pix2pix, unet": ("pix2pix", *UNET),
    "pix2pix, resnet": ("pix2pix", "--generator", "resnet", *RESNET),
    "pix2pixhd": ("pix2pixhd", "-G", "width=16", "-D", "width=32"),
}
UNPAIRED = {
    "cyclegan": ("cyclegan", *RESNET),
    "cut": ("cut", *RESNET),
    "fastcut": ("fastcut", *RESNET),
}
TASKS = (
    Task("drawn", "AtoB", PAIRED, drawn=True, reader=("pix2pix", *UNET, "--direction", "BtoA")),
    Task("facades", "BtoA", PAIRED, reader=("pix2pix", *UNET, "--direction", "AtoB")),
    Task("monet2photo", "AtoB", UNPAIRED, options={"split": "test"}),
)
FIGURES = ("l1", "ssim", "kid", "fid", "fcn_pixel_accuracy", "fcn_mean_iou")


def main() -> None:
    """Train, measure, and write what was found after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--facades", type=Path, help="the folder of the facades")
    parser.add_argument("--monet2photo", type=Path, help="the folder of monet2photo")
    parser.add_argument("--minutes", type=float, default=15, help="that each trains for")
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
            measured = measure(task, data, run, reader)
            kept = [one for one in found["rows"] if (one["data"], one["method"]) != (task.name, row)]
            entry = {"data": task.name, "method": row, "minutes": arguments.minutes, **measured}
            found = {"machine": describe(), "rows": [*kept, entry]}
            arguments.json.write_text(json.dumps(found, indent=1) + "\n")
        if arguments.pictures:
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
    direction = (
        () if "--direction" in options or task.entries is UNPAIRED else ("--direction", task.direction)
    )
    command = [sys.executable, "-m", "translatekit", "train", method, *([] if data is None else [str(data)])]
    command += [*SMALL, *options, *direction, "-o", str(run)]
    print(" ".join(command), file=sys.stderr, flush=True)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        code = process.wait(60 * arguments.minutes)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    if not (run / "model.safetensors").is_file() and not list(run.glob("model*.safetensors")):
        raise SystemExit(f"{' '.join(command)} ended with {code} and left no model")
    done.write_text(f"{time.perf_counter() - start:.1f}\n")
    return run


def measure(task: Task, data: Path | None, run: Path, reader: Path | None) -> dict[str, Any]:
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
    compiled = run / "model.onnx"
    if not compiled.is_file():
        compile_model(run, compiled, direction=options["direction"])
    translator = translatekit.load(compiled)
    batch = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, len(info.input.channels)), np.uint8)
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
        "figures": {name: figure.to_dict() for name, figure in result.metrics.items()},
        "images": evaluation.images,
        "protocol": evaluation.protocol,
    }


def draw(task: Task, data: Path | None, runs: dict[str, Path], path: Path, count: int = 4) -> None:
    """A sheet: a row an image; its input, what each method makes of it, and its target where there is one."""
    from translatekit_tools.evaluate.images import choose_data, open_images
    from translatekit_tools.evaluate.options import EvaluateOptions

    first = next(iter(runs.values()))
    info = read_info(find_model(first))
    root, options = choose_data(data, EvaluateOptions(**task.options), first, info, [])
    images = open_images(root, options, info)
    samples = [images.item(number) for number in range(count)]
    models = [translatekit.open(run) for run in runs.values()]
    lines = []
    for sample in samples:
        made = [np.asarray(model.translate(sample.source)) for model in models]
        lines.append(np.concatenate([sample.source, *made, *([sample.target] if images.paired else [])], 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines, 0)).save(path)


def table(rows: list[dict[str, Any]]) -> str:
    """All rows, as Markdown."""
    lines = [
        "| data | method | steps | " + " | ".join(FIGURES) + " | MB | ms |",
        "| --- | --- | --- | " + "--- | " * len(FIGURES) + "--- | --- |",
    ]
    for row in rows:
        cells = []
        for name in FIGURES:
            figure = row["figures"].get(name)
            low, high = (None, None) if figure is None else (figure["low"], figure["high"])
            text = "" if figure is None else f"{figure['value']:.3g}"
            cells.append(text if low is None else f"{text} [{low:.3g}, {high:.3g}]")
        head = [row["data"], row["method"], f"{row['steps']:,}"]
        tail = [f"{row['bytes'] / 1e6:.1f}", f"{row['milliseconds']:.0f}"]
        lines.append("| " + " | ".join([*head, *cells, *tail]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
