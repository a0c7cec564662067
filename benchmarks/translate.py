"""From files to files: every backend and precision beside a plain loop, in turn, each in a process of its own.

    python benchmarks/translate.py [--generator unet] [--images 500] [--rounds 3] [--json FILE]

The plain loop is what a research script does: open a file, resize it, send a batch of one through the network in
eager PyTorch, fp32, and save a PNG. The files are drawn label maps of facades, JPEGs of 256x256 pixels, and JPEGs is
what translatekit writes. The model was trained for a few steps on such images, at the paper's width of 64.

Beside them stands what the processor would do if every multiplication of the network ran as fast as a large matrix
product does in the same process as the plain loop: no backend that computes convolutions directly gets past it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from machine import describe
from translatekit_tools.bench import BenchOptions, Figure, Row, Worker, compile_for, gather_files

from translatekit.errors import TranslatekitError, TranslatekitWarning

SIZE = 256
CANDIDATES = (("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
"""The quickest on a CPU, where it is not slower in them than in fp32; `translatekit bench` measures all."""


def train(generator: str, folder: Path, steps: int, norm_inference: str) -> Path:
    """A model of the paper's size that has left its first weights behind."""
    network = ["-G", "blocks=9"] if generator == "resnet" else ["--norm-inference", norm_inference]
    command = [sys.executable, "-m", "translatekit", "train", "pix2pix", "--generator", generator, *network]
    command += [
        "--precision",
        "fp32",
        "--crop-size",
        str(SIZE),
        "--load-size",
        str(SIZE),
        "--max-steps",
        str(steps),
    ]
    subprocess.run(
        [*command, "--validate-every", "0", "-o", str(folder)], check=True, stdout=subprocess.DEVNULL
    )
    return folder / "model.safetensors"


def plain_worker(model: Path) -> None:
    """Answer as `translatekit_tools.bench.worker` does."""
    import numpy as np
    import torch
    from PIL import Image
    from torch.utils.flop_counter import FlopCounterMode

    from translatekit import load_network

    network, _ = load_network(model)
    files = Path(os.environ["BENCHMARK_FILES"])

    def end_to_end() -> int:
        out = Path(tempfile.mkdtemp(dir=files.parent))
        paths = sorted(files.iterdir())
        with torch.no_grad():
            for path in paths:
                image = Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
                x = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
                y = ((network(x)[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
                Image.fromarray(y).save(out / f"{path.stem}.png")
        shutil.rmtree(out)
        return len(paths)

    def limits() -> dict[str, float]:
        """Images a second at the rate of matrix products, by precision."""
        side, rates = 2048, {}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, SIZE, SIZE))
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("int8", torch.int8)):
            matrix = torch.randint(-99, 99, (side, side)).to(dtype)
            product = torch._int_mm if dtype == torch.int8 else torch.mm
            times: list[float] = []
            while len(times) < 10 and sum(times) < 5:  # a precision that is emulated takes seconds each
                start = time.perf_counter()
                product(matrix, matrix)
                times.append(time.perf_counter() - start)
            rates[name] = 2 * side**3 / sorted(times)[len(times) // 2] / counter.get_total_flops()
        return rates

    for line in sys.stdin:
        start = time.perf_counter()
        if json.loads(line)["do"] == "limits":
            print(json.dumps(limits()), flush=True)
        else:
            images = end_to_end()
            print(json.dumps({"images_per_second": images / (time.perf_counter() - start)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--generator", default="unet", choices=("unet", "resnet"))
    parser.add_argument(
        "--norm-inference",
        default="per_image",
        choices=("per_image", "running"),
        help="of the U-Net; the ResNet has instance normalization",
    )
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--model", type=Path, help="instead of training one")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plain-worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain_worker:
        plain_worker(arguments.plain_worker)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = arguments.model or train(
            arguments.generator, folder / "run", arguments.steps, arguments.norm_inference
        )
        files = folder / "files"
        gather_files(files, BenchOptions(images=arguments.images), SIZE)
        os.environ["BENCHMARK_FILES"] = str(files)
        plain = Worker((sys.executable, __file__, "--plain-worker", str(model)))
        stack.callback(plain.close)
        rows: list[tuple[Row, Worker]] = []
        left_out: dict[str, str] = {}
        for backend, precision in CANDIDATES:
            print(f"preparing {backend} {precision}", file=sys.stderr, flush=True)
            row = Row(backend=backend, precision=precision)
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", category=TranslatekitWarning)
                    compiled, row.parity = compile_for(model, backend, precision, folder, files)
                worker = Worker()
                stack.callback(worker.close)
                loaded = worker.ask(
                    "load",
                    model=str(compiled),
                    device="cpu",
                    precision=precision,
                    files=str(files),
                    batch_size=None,
                )
                if loaded["notes"]:
                    raise TranslatekitWarning(loaded["notes"][0])
            except (TranslatekitError, TranslatekitWarning) as slow_or_missing:
                left_out[f"{backend} {precision}"] = str(slow_or_missing)
                print(f"{backend} {precision} is left out: {slow_or_missing}", file=sys.stderr, flush=True)
                continue
            row.load_seconds = loaded["load_seconds"]
            row.peak_memory = worker.ask("end_to_end")["peak_memory"]
            worker.ask("record")
            rows.append((row, worker))
        speeds: dict[str, list[float]] = {"plain": []}
        alone: dict[str, list[float]] = {}
        limits: dict[str, list[float]] = {}
        for number in range(arguments.rounds):
            print(f"round {number + 1}", file=sys.stderr, flush=True)
            for name, rate in plain.ask("limits").items():
                limits.setdefault(name, []).append(rate)
            speeds["plain"].append(plain.ask("end_to_end")["images_per_second"])
            for row, worker in rows:
                name = f"{row.backend} {row.precision}"
                alone.setdefault(name, []).append(worker.ask("alone")["images_per_second"])
                speeds.setdefault(name, []).append(worker.ask("end_to_end")["images_per_second"])
        results = report(rows, speeds, alone)
    results["limits"] = {name: dataclasses.asdict(Figure.of(rates)) for name, rates in limits.items()}
    for name, rates in limits.items():
        of_plain = Figure.of([rate / loop for rate, loop in zip(rates, speeds["plain"], strict=True)])
        print(f"limit {name}: {_text(Figure.of(rates), 2)} images/s, {_text(of_plain, 2)}x the plain loop")
    keys = ("generator", "norm_inference", "images", "rounds")
    results |= {key: getattr(arguments, key) for key in keys}
    results |= {"machine": describe(), "left_out": left_out}
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


def report(
    rows: list[tuple[Row, Worker]], speeds: dict[str, list[float]], alone: dict[str, list[float]]
) -> dict[str, Any]:
    """Print a line each, and return all."""
    plain = speeds["plain"]
    print(f"plain loop: {_text(Figure.of(plain), 2)} images/s")
    results: dict[str, Any] = {"plain": dataclasses.asdict(Figure.of(plain)), "rows": []}
    for row, _ in rows:
        name = f"{row.backend} {row.precision}"
        row.alone, row.end_to_end = Figure.of(alone[name]), Figure.of(speeds[name])
        row.ratio = Figure.of([e / a for e, a in zip(speeds[name], alone[name], strict=True)])
        speedup = Figure.of([e / p for e, p in zip(speeds[name], plain, strict=True)])
        print(
            f"{name:18} {_text(row.end_to_end, 2)} images/s, {_text(speedup, 2)}x the plain loop, "
            f"{_text(row.ratio, 3)} of the translator alone ({_text(row.alone, 2)}), "
            f"PSNR {row.parity.get('psnr')}, {row.peak_memory / 2**20 if row.peak_memory else 0:.0f} MiB"
        )
        results["rows"].append({**dataclasses.asdict(row), "speedup": dataclasses.asdict(speedup)})
    return results


def _text(figure: Figure, digits: int) -> str:
    return f"{figure.median:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


if __name__ == "__main__":
    main()
