"""A large image in tiles against the same image whole: how alike the results are, and the memory of each.

    python benchmarks/tiles.py path/to/image [--json FILE]

For each network, two processes translate the image, one of them with ``--tile``; then two others do with the network
compiled for OpenVINO in fp32. The networks were trained for a few steps on drawn facades. Printed: the PSNR between
the two results, each process's peak memory and time.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from translatekit_tools.compile import compile_model

from translatekit.images import read_levels

TRAIN = ["--max-steps", "40", "--validate-every", "0", "--crop-size", "256", "--load-size", "256"]
CASES = {
    "unet, per_image": (
        ["--generator", "unet", "-G", "depth=6", "-G", "width=16"],
        "--tile 512 --overlap 256",
    ),
    "unet, running": (
        ["--generator", "unet", "-G", "depth=6", "-G", "width=16", "--norm-inference", "running"],
        "--tile 512 --overlap 256",
    ),
    "resnet, instance": (
        ["--generator", "resnet", "-G", "blocks=6", "-G", "width=16"],
        "--tile 768 --overlap 256",
    ),
}
RUN = """
import sys, translatekit
from translatekit_tools.bench.worker import peak_memory
source, model, out, *options = sys.argv[1:]
given = dict(option.split("=") for option in options)
summary = translatekit.translate(source, model, out, device="cpu", **{key: int(value) for key, value in given.items()})
assert not summary.failed, summary.failed
print(peak_memory())
"""


def translate(source: Path, model: Path, out: Path, options: str) -> dict[str, float]:
    words = options.replace("--", "").split()
    given = [f"{key}={value}" for key, value in zip(words[::2], words[1::2], strict=True)]
    start = time.perf_counter()
    command = [sys.executable, "-c", RUN, str(source), str(model), str(out), *given]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"seconds": time.perf_counter() - start, "peak_memory": int(done.stdout)}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name, (network, options) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [
                sys.executable,
                "-m",
                "translatekit",
                "train",
                "pix2pix",
                *network,
                *TRAIN,
                "-o",
                str(run),
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            compile_model(run, run / "model.xml")
            for suffix in (".safetensors", ".xml"):
                outs = [Path(folder) / f"{kind}{suffix}.png" for kind in ("whole", "tiled")]
                whole = translate(arguments.image, run / f"model{suffix}", outs[0], "")
                tiled = translate(arguments.image, run / f"model{suffix}", outs[1], options)
                likeness = psnr(*(read_levels(out).pixels for out in outs))
                case = f"{name}, {suffix}"
                results[case] = {"options": options, "psnr": likeness, "whole": whole, "tiled": tiled}
                print(
                    f"{case}: {likeness:.1f} dB; whole {whole['peak_memory'] / 2**20:.0f} MiB in "
                    f"{whole['seconds']:.0f} s, tiled {tiled['peak_memory'] / 2**20:.0f} MiB in "
                    f"{tiled['seconds']:.0f} s",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe(), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
