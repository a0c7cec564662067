"""Peak memory of `translatekit run` over a few images and over many: it must not grow with their number.

    python benchmarks/memory.py [--small 100] [--large 1000] [--size 256] [--output results/memory.json]

Each run is a process of its own, on generated images of noise and with an untrained U-Net; its peak resident
set size is what the kernel reports when it ends.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from machine import describe

BAR = 1.1  # the peak over many images, as a multiple of the peak over few


def make_model(path: Path) -> Path:
    import torch

    from translatekit.model_file import save_model
    from translatekit.model_info import ModelInfo
    from translatekit.networks.factory import make_generator

    torch.manual_seed(0)
    network: Any = make_generator("unet", {"depth": 6, "width": 8}, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="benchmark",
        generator="unet",
        generator_options=network.arguments,
        size_multiple=network.size_multiple,
        norm_inference="per_image",
    )
    save_model(path, network.state_dict(), info)
    return path


def make_images(folder: Path, count: int, size: int) -> Path:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        pixels = random.integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:05}.png", compress_level=1)
    return folder


def measure(folder: Path, model: Path, out: Path) -> dict[str, Any]:
    """Run once, and wait for that process alone: its peak RSS (MiB), and what it says it did."""
    command = [sys.executable, "-m", "translatekit", "run", str(folder), "--json"]
    process = subprocess.Popen(
        [*command, "--model", str(model), "-o", str(out), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    summary = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"the run failed: {summary['failed'][:1]}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "images": summary["translated"],
        "peak_rss_mib": round(usage.ru_maxrss / unit, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=100)
    parser.add_argument("--large", type=int, default=1000)
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--output", type=Path, help="write the figures here as JSON, too")
    arguments = parser.parse_args()

    runs = []
    # Linux counts the memory of the process that starts another one into the other's peak, so this one stays
    # small: model and images are made elsewhere.
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, mp_context=spawn) as elsewhere:
        folder = Path(name)
        model = elsewhere.submit(make_model, folder / "model.safetensors").result()
        for count in (arguments.small, arguments.large):
            images = elsewhere.submit(make_images, folder / f"in{count}", count, arguments.size).result()
            runs.append(measure(images, model, folder / f"out{count}"))
            print("{images:5} images: peak RSS {peak_rss_mib:7.1f} MiB".format(**runs[-1]))
    ratio = runs[1]["peak_rss_mib"] / runs[0]["peak_rss_mib"]
    print(f"ratio {ratio:.3f}, to be at most {BAR}")
    if arguments.output:
        figures = {
            "size": arguments.size,
            "runs": runs,
            "ratio": round(ratio, 4),
            "bar": BAR,
            "machine": describe(),
        }
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")
    if ratio > BAR:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
