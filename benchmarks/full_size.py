"""A run at full size: its curves, and what its models are worth.

    translatekit train pix2pix path/to/facades --direction BtoA -o runs/facades
    python benchmarks/full_size.py runs/facades path/to/facades --models runs/kept/*.safetensors \\
        --json benchmarks/results/full_size.json --picture docs/images/full_size.png

A run is read as it is, also while it trains. ``--models`` are copies of its ``model.safetensors`` of earlier steps:
each is measured on all of `val` by ``translatekit evaluate --protocol own``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import plot
import torch
from machine import describe
from PIL import Image
from translatekit_tools.evaluate import evaluate

import translatekit
from translatekit.config import RunConfig
from translatekit.datasets import make_dataset
from translatekit.interfaces import DataOptions
from translatekit.model_file import read_info
from translatekit.training.diagnosis import read_entries

TOLD = (
    "epochs",
    "epochs_decay",
    "batch_size",
    "lr",
    "load_size",
    "crop_size",
    "precision",
    "generator",
    "generator_options",
    "discriminator",
)


def main() -> None:
    """Read, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="of earlier steps of it")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path, help="for the curves")
    parser.add_argument("--sheet", type=Path, help="for outputs of the models, a column each")
    arguments = parser.parse_args()
    config = RunConfig.from_toml(arguments.run / "config.toml")
    options = config.options
    curves = read(arguments.run / "metrics.jsonl")
    models = {read_info(path).step: path for path in (*arguments.models, arguments.run / "model.safetensors")}
    results = {
        "machine": describe(),
        "settings": {key: getattr(options, key) for key in TOLD}
        | {"lambda_l1": config.method_options.lambda_l1},
        "curves": curves,
        "models": [measure(models[step], arguments.data, options.direction) for step in sorted(models)],
    }
    arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["models"]))
    if arguments.picture:
        picture(results, arguments.picture)
    if arguments.sheet:
        data = DataOptions(split="val", direction=options.direction, crop_size=options.crop_size)
        sheet([models[step] for step in sorted(models)], arguments.data, data, arguments.sheet)


def read(log: Path) -> list[dict[str, float]]:
    """An epoch each: the means of its losses and its validation; of whole epochs alone."""
    losses: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rates: dict[int, list[float]] = defaultdict(list)
    epochs = []
    for entry in read_entries(log):
        epoch = entry.get("epoch", 0)
        if entry["kind"] == "train":
            for name, value in entry["losses"].items():
                losses[epoch][name].append(value)
            rates[epoch].append(entry["images_per_second"])
        elif entry["kind"] == "validation":
            means = {name: statistics.mean(values) for name, values in losses[epoch].items()}
            rate = statistics.median(rates[epoch])
            epochs.append(
                {
                    "epoch": epoch + 1,
                    "step": entry["step"],
                    "images_per_second": rate,
                    **means,
                    **entry["metrics"],
                }
            )
    return epochs


def measure(model: Path, data: Path, direction: str) -> dict[str, Any]:
    """A model's figures with their intervals."""
    evaluation = evaluate(model, data, direction=direction, protocol="own")
    (result,) = evaluation.models
    print(model, result.metrics["l1"].value, flush=True)
    return {
        "step": read_info(model).step,
        "images": evaluation.images,
        "figures": {name: figure.to_dict() for name, figure in result.metrics.items()},
        "protocol": evaluation.protocol,
    }


def table(models: list[dict[str, Any]]) -> str:
    """In Markdown."""
    names = list(models[0]["figures"])
    lines = [f"| step | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for model in models:
        cells = (
            f"{figure['value']:.3g} [{figure['low']:.3g}, {figure['high']:.3g}]"
            for figure in model["figures"].values()
        )
        lines.append(f"| {model['step']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(results: dict[str, Any], path: Path) -> None:
    """L1 by epoch, of training and validation, and KID of the models."""
    curves = results["curves"]
    steps = curves[0]["step"] / curves[0]["epoch"]
    panels = [
        plot.Panel(
            "mean L1 on [-1, 1]",
            {
                "training": [
                    (point["epoch"], point["G_L1"] / results["settings"]["lambda_l1"]) for point in curves
                ],
                "validation": [(point["epoch"], point["l1"]) for point in curves],
            },
        ),
        plot.Panel(
            "KID, own features",
            {
                "validation": [
                    (model["step"] / steps, model["figures"]["kid"]["value"]) for model in results["models"]
                ]
            },
        ),
    ]
    plot.draw(panels, path, "ep.")


def sheet(models: list[Path], data: Path, options: DataOptions, path: Path, count: int = 3) -> None:
    """What the models make of the first images of `val`, at half their size."""
    images = make_dataset("aligned", data, options)
    inputs = torch.stack([images[number]["input"] for number in range(count)])
    columns = []
    for model in models:
        network, _ = translatekit.load_network(model)
        with torch.inference_mode():
            columns.append(torch.cat(list(network(inputs)), 1))  # below each other
    pixels = torch.cat(columns, 2).permute(1, 2, 0).add(1).mul(127.5).round().byte().numpy()
    image = Image.fromarray(pixels)
    image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS).save(path)


if __name__ == "__main__":
    main()
