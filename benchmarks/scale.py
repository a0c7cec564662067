"""What a cluster costs beside its machines: nodes, a million objects, and what dies.

    python benchmarks/scale.py nodes [--seconds 60] [--json FILE]
    python benchmarks/scale.py objects [--count 1000000] [--json FILE]
    python benchmarks/scale.py kills [--times 20] [--json FILE]

A real Ray cluster of simulated nodes on this machine. The translators sleep, as a device would that leaves the
processor free, so that a few cores suffice for eight nodes; what is measured is what the cluster adds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from machine import describe
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.summary import Summary
from translatekit_tools.bulk.work import Row, Worker
from translatekit_tools.scale import run as scale_run
from translatekit_tools.scale.cluster import Demand, connected
from translatekit_tools.scale.options import ScaleOptions, Workers
from translatekit_tools.scale.pool import Pool, Work

from translatekit.model_info import ModelInfo
from translatekit.storage import AppendLog, Item, Sink

NODES = 8
BATCH = 4


class Sleeping:
    """A translator that gives back what it is given, after a while."""

    info = ModelInfo(method="benchmark", generator="none", generator_options={}, size_multiple=1)
    device = "cpu"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        return batch


@contextlib.contextmanager
def cluster_of(nodes: int) -> Iterator[Any]:
    """A cluster whose head does no work, and so many nodes of one core; ``RAY_ADDRESS`` names it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ |= {"RAY_worker_niceness": "0"}  # Ray's 15 would compare it with what else the machine does
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, wait=False)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        yield cluster
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        cluster.shutdown()


def draw(folder: Path, count: int) -> Path:
    """So many tiny images."""
    folder.mkdir(parents=True)
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(file, "PNG")
    for number in range(count):
        (folder / f"{number:06}.png").write_bytes(file.getvalue())
    return folder


def rates(out: Path) -> dict[str, float]:
    """Images a second by the times of the outputs: from the first to the last, and without start and end."""
    times = sorted(path.stat().st_mtime for path in out.rglob("*.png"))
    count = len(times)
    low, high = count // 5, count * 4 // 5
    return {
        "images": count,
        "first_to_last": (count - 1) / (times[-1] - times[0]),
        "middle": (high - low) / (times[high] - times[low]),
    }


def nodes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Eight nodes against one, and against eight shards without Ray."""
    seconds = 0.4  # a batch
    each = int(arguments.seconds / seconds) * BATCH
    results: dict[str, Any] = {"seconds_a_batch": seconds, "images_a_batch": BATCH}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = draw(folder / "many", each * NODES)
        few = draw(folder / "few", each)
        options = RunOptions(batch_size=BATCH)
        with cluster_of(NODES):
            for label, source, workers in (("one", few, 1), ("eight", many, NODES)):
                out = folder / label
                scale = ScaleOptions(on="ray", workers=Workers(workers, workers))
                start = time.perf_counter()
                summary = scale_run.translate_on([source], Sleeping(seconds), out, options, scale)
                assert summary.translated == len(list(source.iterdir())), summary
                results[label] = {**rates(out), "wall_seconds": time.perf_counter() - start}
                print(label, results[label], flush=True)
        shards = [
            subprocess.Popen(
                [sys.executable, __file__, "shard", str(many), str(folder / "shards"), f"{n}/{NODES}"]
            )
            for n in range(1, NODES + 1)
        ]
        for process in shards:
            assert process.wait() == 0
        results["shards"] = rates(folder / "shards")
        print("shards", results["shards"], flush=True)
    for which in ("first_to_last", "middle"):
        results[f"of_eight_times_one_{which}"] = results["eight"][which] / (NODES * results["one"][which])
        results[f"of_shards_{which}"] = results["eight"][which] / results["shards"][which]
    return results


def shard(arguments: argparse.Namespace) -> dict[str, Any]:
    """One of eight shards, by itself."""
    source, out, part = arguments.rest
    translate(source, Sleeping(0.4), out, batch_size=BATCH, shard=part)
    return {}


class Generated(Sink):
    """A store of so many images, which are made when they are read, and which takes outputs and forgets them."""

    def __init__(self, count: int) -> None:
        self.uri, self.count = "generated://objects", count
        file = io.BytesIO()
        Image.fromarray(np.full((1, 1, 3), 100, np.uint8)).save(file, "PNG")
        self._image = file.getvalue()

    def list(self, prefix: str = "") -> Iterator[Item]:
        for number in range(self.count):
            yield Item(f"{number // 1000:04}/{number:07}.png", len(self._image), f"stamp-{number}")

    def read(self, name: str) -> bytes:
        return self._image

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._image)

    def stat(self, name: str) -> Item | None:
        return None

    def commit(self, name: str, data: Any) -> Item:
        return Item(name, 1, "made")

    def delete(self, name: str) -> None:
        pass

    def append_log(self, name: str) -> AppendLog:
        return AppendLog(lambda lines: None, rows=1000, seconds=10)

    def read_log(self, name: str) -> Iterator[dict[str, Any]]:
        return iter(())


class Nowhere(Generated):
    """Where outputs go that nobody keeps."""

    def __init__(self) -> None:
        super().__init__(0)
        self.uri = "nowhere://outputs"

    def list(self, prefix: str = "") -> Iterator[Item]:
        return iter(())


class WithoutPixels:
    """Answers each object with its row, and does nothing else: what is left is the cluster."""

    def __call__(self, name: str) -> Any:
        return lambda block: [Row(name=item.name, output=item.name, outcome="done") for item in block]


class WithPixels:
    """The whole pipeline on images of one pixel, in memory."""

    def __init__(self, source: Generated) -> None:
        self.source = source

    def __call__(self, name: str) -> Any:
        from translatekit_tools.bulk import work

        places: Any = work
        places.open_source, places.open_sink = lambda text: self.source, lambda text: Nowhere()
        worker = Worker("", "", Sleeping(0), RunOptions(batch_size=64), device="cpu")
        return lambda block: list(worker.translate(block))


def objects(arguments: argparse.Namespace) -> dict[str, Any]:
    """Many objects against few, each in a driver of its own: memory, and when the first output is there."""
    results: dict[str, Any] = {}
    with cluster_of(2):
        for kind, most in (("rows", arguments.count), ("pixels", arguments.count // 10)):
            for count in (10_000, most):
                line = [sys.executable, __file__, "driver", kind, str(count)]
                output = subprocess.run(line, check=True, capture_output=True, text=True).stdout
                results[f"{kind}, {count} objects"] = json.loads(output)
                print(kind, count, output, flush=True)
            few, many = results[f"{kind}, 10000 objects"], results[f"{kind}, {most} objects"]
            for who in ("driver_mb", "workers_mb"):
                results[f"{kind}, {who}, many to few"] = many[who] / few[who]
    return results


def driver(arguments: argparse.Namespace) -> dict[str, Any]:
    """One driver over so many objects."""
    kind, count = arguments.rest[0], int(arguments.rest[1])
    start = time.perf_counter()
    source = Generated(count)
    missing = scale_run._Missing(source, Nowhere(), Sleeping(0), RunOptions())
    opening: Any = WithoutPixels() if kind == "rows" else WithPixels(source)
    own, workers, peak, first = psutil.Process(), {}, {"driver": 0, "workers": 0}, 0.0
    summary = Summary()
    with connected("ray") as cluster:
        work: Work[Item, Row] = Work(
            opening=opening,
            given_up=scale_run._given_up,
            check=lambda report: workers.setdefault(report["pid"], psutil.Process(report["pid"])),
            key=scale_run._name,
        )
        pool = Pool(cluster, work, Workers(2, 2), Demand(cpus=1, gpus=0), 60.0)
        for number, row in enumerate(pool.run(missing)):
            first = first or time.perf_counter() - start
            scale_run._tell(row, missing, summary, None)
            if number % 5000 == 4999:
                peak["driver"] = max(peak["driver"], own.memory_info().rss)
                memory = sum(process.memory_info().rss for process in workers.values())
                peak["workers"] = max(peak["workers"], memory)
    assert summary.translated == count, summary
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "first_output_seconds": first,
        "objects_a_second": count / seconds,
        "driver_mb": peak["driver"] / 1e6,
        "workers_mb": peak["workers"] / 1e6,
    }


def kills(arguments: argparse.Namespace) -> dict[str, Any]:
    """Workers, nodes and drivers that die at random moments, and what is there in the end; again and again."""
    chance = random.Random(arguments.seed)
    killed: Counter[str] = Counter()
    rounds = drivers = again = 0
    same = True
    with tempfile.TemporaryDirectory() as name, cluster_of(2) as cluster:
        folder = Path(name)
        source, model = draw(folder / "in", arguments.images), onnx_model(folder)
        translate(source, model, folder / "one", device="cpu")
        one = contents(folder / "one")
        while killed.total() < arguments.times:
            rounds += 1
            out = folder / f"many{rounds}"
            line = [
                sys.executable,
                "-m",
                "translatekit",
                "run",
                str(source),
                "-m",
                str(model),
                "-o",
                str(out),
            ]
            line += ["--on", "ray", "--device", "cpu", "--batch-size", "1"]
            while True:
                process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                drivers += 1
                while process.poll() is None and killed.total() < arguments.times:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(chance.uniform(0.5, 8))
                    if process.poll() is not None:
                        break
                    what = chance.choice(("worker", "worker", "node", "driver"))
                    if what == "driver":
                        process.kill()
                    elif what == "node":
                        nodes = sorted(cluster.worker_nodes, key=lambda node: str(node.unique_id))
                        cluster.remove_node(chance.choice(nodes), allow_graceful=False)
                        cluster.add_node(num_cpus=1)
                    elif not kill_a_worker(chance):
                        continue
                    killed[what] += 1
                    print(f"{what} killed, {len(list(out.glob('*.png')))} outputs there", flush=True)
                _, said = process.communicate()
                if process.returncode != -signal.SIGKILL:
                    break
            assert process.returncode == 0, said
            same = same and contents(out) == one
            manifests = out.glob(".translatekit-manifest*.jsonl")
            again += sum(len(path.read_text().splitlines()) for path in manifests) - len(one)
    return {
        "images": arguments.images,
        "rounds": rounds,
        "kills": dict(killed),
        "drivers": drivers,
        "same_bytes_as_one_machine": same,
        "outputs_written_more_than_once": again,
        "seed": arguments.seed,
    }


def contents(folder: Path) -> dict[str, bytes]:
    """All images of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def kill_a_worker(chance: random.Random) -> bool:
    """Kill one of the processes that translate, which the nodes have started; False where there is none."""
    actors = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Actor"):
                actors.append(process)
    if actors:
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(sorted(actors, key=lambda process: process.pid)).kill()
    return bool(actors)


def onnx_model(folder: Path) -> Path:
    """A tiny network, compiled, so that a worker is ready soon."""
    import torch
    from translatekit_tools.compile import compile_model

    from translatekit.model_file import save_model
    from translatekit.networks.factory import make_generator

    torch.manual_seed(0)
    network: Any = make_generator("resnet", {"width": 4, "blocks": 1}, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="benchmark",
        generator="resnet",
        generator_options=network.arguments,
        size_multiple=network.size_multiple,
        size=32,
    )
    save_model(folder / "model.safetensors", network.state_dict(), info)
    compile_model(folder / "model.safetensors", folder / "model.onnx", tolerance=0)
    return folder / "model.onnx"


PARTS = {"nodes": nodes, "objects": objects, "kills": kills}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*PARTS, "shard", "driver"], metavar=f"{{{','.join(PARTS)}}}")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60, help="that one node is busy")
    parser.add_argument("--count", type=int, default=1_000_000, help="of objects")
    parser.add_argument("--times", type=int, default=20, help="that something is killed")
    parser.add_argument("--images", type=int, default=3000, help="of a round of kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="add the results to this file")
    arguments = parser.parse_args()
    if arguments.part == "shard":
        shard(arguments)
        return
    if arguments.part == "driver":
        print(json.dumps(driver(arguments)))
        return
    result = PARTS[arguments.part](arguments)
    print(json.dumps(result, indent=1))
    if arguments.json:
        known = json.loads(arguments.json.read_text()) if arguments.json.is_file() else {}
        known[arguments.part] = {"machine": describe(), **result}
        arguments.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
