"""A teacher and its students side by side: time, size, and quality on the same images.

python benchmarks/distill.py runs/teacher facades/ distilled=runs/A --json benchmarks/results/distill.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from torch import nn
from translatekit_tools.distill.candidates import Bench, candidate_of
from translatekit_tools.evaluate import evaluate

from translatekit import load_network
from translatekit.datasets import make_dataset
from translatekit.interfaces import DataOptions
from translatekit.model_file import find_model, read_info

METRICS = ("l1", "psnr", "ssim")
SHARES = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5)


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("teacher", help="a run's folder or a model file")
    parser.add_argument("data", help="a folder of pairs, as the teacher was trained on")
    parser.add_argument("students", nargs="*", metavar="NAME=MODEL", help="what is compared with it")
    parser.add_argument("--for", dest="targets", default="openvino,onnxruntime", help="backends")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--split", default="val", help="of the data, that quality is measured on")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each, in turn")
    parser.add_argument(
        "--images", type=int, default=100, help="validation images that quality is measured on"
    )
    parser.add_argument(
        "--sets",
        action="store_true",
        help="of unpaired data: compare by KID and FID of translatekit's features",
    )
    parser.add_argument("--note", action="append", default=[], help="a sentence to keep with the figures")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()

    teacher = find_model(arguments.teacher)
    info = read_info(teacher)
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    bench = Bench(teacher, arguments.targets.split(","), None, arguments.size, arguments.rounds, say)
    own = candidate_of(info.generator, info.generator_options, info.generator_options, arguments.size)
    rows: list[dict[str, Any]] = []
    files = [bench.teachers[next(iter(bench.targets))][0]]
    for named in arguments.students:
        name, _, place = named.partition("=")
        path = find_model(place)
        header = read_info(path)
        item = candidate_of(header.generator, header.generator_options, own.options, arguments.size)
        say(f"timing {name}: {item.name}")
        compiled = bench.time_file(path, item)
        files.append(compiled[next(iter(bench.targets))])
        rows.append(
            {
                "name": name,
                "network": item.name,
                "step": header.step,
                "parameters": item.parameters,
                "bytes_in_half_precision": item.bytes,
                "multiplications": item.multiplications,
                "timings": {key: asdict(timing) for key, timing in item.timings.items()},
            }
        )
    say("measuring quality against the targets")
    shared: dict[str, Any] = {
        "metrics": METRICS,
        "max_images": arguments.images,
        "split": arguments.split,
        "batch_size": 1,
        "size": arguments.size,
    }
    measures = ("kid", "fid") if arguments.sets else METRICS
    of_sets = {"metrics": measures, "features": "own"} if arguments.sets else {}
    found = evaluate(files[0], arguments.data, compare=files[1:], **shared | of_sets)
    for row, model in zip(rows, found.models[1:], strict=True):
        row["to_targets"] = {name: model.metrics[name].to_dict() for name in measures}
        row["difference_to_teacher"] = {name: model.differences[name].to_dict() for name in measures}
    say("measuring nearness to the teacher")
    taught = {"teacher": str(files[0]), "images": str(info.data.get("dataset", "aligned"))}
    if len(files) > 1:
        near = evaluate(
            files[1], arguments.data, compare=files[2:], dataset="taught", dataset_options=taught, **shared
        )
        for row, model in zip(rows, near.models, strict=True):
            row["to_teacher_outputs"] = {name: model.metrics[name].to_dict() for name in METRICS}
    teachers = {}
    for key, (_, translator, size) in bench.teachers.items():
        timing = bench.side_by_side(translator, translator, size)
        teachers[key] = {
            name: value for name, value in asdict(timing).items() if not name.startswith("faster")
        }
    result = {
        "machine": describe(),
        "load_average": list(np.round(os.getloadavg(), 1)),
        "notes": arguments.note,
        "size": arguments.size,
        "rounds": arguments.rounds,
        "images": found.images,
        "teacher": {
            "network": own.name,
            "step": info.step,
            "parameters": own.parameters,
            "multiplications": own.multiplications,
            "timings": teachers,
            "to_targets": {name: found.models[0].metrics[name].to_dict() for name in measures},
            "channels": count_weak_channels(teacher, arguments.data, arguments.split, arguments.size),
        },
        "students": rows,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    bench.close()


@torch.no_grad()
def count_weak_channels(model: Path, data: str, split: str, size: int, images: int = 4) -> dict[str, Any]:
    """How many channels add next to nothing to what the next convolution sums up, so that they could be cut out.

    A channel's share is its mean magnitude times the magnitude of the weights that it meets, over the mean of that of
    the layer's channels: 0 is a dead one, 1 an average one.
    """
    network, info = load_network(model)
    options = DataOptions(split=split, direction=info.direction, crop_size=size)
    dataset = make_dataset(str(info.data["dataset"]), Path(data), options)
    found: dict[str, torch.Tensor] = {}

    def add(name: str, conv: Any, x: torch.Tensor) -> None:
        weight = conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight
        share = x.float().abs().mean((0, 2, 3)) * weight.abs().flatten(2).sum((0, 2))
        found[name] = found.get(name, torch.zeros_like(share)) + share

    for name, module in network.eval().named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.in_channels != info.in_channels:
            module.register_forward_pre_hook(lambda conv, x, name=name: add(name, conv, x[0]))
    for index in range(min(images, len(dataset))):
        item = dataset[index]
        network(item.get("input", item.get(info.direction[0]))[None])
    shares = torch.cat([layer / layer.mean() for layer in found.values()])
    return {
        "all": len(shares),
        "least": float(shares.min()),
        "with_a_share_up_to": {str(limit): int((shares <= limit).sum()) for limit in SHARES},
    }


if __name__ == "__main__":
    main()
