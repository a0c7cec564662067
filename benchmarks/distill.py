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
from machine import describe
from translatekit_tools.distill.candidates import Bench, candidate_of
from translatekit_tools.evaluate import evaluate

from translatekit.model_file import find_model, read_info

METRICS = ("l1", "psnr", "ssim")


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("teacher", help="a run's folder or a model file")
    parser.add_argument("data", help="a folder of pairs, as the teacher was trained on")
    parser.add_argument("students", nargs="*", metavar="NAME=MODEL", help="what is compared with it")
    parser.add_argument("--for", dest="targets", default="openvino,onnxruntime", help="backends")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=5, help="timings of each, in turn")
    parser.add_argument(
        "--images", type=int, default=100, help="validation images that quality is measured on"
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
        # each under a name of its own, since compiled files are named after it
        copy = bench.folder / f"{name}.safetensors"
        copy.write_bytes(path.read_bytes())
        item = candidate_of(header.generator, header.generator_options, own.options, arguments.size)
        say(f"timing {name}: {item.name}")
        compiled = bench.time_file(copy, item)
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
        "batch_size": 1,
        "size": arguments.size,
    }
    found = evaluate(files[0], arguments.data, compare=files[1:], **shared)
    for row, model in zip(rows, found.models[1:], strict=True):
        row["to_targets"] = {name: model.metrics[name].to_dict() for name in METRICS}
        row["difference_to_teacher"] = {name: model.differences[name].to_dict() for name in METRICS}
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
            "to_targets": {name: found.models[0].metrics[name].to_dict() for name in METRICS},
        },
        "students": rows,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    bench.close()


if __name__ == "__main__":
    main()
