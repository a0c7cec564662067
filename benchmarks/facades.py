"""Facades from label maps on a CPU: train at small settings, measure all of `val`, beside the reference's figures.

    python benchmarks/facades.py path/to/facades [--output runs/facades-benchmark] [--json FILE]

The reference implementation, at exactly these settings, reached a mean L1 on [-1, 1] of 0.351 and 13.0 dB with each
image's own statistics, 0.363 and 12.8 dB with running ones, at 34 s an epoch on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from machine import describe
from torch.utils.data import DataLoader

from translatekit import load_network
from translatekit.datasets import make_dataset
from translatekit.interfaces import DataOptions
from translatekit.metrics.pairs import MetricMean, image_metrics
from translatekit.networks import set_norm_inference

REFERENCE = {
    "per_image": {"l1": 0.351, "psnr": 13.0},
    "running": {"l1": 0.363, "psnr": 12.8},
    "epoch_seconds": 34,
}
EPOCHS = 16
SETTINGS = [
    *("--direction", "BtoA", "--load-size", "143", "--crop-size", "128"),
    *("--generator", "unet", "-G", "depth=7", "-G", "width=32", "-D", "width=32"),
    *("--batch-size", "1", "--precision", "fp32", "--epochs", "8", "--epochs-decay", "8"),
]


def evaluate(run: Path, data: Path, norm_inference: str) -> dict[str, float]:
    """Mean L1, PSNR and SSIM over `val`, resized to 128 pixels."""
    network, _ = load_network(run)
    set_norm_inference(network, norm_inference)
    dataset = make_dataset("aligned", data, DataOptions(split="val", direction="BtoA", crop_size=128))
    mean = MetricMean()
    with torch.no_grad():
        for batch in DataLoader(dataset, batch_size=1):
            mean.update(image_metrics(network(batch["input"]), batch["target"]), 1)
    return {**mean.compute(), "images": len(dataset)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/facades-benchmark"))
    parser.add_argument("--cache", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    command = [sys.executable, "-m", "translatekit", "train", "pix2pix", str(arguments.data), *SETTINGS]
    command += ["-o", str(arguments.output), "--validate-every", "0"] + [
        "--cache",
        "memory",
    ] * arguments.cache
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    results = {
        "machine": describe(),
        "wall_seconds": seconds,
        "wall_seconds_an_epoch": seconds / EPOCHS,  # starting, samples and checkpoints included
        **{mode: evaluate(arguments.output, arguments.data, mode) for mode in ("per_image", "running")},
        "reference": REFERENCE,
    }
    print(json.dumps(results, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
