"""The demo: the whole story from photographs to a compiled model, on facades that are drawn for it."""

from __future__ import annotations

import importlib.util
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import translatekit
from translatekit.config import TrainOptions
from translatekit.datasets.demo import write_demo
from translatekit.errors import OptionError
from translatekit.images import encode_image, image_of, read_levels
from translatekit.metrics.pairs import MetricMean, image_metrics
from translatekit.storage import write_atomically
from translatekit.training.samples import sample_grid
from translatekit_tools.compile import compile_model
from translatekit_tools.evaluate import evaluate
from translatekit_tools.gallery import GalleryRow, write_gallery
from translatekit_tools.prepare.options import SegmentOptions
from translatekit_tools.prepare.segment import segment_photos

DEFAULT_FOLDER = Path("runs/demo")
HELD_OUT = 12
PREVIEW_ROWS = 4

# Smaller networks, larger batches and a higher learning rate than the paper's: the facades can be learnt in about a
# minute on two cores. Instance normalization, because that of a batch differs from what an image alone gets later.
FULL: dict[str, Any] = {
    "generator": "unet",
    "generator_options": {"depth": 6, "width": 24, "norm": "instance"},
    "discriminator_options": {"layers": 2, "width": 24, "norm": "instance"},
    "dataset": "demo",
    "load_size": 128,
    "crop_size": 128,
    "batch_size": 4,
    "lr": 0.002,
    "epochs": 2,
    "epochs_decay": 2,
    "log_every": 10,
}
QUICK: dict[str, Any] = {
    **FULL,
    "generator_options": {"depth": 5, "width": 16, "norm": "instance"},
    "discriminator_options": {"layers": 2, "width": 16, "norm": "instance"},
    "dataset_options": {"count": 80},
    "load_size": 64,
    "crop_size": 64,
}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What a demo made.

    Attributes:
        page: to open in a browser.
        run: the training run's folder.
        metrics: means over the held-out facades: ``l1``, ``psnr`` and ``ssim``
            (see `translatekit.metrics.pairs.image_metrics`).
        training_seconds, translating_seconds: wall time.
    """

    page: Path
    run: Path
    metrics: dict[str, float]
    training_seconds: float
    translating_seconds: float


def run_demo(
    out: str | Path | None = None,
    *,
    quick: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Demo:
    """Prepare, train, evaluate, compile and translate drawn facades, and make a page of it.

    Compiling is left out where ONNX Runtime is not installed; the trained model then translates.

    Args:
        out: a folder that is empty or does not exist; ``runs/demo`` when not given, or ``runs/demo-2`` and so on
            where that is taken. Nothing is ever replaced.
        quick: train for a few seconds on smaller images; the outputs are worse.
        say: is given each command line that does the same as the step that follows.

    Raises:
        OptionError: the folder is not empty.
        TranslatekitError: whatever training and translating raise.
    """
    folder = _choose_folder(out)
    settings = QUICK if quick else FULL
    size = int(settings["crop_size"])

    inputs, targets = write_demo(folder, split="test", count=HELD_OUT, size=size)
    prepared = folder / "prepared"
    say(_command("prepare", "segment", targets, "-o", prepared, "-k", 6, "--layout", "folders"))
    segment_photos(targets, prepared, SegmentOptions(classes=6, layout="folders"))

    run = folder / "run"
    say(train_command(settings, run))
    start = time.perf_counter()
    translatekit.train("pix2pix", None, **settings, output=str(run))
    training_seconds = time.perf_counter() - start

    report = folder / "evaluation.html"
    say(_command("evaluate", run, "--report", report))
    evaluate(run, report=str(report))

    model = run
    if _has_onnx():
        model = folder / "model.onnx"
        say(_command("compile", run, "-o", model))
        compile_model(run, model)

    outputs = folder / "output"
    say(_command("run", inputs, "--model", model, "-o", outputs))
    translated = translatekit.translate(inputs, model, outputs)

    names = sorted(path.name for path in inputs.iterdir())
    mean = MetricMean()
    rows = []
    for name in names:
        metrics = image_metrics(_read(outputs / name), _read(targets / name))
        mean.update(metrics)
        rows.append(
            GalleryRow(
                name=Path(name).stem,
                images={"input": inputs / name, "output": outputs / name, "target": targets / name},
                figures=_in_words(metrics),
            )
        )
    _write_preview(folder, names[:PREVIEW_ROWS])
    page = folder / "index.html"
    write_gallery(
        page,
        rows,
        "The translatekit demo: facades from label maps",
        {
            **_in_words(mean.compute()),
            "Training": f"{training_seconds:.0f} s",
            f"Translating {len(names)} images": f"{translated.seconds:.1f} s",
        },
        summary=f"Pix2Pix with a U-Net, trained on {_trained_on(settings)} drawn facades of {size} pixels a side, "
        f"and run on {len(names)} that it never saw. The figures are means over these; L1 is on [-1, 1].",
        links={
            "How the training went: curves and samples": run / "index.html",
            "How good it is: figures with confidence intervals, best and worst examples": report,
        },
        commands=_next_commands(settings, run),
    )
    return Demo(
        page=page,
        run=run,
        metrics=mean.compute(),
        training_seconds=training_seconds,
        translating_seconds=translated.seconds,
    )


def _command(*words: object) -> str:
    return shlex.join(["translatekit", *map(str, words)])


def _has_onnx() -> bool:
    return all(map(importlib.util.find_spec, ("onnx", "onnxruntime", "onnxscript")))


def train_command(settings: Mapping[str, Any], run: Path) -> str:
    """The command line that trains with these settings."""
    flags = {name: field.metadata.get("flags") for name, field in TrainOptions.__dataclass_fields__.items()}
    words = ["translatekit", "train", "pix2pix"]
    for name, value in settings.items():
        flag = (flags[name] or (f"--{name.replace('_', '-')}",))[0]
        if isinstance(value, dict):
            for key, item in value.items():
                words += [flag, f"{key}={item}"]
        else:
            words += [flag, str(value)]
    return shlex.join([*words, "-o", str(run)])


def _choose_folder(out: str | Path | None) -> Path:
    if out is None:
        folder, number = DEFAULT_FOLDER, 1
        while folder.exists():
            number += 1
            folder = DEFAULT_FOLDER.with_name(f"{DEFAULT_FOLDER.name}-{number}")
        return folder
    folder = Path(out).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(
            f"{folder} exists already and nothing in it will be overwritten: choose another with -o"
        )
    return folder


def _read(path: Path) -> Tensor:
    """An image file as (1, 3, H, W) in [-1, 1]."""
    pixels = read_levels(path, channels=3, deep=False).pixels.astype(np.float32) / 127.5 - 1
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def _write_preview(folder: Path, names: list[str]) -> None:
    columns = {
        column: torch.cat([_read(folder / column / name) for name in names])
        for column in ("input", "output", "target")
    }
    pixels = np.asarray(sample_grid(columns))
    write_atomically(folder / "preview.png", encode_image(image_of(pixels), ".png"))


def _in_words(metrics: Mapping[str, float]) -> dict[str, str]:
    return {
        "L1": f"{metrics['l1']:.3f}",
        "PSNR": f"{metrics['psnr']:.1f} dB",
        "SSIM": f"{metrics['ssim']:.3f}",
    }


def _trained_on(settings: Mapping[str, Any]) -> int:
    return int(settings.get("dataset_options", {}).get("count", 400))


def _next_commands(settings: Mapping[str, Any], run: Path) -> dict[str, str]:
    longer = settings["epochs"] + settings["epochs_decay"] + 10
    return {
        "Train on your own pairs (photo and label map side by side in each file, or folders A and B):": (
            "translatekit train pix2pix photos/ --generator unet"
        ),
        "Translate your own images with what it trained:": (
            "translatekit run images/ --model runs/pix2pix-photos -o translated/"
        ),
        "Draw a facade, and see it as you draw:": shlex.join(["translatekit", "paint", str(run)]),
        "Go on with this demo's training for longer:": shlex.join(
            ["translatekit", "train", "pix2pix", "--resume", str(run), "--epochs-decay", str(longer)]
        ),
        "See what the model file says of itself:": shlex.join(["translatekit", "info", str(run)]),
        "See what else is installed: methods, networks, losses, datasets:": "translatekit plugins",
    }
