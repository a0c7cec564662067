"""A training step against a plain eager loop of the same mathematics, side by side in one process.

    python benchmarks/training_step.py [--case unet-1 --case resnet-1 ...] [--rounds 7] [--json FILE]

The plain loop is what a research script does: contiguous NCHW tensors, fp32, torch's default Adam, no Fabric. Each
round times every variant once, in turn, so that a drift of the machine's speed meets all of them; the ratio is taken
round by round. Reported: the median and the quartiles of seconds a step and of the ratios; and, on a CPU, the limit:
the ratio that would be left if all but a variant's calls of the convolution and matrix libraries took no time.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning_fabric import Fabric
from machine import describe

from translatekit.config import RunConfig
from translatekit.image_spec import RGB
from translatekit.networks.factory import Networks
from translatekit.networks.layers import DoublingConv2d, HalvingConv2d
from translatekit.precision import FABRIC, torch_slowness
from translatekit.registry import registry
from translatekit.training.batches import to_channels_last, use_channels_last
from translatekit.training.setup import make_optimizer, wrap_network

SMALL = {"generator_options": {"depth": 7, "width": 32}, "discriminator_options": {"width": 32}}
CASES: dict[str, tuple[str, int, int, dict[str, Any]]] = {  # method, batch size, pixels a side, options
    "facades": ("pix2pix", 1, 128, SMALL),  # the settings of facades.py
    "unet-1": ("pix2pix", 1, 256, {}),
    "unet-8": ("pix2pix", 8, 256, {}),
    "resnet-1": ("cyclegan", 1, 256, {}),
}
LIBRARY_CALLS = {
    *("aten::_convolution", "aten::mkldnn_convolution", "aten::convolution_backward"),
    *("aten::mm", "aten::bmm", "aten::addmm"),
}


def make_batch(method: str, batch_size: int, size: int, device: torch.device) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    names = ("input", "target") if method == "pix2pix" else ("A", "B")
    shape = (batch_size, 3, size, size)
    return {name: (torch.rand(shape, generator=generator) * 2 - 1).to(device) for name in names}


class PlainFabric:
    """What a script without an engine does where a method asks its Fabric."""

    @staticmethod
    def backward(loss: torch.Tensor) -> None:
        loss.backward()

    @staticmethod
    def no_backward_sync(network: Any) -> Any:
        import contextlib

        return contextlib.nullcontext()


def build(
    name: str, batch_size: int, size: int, given: dict[str, Any], plain: bool, device: str
) -> Callable[[], None]:
    """A function that does one training step."""
    config = RunConfig.resolve(name, "data", {"batch_size": batch_size, "precision": "fp32", **given})
    options = config.options
    torch.manual_seed(0)
    factory = Networks(
        generator_name=str(options.generator),
        generator_options=options.generator_options,
        discriminator_name=options.discriminator,
        discriminator_options=options.discriminator_options,
    )
    data = SimpleNamespace(specs=dict.fromkeys(("input", "target", "A", "B"), RGB))
    method = registry("method").load(name)(config.method_options, factory, data)
    batch = make_batch(name, batch_size, size, torch.device(device))
    if plain:
        method.fabric = PlainFabric()
        for module in (module for network in method.unwrapped.values() for module in network.modules()):
            if isinstance(module, (HalvingConv2d, DoublingConv2d)):  # a script has torch's own
                module.__class__ = type(module).__mro__[1]
        for key, network in method.unwrapped.items():
            network.to(device)
            method.optimizers[key] = torch.optim.Adam(
                network.parameters(), lr=options.lr, betas=(options.beta1, options.beta2)
            )
    else:
        fabric = Fabric(accelerator=device, devices=1, precision=FABRIC[options.precision])
        method.setup(
            fabric,
            functools.partial(make_optimizer, options=options),
            lambda network: wrap_network(network, options, fabric.device),
        )
        if use_channels_last(options, fabric.device):
            batch = {key: to_channels_last(value) for key, value in batch.items()}

    def step() -> None:
        losses = method.step(batch)
        torch.stack(list(losses.values())).tolist()  # waits for the device

    return step


def with_cudnn_benchmark(step: Callable[[], None]) -> Callable[[], None]:
    """The same step with convolutions that cuDNN chose by timing them."""

    def tuned() -> None:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            step()

    return tuned


def quartiles(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {"median": statistics.median(values) or median, "low": low, "high": high}


def library_seconds(step: Callable[[], None]) -> float:
    """Seconds of a step on a CPU within the libraries' convolutions and matrix products."""
    from torch.profiler import ProfilerActivity, profile

    seconds = []
    for _ in range(3):
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            step()
        calls = profiler.key_averages()
        seconds.append(sum(call.self_cpu_time_total for call in calls if call.key in LIBRARY_CALLS) / 1e6)
    return min(seconds)


def measure(case: str, rounds: int, device: str, compiled: bool) -> dict[str, Any]:
    name, batch_size, size, given = CASES[case]
    variants = {
        "plain fp32": build(name, batch_size, size, given, plain=True, device=device),
        "fp32": build(name, batch_size, size, given, plain=False, device=device),
    }
    precisions = ["fp32"] if torch_slowness("bf16", device) else ["fp32", "bf16"]
    if "bf16" in precisions:
        variants["bf16"] = build(
            name, batch_size, size, {**given, "precision": "bf16"}, plain=False, device=device
        )
    if device == "cuda":
        variants["fp16"] = build(
            name, batch_size, size, {**given, "precision": "fp16"}, plain=False, device=device
        )
        nchw = {**given, "precision": "bf16", "channels_last": False}
        variants["bf16 NCHW"] = build(name, batch_size, size, nchw, plain=False, device=device)
        variants["bf16 tuned"] = with_cudnn_benchmark(variants["bf16"])
    if compiled:
        for precision in precisions:
            variant = f"{precision} compiled"
            variants[variant] = build(
                name,
                batch_size,
                size,
                {**given, "precision": precision, "compile": True},
                plain=False,
                device=device,
            )
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for step in variants.values():
        for _ in range(2):
            step()
    for _ in range(rounds):
        for variant, step in variants.items():
            start = time.perf_counter()
            step()
            seconds[variant].append(time.perf_counter() - start)
    plain = seconds["plain fp32"]
    figures: dict[str, Any] = {
        variant: {
            "seconds": quartiles(values),
            "speedup": quartiles([base / value for base, value in zip(plain, values, strict=True)]),
        }
        for variant, values in seconds.items()
    }
    if device == "cpu":
        for variant in ("plain fp32", *precisions):
            figures[variant]["library_seconds"] = within = library_seconds(variants[variant])
            figures[variant]["limit"] = statistics.median(plain) / within
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    results: dict[str, Any] = {
        "machine": {
            **describe(),
            "threads": torch.get_num_threads(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "rounds": arguments.rounds,
        "cases": {},
    }
    if slow := torch_slowness("bf16", arguments.device):
        results["left_out"] = {"bf16": slow}
        print(f"bf16 is left out: {slow}", file=sys.stderr, flush=True)
    for case in arguments.case or CASES:
        results["cases"][case] = measured = measure(
            case, arguments.rounds, arguments.device, arguments.compile
        )
        for variant, figures in measured.items():
            second, ratio = figures["seconds"], figures["speedup"]
            print(
                f"{case:10} {variant:14} {second['median']:8.3f} s a step ({second['low']:.3f} to {second['high']:.3f})"
                f"   {ratio['median']:.2f}x ({ratio['low']:.2f} to {ratio['high']:.2f})"
                + (f"   at most {figures['limit']:.2f}x" if "limit" in figures else ""),
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
