"""A video end to end against its frames alone, and the memory of a long one against that of a short one.

    python benchmarks/video.py [--model MODEL] [--rate 30] [--seconds 20] [--rounds 3] [--no-memory] [--json FILE]

The video is drawn, 256x256 pixels at 25 frames a second, H.264. Frames alone are the same frames, decoded before,
through the translator in the same batches. Each round does both; the ratio is taken round by round. Without a model, a
translator that sleeps stands for a device of `--rate` frames a second: what is lost then is the line's own. For the
memory, a model that changes nothing translates 10 seconds and 10 minutes, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from machine import describe

import translatekit
from translatekit.datasets.facades import draw_facade
from translatekit.model_info import ModelInfo

SIZE, RATE = 256, 25
MEMORY = """
import sys, translatekit
from translatekit.model_info import ModelInfo
from translatekit_tools.bench.worker import peak_memory
class Identity:
    info = ModelInfo(method="none", generator="identity")
    def __call__(self, batch):
        return batch
summary = translatekit.translate(sys.argv[1], Identity(), sys.argv[2])
assert not summary.failed, summary.failed
print(peak_memory())
"""


def draw_video(path: Path, seconds: int) -> Path:
    """A view that wanders over drawn label maps."""
    wall = np.concatenate([draw_facade(seed, SIZE)[0] for seed in range(4)], axis=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for index in range(seconds * RATE):
            left = index * 2 % (wall.shape[1] - SIZE)
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(wall[:, left : left + SIZE]), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class Sleeping:
    info = ModelInfo(method="none", generator="identity")

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        time.sleep(len(batch) / self.rate)
        return batch


def speed(translator: Any, folder: Path, seconds: int, rounds: int) -> dict[str, Any]:
    video = draw_video(folder / "in.mp4", seconds)
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    size = getattr(translator, "preferred_batch", None) or 4
    batches = [np.stack(frames[index : index + size]) for index in range(0, len(frames), size)]
    translator(batches[0])
    alone, end_to_end = [], []
    for number in range(rounds):
        start = time.perf_counter()
        for batch in batches:
            translator(batch)
        alone.append(len(frames) / (time.perf_counter() - start))
        start = time.perf_counter()
        summary = translatekit.translate(video, translator, folder / f"out-{number}.mp4")
        end_to_end.append(summary.frames / (time.perf_counter() - start))
    ratios = [e / a for e, a in zip(end_to_end, alone, strict=True)]
    return {
        "frames": len(frames),
        "alone": alone,
        "end_to_end": end_to_end,
        "ratio": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
    }


def memory(folder: Path) -> dict[str, Any]:
    peaks = {}
    for seconds in (10, 600):
        video = draw_video(folder / f"{seconds}.mp4", seconds)
        command = [sys.executable, "-c", MEMORY, str(video), str(folder / f"{seconds}-out.mp4")]
        peaks[seconds] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"peak_memory": peaks, "ratio": peaks[600] / peaks[10]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="compiled or not; without one, a translator that sleeps")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second of the one that sleeps")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        translator = (
            Sleeping(arguments.rate) if arguments.model is None else translatekit.load(arguments.model, "cpu")
        )
        results["translator"] = (
            arguments.model.name if arguments.model else f"sleeps, {arguments.rate:g} frames a second"
        )
        results["speed"] = speed(translator, Path(folder), arguments.seconds, arguments.rounds)
        print(json.dumps(results["speed"]["ratio"]), flush=True)
        if not arguments.no_memory:
            results["memory"] = memory(Path(folder))
            print(json.dumps(results["memory"]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe(), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
