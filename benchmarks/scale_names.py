"""What a million names cost `run` on one machine: memory, the first output, a rerun with nothing to do.

    python benchmarks/scale_names.py [--count 1000000] [--json FILE]

The places are generated: a source that lists names and gives the same small image for each, a sink that counts what is
written and keeps the journals alone. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from machine import describe
from PIL import Image
from translatekit_tools.bulk import Result, places
from translatekit_tools.bulk.manifest import MANIFEST_NAME, hash_options
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.run import translate_images

from translatekit.storage import AppendLog, Item, Sink, hash_file
from translatekit.storage.local import LocalPlace

PARTS = {"a dry run": "dry", "a rerun with nothing to do": "rerun", "translating": "translate"}


class Generated(Sink):
    """A place of numbered names, which holds none of them.

    Args:
        count: of the images that it lists.
        journals: a folder for the journals that are written to it.
    """

    def __init__(self, uri: str, count: int, journals: Path) -> None:
        self.uri, self.count, self.journals = uri, count, LocalPlace(journals)
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(buffer, "PNG")
        self.data = buffer.getvalue()

    def list(self, prefix: str = "") -> Iterator[Item]:
        yield from self.journals.list(prefix)
        if not prefix:
            for number in range(self.count):
                yield Item(name(number), len(self.data), stamp(name(number)))

    def read(self, name: str) -> bytes:
        return self.journals.read(name) if name.startswith(".") else self.data

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self.read(name))

    def stat(self, name: str) -> Item | None:
        return Item(name, len(self.data), stamp(name)) if self.count else None

    def commit(self, name: str, data: bytes | BinaryIO | Path) -> Item:
        assert isinstance(data, bytes)
        return Item(name, len(data), stamp(name))

    def delete(self, name: str) -> None:
        self.journals.delete(name)

    def append_log(self, name: str) -> AppendLog:
        return self.journals.append_log(name)

    def read_log(self, name: str) -> Iterator[dict[str, Any]]:
        return self.journals.read_log(name)


def name(number: int) -> str:
    return f"{number // 1000:06d}/{number:09d}.png"


def stamp(name: str) -> str:
    return f"etag-of-{name}"


def write_manifest(folder: Path, count: int, model: Path) -> None:
    """As a run over all of them leaves it."""
    common = {
        "input_hash": "0" * 32,
        "output_hash": "1" * 32,
        "output_size": 91,
        "model_hash": hash_file(model),
        "options_hash": hash_options(RunOptions().of_result()),
    }
    for segment in range(-(-count // 1000)):  # as object stores are given them
        path = folder / f"{MANIFEST_NAME.removesuffix('.jsonl')}.{segment + 1:04d}.jsonl"
        with path.open("w") as file:
            for number in range(1000 * segment, min(1000 * (segment + 1), count)):
                one = name(number)
                made = {"stamp": stamp(one), "output_stamp": stamp(one)}
                record = {"input": f"generated://in/{one}", "output": one, **common, **made}
                file.write(json.dumps(record) + "\n")


def measure(part: str, count: int, folder: Path) -> dict[str, Any]:
    """In a process of its own."""
    model = onnx_model(folder)
    if part == "rerun":
        write_manifest(folder, count, model)
    source = Generated("generated://in", count, folder / "nothing")
    (folder / "nothing").mkdir()
    sink = Generated("generated://out", count if part == "rerun" else 0, folder)
    places.open_source = lambda text: source  # type: ignore[assignment]
    places.open_sink = lambda text: sink  # type: ignore[assignment]
    first: list[float] = []
    start, busy = time.perf_counter(), time.process_time()

    def progress(result: Result) -> None:
        if not first:
            first.append(time.perf_counter() - start)

    options = RunOptions(device="cpu", dry_run=part == "dry")
    summary = translate_images(["generated://in"], model, "generated://out", options, progress)
    return {
        "count": count,
        "translated": summary.translated,
        "skipped": summary.skipped,
        "failed": len(summary.failed),
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - busy,
        "first": first[0] if first else None,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def onnx_model(folder: Path) -> Path:
    """A model that gives back what it is given."""
    import onnx
    from onnx import TensorProto, helper
    from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT, set_info

    from translatekit.image_spec import levels_spec
    from translatekit.model_info import ModelInfo

    shape = ["count", "height", "width", 3]
    ends = [helper.make_tensor_value_info(each, TensorProto.UINT8, shape) for each in (INPUT, OUTPUT)]
    graph = helper.make_graph([helper.make_node("Identity", [INPUT], [OUTPUT])], "same", ends[:1], ends[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    spec = levels_spec(3)
    set_info(made, ModelInfo(method="benchmark", generator="none", input=spec, output=spec, size_multiple=8))
    path = folder / "same.onnx"
    onnx.save(made, str(path))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--only", choices=list(PARTS.values()), help="one measurement alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(arguments.part, arguments.count, Path(folder))))
        return
    results: dict[str, Any] = {"machine": describe()}
    for title, part in PARTS.items():
        if arguments.only not in (None, part):
            continue
        for count in (10_000, arguments.count):
            command = [sys.executable, __file__, "--part", part, "--count", str(count)]
            result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
            results[f"{part} {count}"] = result
            print(
                f"{title}, {count:,} names: {result['seconds']:.1f} s ({result['processor_seconds']:.1f} s of a "
                f"processor), the first after {result['first']:.2f} s, "
                f"{result['peak_megabytes']:.0f} MB at most"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
