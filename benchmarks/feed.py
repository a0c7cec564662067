"""What share of a training's time waits for images, beside a step of a fixed length that leaves the processor alone.

    python benchmarks/feed.py path/to/facades [--step 0.015] [--rounds 5] [--epochs 2] [--json FILE]

The step sleeps, as a process does while its GPU computes. Each round goes through every case once, in turn: so many
epochs with so many reading processes, with and without a cache, as training reads them. Waiting is the time between
the end of a step and the next batch; that for the first batch, in which readers start, is given by itself. Beside it:
images a second that one core reads, by its own clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from machine import describe

from translatekit.config import TrainOptions
from translatekit.datasets import make_dataset
from translatekit.interfaces import DataOptions, Dataset
from translatekit.training.batches import make_batches, make_loader

CASES = [
    *((readers, "none") for readers in (0, 1, 2, 4, 8)),
    *((readers, cache) for cache in ("memory", "disk") for readers in (0, 1, 2)),
]


def open_data(folder: Path, cache: Any) -> Dataset:
    return make_dataset("aligned", folder, DataOptions(cache=cache))


def measure(data: Dataset, readers: int, step: float, epochs: int) -> dict[str, float]:
    """One case: seconds until the first batch, and what share of the rest was waited for batches."""
    options = TrainOptions(workers=readers, accelerator="cpu")
    fabric = Fabric(accelerator="cpu")
    batches = make_batches(data, options, fabric)
    loader = make_loader(data, batches, options, fabric)
    first = waited = worked = 0.0
    images = 0
    since = time.perf_counter()
    for epoch in range(epochs):
        batches.start(epoch)
        for _ in loader:
            now = time.perf_counter()
            if images == 0:
                first = now - since
            else:
                waited += now - since
            time.sleep(step)
            since = time.perf_counter()
            worked += since - now
            images += 1
    return {
        "first": first,
        "waiting": waited / (waited + worked),
        "images_per_second": images / (waited + worked),
    }


def images_per_core(data: Dataset, count: int) -> float:
    """Images that this process reads in a second of its own processor time."""
    count = min(count, len(data))
    since = time.process_time()
    for index in range(count):
        data[index]
    return count / (time.process_time() - since)


def spread(values: list[float]) -> dict[str, float]:
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {"median": middle, "low": low, "high": high}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--step", type=float, default=0.015, help="seconds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[tuple[int, str], list[dict[str, float]]] = {case: [] for case in CASES}
    rates: dict[str, list[float]] = {cache: [] for cache in ("none", "memory", "disk")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRANSLATEKIT_CACHE"] = folder
        data = {cache: open_data(arguments.data, cache) for cache in rates}
        for index in range(len(data["disk"])):  # which the first epoch of a first run does
            data["disk"][index]
        for number in range(arguments.rounds):
            for (readers, cache), rounds in results.items():
                rounds.append(measure(data[cache], readers, arguments.step, arguments.epochs))
                print(number + 1, readers, cache, rounds[-1], file=sys.stderr)
            for cache, values in rates.items():
                values.append(images_per_core(data[cache], 200))
    table = [
        {
            "readers": readers,
            "cache": cache,
            **{name: spread([one[name] for one in rounds]) for name in rounds[0]},
            "rounds": rounds,
        }
        for (readers, cache), rounds in results.items()
    ]
    for row in table:
        waiting, first = row["waiting"], row["first"]
        print(
            f"{row['readers']} readers, cache {row['cache']:6}: waiting {100 * waiting['median']:5.1f} % "
            f"[{100 * waiting['low']:.1f} to {100 * waiting['high']:.1f}], first batch after {first['median']:.2f} s"
        )
    for cache, values in rates.items():
        print(f"cache {cache:6}: {spread(values)['median']:6.0f} images a second and core")
    if arguments.json:
        result = {
            "machine": describe(),
            "step_seconds": arguments.step,
            "images": len(data["none"]),
            "epochs": arguments.epochs,
            "cases": table,
            "images_per_second_and_core": {
                cache: {**spread(values), "rounds": values} for cache, values in rates.items()
            },
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
