"""Everything that needs a CUDA GPU, checked and measured in one go: twenty minutes, whatever is installed.

    python benchmarks/gpu.py --prepare work/            # anywhere with torch and onnx: models and graphs
    python benchmarks/gpu.py --work work/ --json FILE   # on the GPU's machine, with nothing else on it

Each part runs in a process of its own and writes down every figure as soon as it has it, so that a part that is
missing, fails or runs out of time costs nothing but itself; the result says which did and why. Parts: the limits of
the card as torch reaches them, TensorRT, a tiny network first (and again with pycuda in place of cuda-bindings), torch
eager and compiled, ONNX Runtime, TensorRT-RTX, from files to files, training steps, and what of a step waits for its
images. Networks: the U-Net and the ResNet of 9 blocks at the papers' width of 64, 256x256 pixels.
TensorRT-RTX builds without a GPU, and that half of its part is measured anywhere.

``alone`` is images a second from arrays to arrays, three batches in flight, uploads and downloads included, and
``one_at_a_time`` without the others in flight; ``device`` leaves uploads and downloads out;
``gpu_busy`` is the share of the time from files to files that eager torch's device alone would need; ``times_torch``
is the first as a multiple of eager torch's at the same precision and batch; ``psnr`` is against the network in
float32 on the CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from machine import describe

ROOT = Path(__file__).resolve().parents[1]
SIZE = 256
NETWORKS: dict[str, dict[str, Any]] = {"unet": {"width": 64}, "resnet": {"width": 64, "blocks": 9}}
TINY = "tiny"  # whether TensorRT works at all is known after its build, which is the shortest
MODELS = {
    TINY: ("unet", {"depth": 6, "width": 8}),
    **{name: (name, given) for name, given in NETWORKS.items()},
}
PRECISIONS = ("fp16", "bf16", "fp32")
BATCHES = (1, 4, 16, 64)
PROFILE = "1,16,64"
FILES = 2000
PARTS = {  # seconds each may take
    "limits": 25,
    "tensorrt": 360,
    "tensorrt-pycuda": 20,
    "engine-files": 40,
    "torch": 80,
    "files": 120,
    "training": 180,
    "feed": 80,
    "tensorrt-rtx": 60,
    "onnxruntime": 30,
    "compiled": 90,
}
Write = Callable[..., None]


# What is prepared where there is no GPU


def prepare(work: Path) -> None:
    """Models with random weights, what they give in float32 on the CPU, and their graphs."""
    import numpy as np
    import torch
    from translatekit_tools.backends.torch.translator import load

    from translatekit.model_file import save_model
    from translatekit.model_info import ModelInfo
    from translatekit.networks.factory import make_generator

    work.mkdir(parents=True, exist_ok=True)
    for name, (generator, options) in MODELS.items():
        torch.manual_seed(0)
        network = make_generator(generator, options, in_channels=3, out_channels=3)
        info = ModelInfo(
            method="benchmark",
            generator=generator,
            generator_options=network.arguments,  # type: ignore[arg-type]
            size_multiple=network.size_multiple,  # type: ignore[arg-type]
            size=SIZE,
            norm_inference="per_image",
        )
        save_model(work / f"{name}.safetensors", network.state_dict(), info)
        facts = {**count_work(network), "info": info.to_json()}
        (work / f"{name}.json").write_text(json.dumps(facts))
        np.save(work / f"{name}.reference.npy", load(work / f"{name}.safetensors", "cpu")(random_images(4)))
    for name in MODELS:  # last, as torch's parts need none
        export_graphs(name, work)


def count_work(network: Any) -> dict[str, float]:
    """What an image costs in convolutions, which is nearly all: operations, and numbers read and written."""
    import torch
    from torch import nn

    facts = {"operations": 0.0, "activations": 0.0, "weights": 0.0}

    def count(module: Any, inputs: Any, output: Any) -> None:
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        facts["operations"] += 2.0 * module.weight.numel() * positions.shape[2] * positions.shape[3]
        facts["activations"] += inputs[0].numel() + output.numel()
        facts["weights"] += module.weight.numel()

    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, convolutions)]
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return facts


def export_graphs(name: str, work: Path) -> None:
    from translatekit_tools.compile.source import Source
    from translatekit_tools.graphs.opset import to_opset_17

    source = Source(work / f"{name}.safetensors")
    for precision in PRECISIONS:
        target = work / f"{name}.{precision}.onnx"
        target.write_bytes(Path(source.onnx(precision)).read_bytes())
    to_opset_17(work / f"{name}.fp32.onnx", work / f"{name}.opset17.onnx")


# What the parts share


def rate(
    step: Callable[[], Any], images: int, finish: Callable[[], Any] = lambda: None, seconds: float = 0.5
) -> float:
    """Images a second: the median of three runs of equal length, after a warm-up."""
    for _ in range(3):
        step()
    finish()
    started = time.perf_counter()
    step()
    finish()
    once = max(time.perf_counter() - started, 1e-5)
    repeat = max(3, int(seconds / 3 / once))
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(repeat):
            step()
        finish()
        rates.append(images * repeat / (time.perf_counter() - started))
    return statistics.median(rates)


def random_images(count: int) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def quality(translate: Callable[[Any], Any], name: str, work: Path) -> float:
    """PSNR in dB against what the network gives in float32 on the CPU."""
    import numpy as np

    expected = np.load(work / f"{name}.reference.npy").astype(np.float64)
    error = float(np.mean((translate(random_images(4)) - expected) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


# The parts, each in a process of its own


def limits_part(work: Path, write: Write) -> None:
    """What the card reaches in large matrix products and in copies, by torch."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    write(what="card", name=properties.name, memory=properties.total_memory, torch=torch.__version__)
    synchronize = torch.cuda.synchronize
    side = 8192
    for precision, dtype in (
        ("fp32", torch.float32),
        ("tf32", torch.float32),
        ("fp16", torch.float16),
        ("bf16", torch.bfloat16),
    ):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        a, b = (torch.randn(side, side, device="cuda", dtype=dtype) for _ in range(2))
        products = rate(partial(torch.matmul, a, b), 1, synchronize)
        write(what="arithmetic", precision=precision, flops=products * 2 * side**3)
    size = 2**30
    source, target = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    write(what="memory", bytes_per_second=2 * size * rate(partial(target.copy_, source), 1, synchronize))
    pinned = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    for direction, to, start in (("upload", target, pinned), ("download", pinned, source)):
        copies = rate(partial(to.copy_, start, non_blocking=True), 1, synchronize)
        write(what=direction, bytes_per_second=size * copies)


def torch_part(work: Path, write: Write) -> None:
    """Eager torch, checked against the CPU."""
    import torch
    from translatekit_tools.backends.torch.translator import load

    for name in NETWORKS:
        for precision in PRECISIONS:
            translator = load(work / f"{name}.safetensors", "cuda", precision)
            row = {"network": name, "precision": precision, "tf32": False}
            write(**row, psnr=quality(translator, name, work))
            for batch in BATCHES:
                device = rate(partial(translator._start, to_device(batch)), batch, torch.cuda.synchronize)
                alone = rate(partial(translator, random_images(batch)), batch)
                in_flight = rate_in_flight(translator, batch)
                write(**row, batch=batch, device=device, alone=in_flight, one_at_a_time=alone)


def compiled_part(work: Path, write: Write) -> None:
    """By torch.compile, which takes its time: one precision, the largest batch and the smallest."""
    import torch
    from translatekit_tools.backends.torch.translator import load

    for name in NETWORKS:
        translator = load(work / f"{name}.safetensors", "cuda", "fp16")
        for batch in (64,):
            step = partial(
                run_on_device, torch.compile(translator._model), to_device(batch), translator._dtype
            )
            started = time.perf_counter()
            step()
            seconds = time.perf_counter() - started
            device = rate(step, batch, torch.cuda.synchronize)
            write(network=name, precision="fp16", batch=batch, device=device, compile_seconds=seconds)


def to_device(batch: int) -> Any:
    import torch

    return torch.from_numpy(random_images(batch)).cuda()


def run_on_device(model: Any, images: Any, dtype: Any) -> None:
    import torch

    with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        model(images)


def onnxruntime_part(work: Path, write: Write) -> None:
    """ONNX Runtime on CUDA, from arrays to arrays."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries from torch's wheels
    there = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in there:
        raise RuntimeError(f"this onnxruntime has no CUDA provider, only {', '.join(there)}")
    for name in NETWORKS:
        for precision in ("fp16", "fp32"):
            graph = str(work / f"{name}.{precision}.onnx")
            session = onnxruntime.InferenceSession(graph, providers=["CUDAExecutionProvider"])

            def run(images: Any, session: Any = session) -> Any:
                return session.run(["translated"], {"image": images})[0]

            row = {"network": name, "precision": precision, "provider": session.get_providers()[0]}
            write(**row, psnr=quality(run, name, work))
            for batch in BATCHES:
                write(**row, batch=batch, alone=rate(partial(run, random_images(batch)), batch))


def tensorrt_part(work: Path, write: Write) -> None:
    """Engines built by the full TensorRT, checked and timed; kept for the part from files to files."""
    from translatekit_tools.backends.tensorrt.cuda.driver import find_gpu
    from translatekit_tools.backends.tensorrt.flavour import FULL

    engines_part(FULL, find_gpu(), work, write)


def tensorrt_rtx_part(work: Path, write: Write) -> None:
    """Engines of TensorRT-RTX, built for this GPU, checked and timed, from files to files too.

    Without a GPU one of each network is built for the default targets, and that is all.
    """
    from translatekit_tools.backends.tensorrt.cuda.driver import find_gpu
    from translatekit_tools.backends.tensorrt.flavour import RTX

    from translatekit.errors import TranslatekitError

    try:
        gpu, problem = find_gpu(), None
    except TranslatekitError as error:
        gpu, problem = None, error
        write(problem=str(error))
    engines_part(RTX, gpu, work, write)
    if problem is not None:
        raise problem
    time_files(engines(work, "*.tensorrt-rtx.engine"), "auto", (None,), write)


def engines_part(flavour: Any, gpu: Any, work: Path, write: Write) -> None:
    from translatekit_tools.backends.tensorrt.flavour import use

    if gpu is not None:
        write(gpu=gpu.name, compute_capability=gpu.compute_capability, driver=gpu.driver)
    version = use(flavour)
    timings = b""
    for precision in PRECISIONS if gpu is not None else PRECISIONS[:1]:
        for name in MODELS:
            row = {"network": name, "precision": precision, flavour.name: version}
            write(**row, begun="build")
            try:
                path, timings = build_engine(
                    name, precision, flavour, gpu, timings, work, partial(write, **row)
                )
                if gpu is not None:
                    time_engine(path, name, work, partial(write, **row))
            except Exception as error:
                write(**row, problem=f"{type(error).__name__}: {error}")


def build_engine(
    name: str, precision: str, flavour: Any, gpu: Any, timings: bytes, work: Path, write: Write
) -> tuple[Path, bytes]:
    """An engine and its header, and what to keep for the next build; `gpu` None for TensorRT-RTX's default targets."""
    from translatekit_tools.backends.tensorrt.build import build
    from translatekit_tools.backends.tensorrt.compiler import check_version
    from translatekit_tools.backends.tensorrt.engine_file import EngineHeader, hash_engine, write_header
    from translatekit_tools.backends.tensorrt.flavour import RTX, use
    from translatekit_tools.backends.tensorrt.phases import Phases
    from translatekit_tools.backends.tensorrt.profiles import parse_profiles
    from translatekit_tools.backends.tensorrt.targets import parse_targets

    from translatekit.model_info import ModelInfo

    version = use(flavour)
    info = ModelInfo.from_json(json.loads((work / f"{name}.json").read_text())["info"], work)
    profiles = parse_profiles(PROFILE, None, info)
    typed = check_version(version, precision, flavour)
    graph = work / f"{name}.{precision if typed else 'opset17'}.onnx"
    half = precision == "fp16" and not typed
    targets = None
    if flavour is RTX:
        targets = parse_targets(None if gpu is None else gpu.compute_capability, precision)
    started = time.perf_counter()
    plan, timings = build(
        graph, profiles, Phases(lambda *_: None), half=half, timings=timings, targets=targets
    )
    write(build_seconds=time.perf_counter() - started, engine_bytes=len(plan), targets=targets)
    path = work / f"{name}.{precision}.{flavour.name}.engine"
    path.write_bytes(plan)
    header = EngineHeader(
        info=info,
        sha256=hash_engine(plan),
        source=str(graph),
        precision=precision,
        profiles=profiles,
        gpu="" if targets else gpu.name,
        compute_capability="" if targets else gpu.compute_capability,
        tensorrt=version,
        driver="" if targets else gpu.driver,
        flavour=flavour.name,
        targets=",".join(targets or ()),
    )
    write_header(path, header)
    return path, timings


def time_engine(path: Path, name: str, work: Path, write: Write) -> None:
    from translatekit_tools.backends.tensorrt.cuda.device import driver
    from translatekit_tools.backends.tensorrt.translator import load

    started = time.perf_counter()
    translator = load(path)
    seconds = time.perf_counter() - started
    write = partial(write, driver=driver().__name__.rpartition("_")[2])
    beside = works_beside_torch(translator)
    write(load_seconds=seconds, psnr=quality(translator, name, work), beside_torch=beside)
    for batch in BATCHES:
        single = rate(partial(translator, random_images(batch)), batch)
        write(batch=batch, alone=rate_in_flight(translator, batch), one_at_a_time=single)
    translator.close()


def pycuda_part(work: Path, write: Write) -> None:
    """The engines of the full TensorRT once more, with pycuda in place of cuda-bindings."""
    sys.modules["cuda.bindings"] = None  # type: ignore[assignment]  # as if it were not installed
    for path in engines(work, "*.fp16.tensorrt.engine"):
        name, precision, *_ = path.name.split(".")
        time_engine(path, name, work, partial(write, network=name, precision=precision))


def engines(work: Path, pattern: str) -> list[Path]:
    """The engines that an earlier part has built."""
    found = sorted(work.glob(pattern))
    if not found:
        raise RuntimeError("no engine was built")
    return found


def works_beside_torch(translator: Any) -> bool | None:
    """Whether torch and the engine take turns on the GPU and disturb neither; None where there is no torch."""
    try:
        import torch
    except ImportError:
        return None
    images = random_images(4)
    alone = translator(images)
    numbers = torch.arange(1000, device="cuda")
    together = translator(images)
    return bool((together == alone).all()) and int((numbers + 1).sum()) == 500500


def rate_in_flight(translator: Any, batch: int) -> float:
    """Images a second with three batches in flight."""
    images = random_images(batch)
    waiting: list[Any] = []

    def submit() -> None:
        waiting.append(translator.submit(images))
        if len(waiting) == 3:
            waiting.pop(0).result()

    def drain() -> None:
        while waiting:
            waiting.pop(0).result()

    return rate(submit, batch, drain)


def files_part(work: Path, write: Write) -> None:
    """From JPEGs to JPEGs, with torch."""
    models = [work / f"{name}.safetensors" for name in NETWORKS]
    time_files(models, "cuda", ("fp16", "fp32"), write)
    variants: dict[str, dict[str, Any]] = {
        "CUDA graph": {"wrap": Graphed, "batch_size": 16},
        "one at a time": {"wrap": OneAtATime},
        "batches of 32": {"batch_size": 32},
    }
    time_files(models, "cuda", ("fp16",), write, variants)


def engine_files_part(work: Path, write: Write) -> None:
    """From JPEGs to JPEGs, with the engines that the full TensorRT built."""
    time_files(engines(work, "*.tensorrt.engine"), "auto", (None,), write)


def time_files(
    models: list[Path],
    device: str,
    precisions: tuple[str | None, ...],
    write: Write,
    variants: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Models from JPEGs to JPEGs, loaded and warm; loading, and the first batches, are figures of their own.

    Args:
        variants: what is done otherwise, by name: ``wrap`` for the translator, and options of `translatekit.translate`.
    """
    import numpy as np
    from PIL import Image
    from translatekit_tools.bulk import translate

    import translatekit

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        coarse = np.random.default_rng(0).integers(0, 256, (FILES, 16, 16, 3), np.uint8)
        for kind, count in (("in", FILES), ("first", 100)):
            (folder / kind).mkdir()
            for index, pixels in enumerate(coarse[:count]):
                target = folder / kind / f"{index:05}.jpg"
                Image.fromarray(pixels).resize((SIZE, SIZE)).save(target, quality=95)
        for model in models:
            for precision in precisions:
                name, built, *_ = f"{model.stem}.".split(".")
                row = {"network": name, "model": model.name, "precision": precision or built, "images": FILES}
                started = time.perf_counter()
                loaded = translatekit.load(model, device, precision)
                write(**row, load_seconds=time.perf_counter() - started)
                for variant, given in (variants or {"": {}}).items():
                    options = dict(given)
                    wrap = options.pop("wrap", lambda same: same)
                    seconds = {}
                    try:
                        translator = wrap(loaded)
                        for kind in ("first", "in"):
                            out = Path(tempfile.mkdtemp(dir=folder))
                            started = time.perf_counter()
                            summary = translate(folder / kind, translator, out, **options)
                            seconds[kind] = time.perf_counter() - started
                        if summary.failed or summary.translated != FILES:
                            raise RuntimeError(
                                f"{len(summary.failed)} files failed, first {summary.failed[:1]}"
                            )
                        write(
                            **row,
                            variant=variant,
                            first_100_seconds=seconds["first"],
                            end_to_end=FILES / seconds["in"],
                            stages=summary.stats.to_dict(),
                        )
                    except Exception as error:
                        write(**row, variant=variant, problem=f"{type(error).__name__}: {error}")


class OneAtATime:
    """A translator without its `submit`."""

    def __init__(self, translator: Any) -> None:
        self._translator = translator
        self.info, self.device = translator.info, translator.device

    def __call__(self, batch: Any) -> Any:
        return self._translator(batch)


class Graphed:
    """A torch translator whose full batches are replayed as one CUDA graph: one launch in place of hundreds."""

    def __init__(self, translator: Any, batch: int = 16) -> None:
        import torch

        self._translator = translator
        self.info, self.device, self.preferred_batch = translator.info, translator.device, batch
        self._input = to_device(batch)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                translator._start(self._input)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output, self._finite = translator._start(self._input)

    def submit(self, batch: Any) -> Any:
        import torch
        from translatekit_tools.backends.torch.translator import Pending

        if batch.shape != tuple(self._input.shape):
            return self._translator.submit(batch)
        self._input.copy_(torch.from_numpy(batch).pin_memory(), non_blocking=True)
        self._graph.replay()
        return Pending(self._output, self._finite, self._translator._check)

    def __call__(self, batch: Any) -> Any:
        return self.submit(batch).result()


def training_part(work: Path, write: Write) -> None:
    """The steps of the benchmark of training, on the GPU."""
    result = work / "training.json"
    for case in ("unet-1", "resnet-1", "unet-8"):
        script = ROOT / "benchmarks" / "training_step.py"
        command = [
            sys.executable,
            script,
            "--device",
            "cuda",
            "--rounds",
            "15",
            "--case",
            case,
            "--json",
            result,
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode == 0:
            write(**json.loads(result.read_text())["cases"])
        else:
            write(case=case, problem=done.stderr.strip()[-500:])


def feed_part(work: Path, write: Write) -> None:
    """What of a training step waits for its images: real steps on JPEGs, against the same steps on one batch."""
    import torch

    from translatekit.config import RunConfig
    from translatekit.training.batches import count_workers, in_memory_format, make_batches, make_loader
    from translatekit.training.remote import Keeper
    from translatekit.training.setup import build, make_fabric, prepare

    folder = training_images(work)
    given = {"precision": "bf16", "accelerator": "cuda", "direction": "BtoA", "validate_every": 0}
    config = RunConfig.resolve("pix2pix", folder, given)
    options = config.options
    fabric = make_fabric(options)
    parts = build(config, fabric)
    fabric.launch()
    training = prepare(parts, config, work / "feed", fabric, Keeper(str(work / "feed")))

    def step(batch: Any) -> None:
        training.method.step(in_memory_format(batch, options, fabric))

    for batch_size in (1, 8):
        options.batch_size = batch_size
        for workers in (8, 2, 1):
            options.workers = workers
            batches = make_batches(training.data, options, fabric)
            loader = make_loader(training.data, batches, options, fabric)
            steps, batch = 0, None
            for epoch in range(1 + 2 * batch_size):
                if epoch == 1:  # the readers have started
                    torch.cuda.synchronize()
                    started, steps = time.perf_counter(), 0
                training.data.set_epoch(epoch)
                batches.start(epoch)
                for batch in loader:
                    step(batch)
                    steps += 1
            torch.cuda.synchronize()
            fed = (time.perf_counter() - started) / steps
            started = time.perf_counter()
            for _ in range(steps):
                step(batch)
            torch.cuda.synchronize()
            alone = (time.perf_counter() - started) / steps
            used = count_workers(options, fabric)
            write(batch=batch_size, workers=used, fed=fed, step=alone, waiting=max(0.0, 1 - alone / fed))


def training_images(work: Path) -> Path:
    """The facades where the tests' data is, else pairs of noise of the same size."""
    import numpy as np
    from PIL import Image

    there = Path(os.environ.get("TRANSLATEKIT_TEST_DATA", "nowhere")) / "facades"
    if there.is_dir():
        return there
    folder = work / "pairs"
    (folder / "train").mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(0).integers(0, 256, (400, 32, 64, 3), np.uint8)
    for index, pixels in enumerate(coarse):
        Image.fromarray(pixels).resize((512, 256)).save(folder / "train" / f"{index:03}.jpg", quality=90)
    return folder


FUNCTIONS = {
    "limits": limits_part,
    "torch": torch_part,
    "compiled": compiled_part,
    "onnxruntime": onnxruntime_part,
    "tensorrt": tensorrt_part,
    "tensorrt-pycuda": pycuda_part,
    "engine-files": engine_files_part,
    "feed": feed_part,
    "tensorrt-rtx": tensorrt_rtx_part,
    "files": files_part,
    "training": training_part,
}


def run_part(part: str, work: Path) -> None:
    """Run a part in this process; its figures are lines of JSON."""
    with (work / f"{part}.jsonl").open("w") as file:

        def write(**row: Any) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        FUNCTIONS[part](work, write)


# What brings them together


def measure(work: Path, parts: list[str], seconds: float) -> dict[str, Any]:
    """Run the parts one after another, and gather what they wrote."""
    deadline = time.monotonic() + seconds
    results: dict[str, Any] = {"machine": describe_machine(), "parts": {}}
    for part in parts:
        (work / f"{part}.jsonl").unlink(missing_ok=True)
        started = time.monotonic()
        left = min(PARTS[part], deadline - started)
        problem = "there was no time left" if left < 5 else run_child(part, work, left)
        rows = list(read_rows(work / f"{part}.jsonl"))
        took = round(time.monotonic() - started, 1)
        results["parts"][part] = {"seconds": took, "problem": problem, "rows": rows}
        print(
            f"{part}: {len(rows)} figures in {took} s; {problem or 'complete'}", file=sys.stderr, flush=True
        )
    compare_with_torch(results)
    compare_with_limits(results, work)
    return results


def run_child(part: str, work: Path, seconds: float) -> str | None:
    """Run a part in a process of its own; returns what went wrong, or None."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", part, "--work", str(work)]
    places = [str(ROOT), str(ROOT / "plugins"), str(ROOT / "tools"), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    with tempfile.TemporaryFile("w+") as said:
        try:
            done = subprocess.run(command, stdout=said, stderr=said, timeout=seconds, env=environment)
        except subprocess.TimeoutExpired:
            return f"it was stopped after {seconds:.0f} s"
        if done.returncode == 0:
            return None
        said.seek(0)
        last = [line for line in said.read().splitlines() if line.strip()][-1:] or ["it said nothing"]
        return f"exit status {done.returncode}: {last[0][-500:]}"


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # a line that was cut off
                yield json.loads(line)


def describe_machine() -> dict[str, Any]:
    query = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit"
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()
    except (OSError, subprocess.CalledProcessError) as error:
        said = [f"nvidia-smi fails: {error}"]
    return {
        "gpus": said,
        "query": query,
        **describe(),
        "date": time.strftime("%Y-%m-%d"),
    }


def compare_with_torch(results: dict[str, Any]) -> None:
    """Beside each rate from arrays to arrays, that of eager torch at the same network, precision and batch."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row.get("network"), row.get("precision"), row.get("batch")

    parts = results["parts"]
    eager = {key(row): row["alone"] for row in parts.get("torch", {}).get("rows", []) if row.get("alone")}
    for row in (row for name, part in parts.items() if name != "torch" for row in part["rows"]):
        if row.get("alone") and row.get("batch") and key(row) in eager:
            row["times_torch"] = row["alone"] / eager[key(row)]
    for row in (row for name, part in parts.items() if name != "torch" for row in part["rows"]):
        fastest = [
            other["device"]
            for other in parts.get("torch", {}).get("rows", [])
            if other.get("device") and key(other)[:2] == key(row)[:2]
        ]
        if row.get("end_to_end") and fastest:
            row["gpu_busy"] = row["end_to_end"] / max(fastest)


def compare_with_limits(results: dict[str, Any], work: Path) -> None:
    """Beside each rate, the share of what the card's arithmetic or its memory would allow, whichever is less.

    The allowance is that of torch's largest matrix products and copies on this very card. Memory counts what the
    convolutions read and write; layers between that are not fused come on top.
    """
    rows = results["parts"].get("limits", {}).get("rows", [])
    arithmetic = {row["precision"]: row["flops"] for row in rows if row.get("what") == "arithmetic"}
    memory = next((row["bytes_per_second"] for row in rows if row.get("what") == "memory"), None)
    networks = results["networks"] = {}
    for name in NETWORKS:
        with contextlib.suppress(OSError, ValueError):
            networks[name] = json.loads((work / f"{name}.json").read_text())
    for row in (row for part in results["parts"].values() for row in part["rows"]):
        reached = max((row.get(key) or 0 for key in ("device", "alone", "end_to_end")), default=0)
        precision = "tf32" if row.get("precision") == "fp32" and row.get("tf32") else row.get("precision")
        if not reached or row.get("network") not in networks or precision not in arithmetic or not memory:
            continue
        facts = networks[row["network"]]
        size = 4 if row["precision"] == "fp32" else 2  # bytes
        moved = size * (facts["activations"] + facts["weights"] / row.get("batch", 64))
        computing, moving = arithmetic[precision] / facts["operations"], memory / moved
        row["flops"] = reached * facts["operations"]
        row["limit"], row["limited_by"] = min((computing, "arithmetic"), (moving, "memory"))
        row["share_of_limit"] = reached / row["limit"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepare", type=Path, metavar="DIR", help="write models and graphs there, and stop")
    parser.add_argument("--work", type=Path, default=Path("work"), help="the folder that --prepare wrote")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the parts")
    parser.add_argument("--minutes", type=float, default=20, help="for all parts together")
    parser.add_argument("--json", type=Path, help="write the results there too")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
    elif options.part:
        run_part(options.part, options.work)
    else:
        options.work.mkdir(parents=True, exist_ok=True)
        results = measure(options.work, options.only, options.minutes * 60)
        text = json.dumps(results, indent=1)
        if options.json:
            options.json.write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    main()
