"""Time to quality: `pix2pix --recipe fast` beside a plain loop with the paper's settings, on two quiet cores.

    python benchmarks/quality.py path/to/facades --json benchmarks/results/quality.json --picture quality.png

Facades from label maps at small settings: 128 pixels (loaded at 143), a U-Net of 7 levels and width 32, a discriminator
of width 32. The plain loop is what a research script does: NCHW, fp32, torch's default Adam, batch size 1, 8 epochs at
the full rate and 8 in which it falls linearly. The other is ``translatekit train`` as it is. Both train in this
process in turn, an epoch each, so that a drift of the machine's speed meets both; only their own turns are counted.

After each epoch, outside of its time, a generator is measured on all of `val`: mean L1 on [-1, 1] with each image's own
statistics, and the structure score, the Pix2Pix paper's FCN score: how well a segmentation network trained on
real pairs reads the label map back from the output (pixel accuracy and mean IoU over the classes of the palette).

The reference implementation reaches an L1 of 0.351 after its 16 epochs. What is reported is when each of the two is as
good as that with a structure score no worse than the plain loop's last one.
"""

from __future__ import annotations

import argparse
import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plot
import torch
import torch.nn.functional as F
from machine import describe
from torch import Tensor, nn
from torch.utils.data import DataLoader
from training_step import PlainFabric

import translatekit
from translatekit.config import RunConfig
from translatekit.datasets import make_dataset
from translatekit.interfaces import DataOptions
from translatekit.metrics.labels import ious, pixel_accuracy
from translatekit.networks import set_norm_inference
from translatekit.networks.factory import Networks, make_generator
from translatekit.networks.layers import DoublingConv2d, HalvingConv2d
from translatekit.registry import registry
from translatekit.training import loop as training_loop
from translatekit.training.schedule import linear_decay

BAR = 0.351
COLORS = (  # of the facades' classes
    *((0, 0, 170), (0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255), (85, 255, 170)),
    *((170, 255, 85), (255, 255, 0), (255, 170, 0), (255, 85, 0), (255, 0, 0), (170, 0, 0)),
)
LOGITS = 10.0  # what the segmentation network's outputs in [-1, 1] are times


class OutOfTimeError(Exception):
    """The minutes are over."""


class Turns:
    """Lets one of two trainings run at a time, an epoch each, and counts the seconds of each."""

    def __init__(self, names: list[str], until: float) -> None:
        self.seconds = dict.fromkeys(names, 0.0)
        self._waiting = list(names)
        self._until = until
        self._change = threading.Condition()

    def start(self, name: str) -> None:
        """Wait for a turn."""
        with self._change:
            self._change.wait_for(lambda: self._waiting[0] == name)
        self._since = time.perf_counter()

    def pause(self, name: str) -> float:
        """The seconds of all turns so far, the present one included, which is over."""
        self.seconds[name] += time.perf_counter() - self._since
        return self.seconds[name]

    def hand_over(self, name: str, done: bool = False) -> None:
        """Let the other go on."""
        with self._change:
            self._waiting.remove(name)
            if not done:
                self._waiting.append(name)
            self._change.notify_all()
        if not done and time.monotonic() > self._until:
            raise OutOfTimeError

    def leave(self, name: str) -> None:
        """Be gone, also after a failure."""
        with self._change:
            if name in self._waiting:
                self._waiting.remove(name)
            self._change.notify_all()


class Judge:
    """Measures generators on `val`.

    Args:
        data: the facades.
        size: in pixels a side.
        width: of the segmentation network.
        epochs: it is trained for.
    """

    def __init__(self, data: Path, size: int, width: int, depth: int, epochs: int) -> None:
        options = DataOptions(
            direction="BtoA", load_size=round(size * 143 / 128), crop_size=size, cache="memory"
        )
        self.train = make_dataset("aligned", data, options)
        validation = make_dataset(
            "aligned", data, DataOptions(split="val", direction="BtoA", crop_size=size, cache="memory")
        )
        self.batches = list(DataLoader(validation, batch_size=10))
        self.colors = torch.tensor(COLORS).float() / 127.5 - 1
        self.segmenter = self._train_segmenter(width, depth, epochs)
        self.real = self.structure(lambda batch: batch["target"])

    def classes(self, labels: Tensor) -> Tensor:
        """The class of each pixel, by the nearest colour: (N, H, W)."""
        distance = (labels[:, None] - self.colors[None, :, :, None, None]).square().sum(2)
        return distance.argmin(1)

    def structure(self, translate: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, float]:
        """How well label maps are read back from what is made of them."""
        count = len(COLORS)
        confusion = np.zeros((count, count), np.int64)
        with torch.no_grad():
            for batch in self.batches:
                found = self.segmenter(translate(batch)).argmax(1)
                wanted = self.classes(batch["input"])
                pairs = (wanted * count + found).flatten()
                confusion += torch.bincount(pairs, minlength=count**2).view(count, count).numpy()
        return {
            "pixel_accuracy": float(pixel_accuracy(confusion)),
            "mean_iou": float(np.nanmean(ious(confusion))),
        }

    def __call__(self, generator: nn.Module) -> dict[str, float]:
        """L1 and structure of a generator's outputs."""
        was_training = generator.training
        generator.eval()
        outputs: list[Tensor] = []
        with torch.no_grad():
            outputs = [generator(batch["input"]).float() for batch in self.batches]
        generator.train(was_training)
        pairs = zip(outputs, self.batches, strict=True)
        total = sum(float((output - batch["target"]).abs().mean()) * len(output) for output, batch in pairs)
        given = iter(outputs)
        return {
            "l1": total / sum(map(len, outputs)),
            **self.structure(lambda batch: next(given)),
        }

    def _train_segmenter(self, width: int, depth: int, epochs: int) -> nn.Module:
        torch.manual_seed(1)
        network = make_generator(
            "unet",
            {"width": width, "depth": depth, "norm": "instance", "dropout": 0.0},
            in_channels=3,
            out_channels=len(COLORS),
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        steps = epochs * (len(self.train) // 4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        for epoch in range(epochs):
            self.train.set_epoch(1000 + epoch)
            for batch in DataLoader(self.train, batch_size=4, shuffle=True, drop_last=True):
                logits = network(batch["target"]) * LOGITS
                loss = F.cross_entropy(logits, self.classes(batch["input"]))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            print(f"segmentation network: epoch {epoch + 1}/{epochs}, loss {loss.item():.3f}", flush=True)
        return network.eval()


def train_plainly(
    judge: Judge, options: dict[str, Any], turns: Turns, measured: list[dict[str, float]]
) -> None:
    """The plain loop."""
    name = "plain loop"
    try:
        config = RunConfig.resolve("pix2pix", "data", options)
        given = config.options
        torch.manual_seed(0)
        factory = Networks(
            generator_name=str(given.generator),
            generator_options=given.generator_options,
            discriminator_name=given.discriminator,
            discriminator_options=given.discriminator_options,
        )
        method = registry("method").load("pix2pix")(config.method_options, factory, judge.train)
        method.fabric = PlainFabric()
        for module in (module for network in method.unwrapped.values() for module in network.modules()):
            if isinstance(module, (HalvingConv2d, DoublingConv2d)):  # a script has torch's own
                module.__class__ = type(module).__mro__[1]
        for key, network in method.unwrapped.items():
            method.optimizers[key] = torch.optim.Adam(network.parameters(), lr=given.lr, betas=(0.5, 0.999))
        generator = method.unwrapped["G"]
        set_norm_inference(generator, "per_image")
        data = copy.copy(judge.train)
        for epoch in range(given.epochs + given.epochs_decay):
            turns.start(name)
            data.set_epoch(epoch)
            for optimizer in method.optimizers.values():
                optimizer.param_groups[0]["lr"] = given.lr * linear_decay(
                    epoch, given.epochs, given.epochs_decay
                )
            for batch in DataLoader(data, batch_size=1, shuffle=True):
                method.step(batch)
            note(measured, name, turns.pause(name), judge(generator))
            turns.hand_over(name)
    except OutOfTimeError:
        pass
    finally:
        turns.leave(name)


def train_fast(
    data: Path,
    out: Path,
    judge: Judge,
    options: dict[str, Any],
    turns: Turns,
    measured: list[dict[str, float]],
) -> None:
    """``translatekit train pix2pix --recipe fast``, looked at where it would validate."""
    name = "--recipe fast"

    def look(training: Any, report: Any) -> None:
        generator = next(iter(training.generators().values()))
        note(measured, name, turns.pause(name), judge(generator))
        turns.hand_over(name)
        turns.start(name)

    validate, training_loop.validate = training_loop.validate, look
    try:
        turns.start(name)
        translatekit.train(
            "pix2pix", data, output=str(out), recipe="fast", cache="memory", accelerator="cpu", **options
        )
    except OutOfTimeError:
        pass
    finally:
        training_loop.validate = validate
        turns.leave(name)


def note(measured: list[dict[str, float]], name: str, seconds: float, figures: dict[str, float]) -> None:
    measured.append({"seconds": seconds, **figures})
    text = " ".join(f"{key} {value:.4f}" for key, value in figures.items())
    print(f"{name}: {len(measured)} epochs, {seconds:.0f} s: {text}", flush=True)


def seconds_to(curve: list[dict[str, float]], structure: float) -> float | None:
    """When a curve is at the bar for the first time, with a structure score no worse than one."""
    good = [point for point in curve if point["l1"] <= BAR and point["pixel_accuracy"] >= structure]
    return good[0]["seconds"] if good else None


def draw(curves: dict[str, list[dict[str, float]]], real: float, path: Path) -> None:
    """L1 and pixel accuracy over time, of both."""
    panels = [
        plot.Panel(
            title,
            {name: [(point["seconds"], point[key]) for point in curve] for name, curve in curves.items()},
            line,
        )
        for key, title, line in (
            ("l1", "mean L1 on [-1, 1]", (BAR, "the reference's after 16 epochs")),
            ("pixel_accuracy", "structure: pixel accuracy", (real, "real photographs")),
        )
    ]
    plot.draw(panels, path, "s")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--minutes", type=float, default=25, help="after which both end, the segmentation network included"
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=16, help="of the plain loop")
    parser.add_argument("--segmenter-epochs", type=int, default=8)
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="beside --recipe fast"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/quality-benchmark"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path, default=Path("quality.png"))
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    until = time.monotonic() + 60 * arguments.minutes
    depth = arguments.size.bit_length() - 1
    judge = Judge(arguments.data, arguments.size, arguments.width, depth, arguments.segmenter_epochs)
    print(f"structure of real photographs: {judge.real}", flush=True)
    networks = {
        "generator_options": {"depth": depth, "width": arguments.width},
        "discriminator_options": {"width": arguments.width},
    }
    sizes = {
        "direction": "BtoA",
        "load_size": round(arguments.size * 143 / 128),
        "crop_size": arguments.size,
    }
    half = arguments.epochs // 2
    plain = {**networks, "epochs": arguments.epochs - half, "epochs_decay": half, "precision": "fp32"}
    fast = {**networks, **sizes, **dict(item.split("=", 1) for item in arguments.option)}
    curves: dict[str, list[dict[str, float]]] = {"plain loop": [], "--recipe fast": []}
    turns = Turns(list(curves), until)
    beside = threading.Thread(target=train_plainly, args=(judge, plain, turns, curves["plain loop"]))
    beside.start()
    try:
        train_fast(arguments.data, arguments.output, judge, fast, turns, curves["--recipe fast"])
    finally:
        beside.join()
    wanted = curves["plain loop"][-1]["pixel_accuracy"]
    reached = {name: seconds_to(curve, wanted) for name, curve in curves.items()}
    whole = curves["plain loop"][-1]["seconds"]
    results = {
        "machine": {**describe(), "threads": torch.get_num_threads()},
        "settings": {key: value for key, value in vars(arguments).items() if isinstance(value, int | float)},
        "bar": BAR,
        "structure_of_real": judge.real,
        "plain_seconds_in_all": whole,
        "seconds_to_bar": reached,
        "share_of_plain": {name: None if value is None else value / whole for name, value in reached.items()},
        "curves": curves,
    }
    print(json.dumps({key: value for key, value in results.items() if key != "curves"}, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    draw(curves, judge.real["pixel_accuracy"], arguments.picture)


if __name__ == "__main__":
    main()
