"""Building TensorRT engines.

Nothing here imports the full TensorRT before a driver has been found: its builder crashes without one.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.errors import OptionError, StorageError
from translatekit.interfaces import ModelSource, Progress
from translatekit.storage import cache_folder, write_atomically
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu, find_gpu
from translatekit_tools.backends.tensorrt.engine_file import (
    EngineHeader,
    graph_path,
    hash_engine,
    write_header,
)
from translatekit_tools.backends.tensorrt.flavour import FULL, RTX, Flavour, choose_flavour, use
from translatekit_tools.backends.tensorrt.graph import check_graph
from translatekit_tools.backends.tensorrt.phases import Phases
from translatekit_tools.backends.tensorrt.profiles import parse_profiles
from translatekit_tools.backends.tensorrt.targets import parse_targets
from translatekit_tools.graphs import onnx_file
from translatekit_tools.graphs.qdq import to_int8

if TYPE_CHECKING:
    from translatekit_tools.backends.options import CompileOptions

CALIBRATION_IMAGES = 64
OLDEST = (8, 5)
"""The first version with the calls that an engine is run by."""
OLDEST_RTX = (1, 7)
"""The first version of TensorRT-RTX that this was tried with."""
STRONGLY_TYPED_SINCE = (10, 0)
"""Before, types are flags for the whole network; since, they are those of the ONNX graph."""


def compile(source: ModelSource, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:  # noqa: A001
    """Build an engine, and the JSON file beside it.

    The full TensorRT builds for the GPU of this machine. TensorRT-RTX needs no GPU and no driver; the ONNX file that it
    built from goes beside the engine too, ``out`` with ``.onnx`` added.

    Args:
        source: the model.
        out: the ``.engine`` file to write; ``out`` with ``.json`` added goes with it.
        options: ``precision``, ``calibrate``, ``check``, ``batch``, ``shapes``, ``flavour``, ``target``, ``workspace``,
            ``timing_cache`` and ``device`` are looked at.
        progress: told TensorRT's phases and the share of each that is done.

    Returns:
        What was built: backend, flavour, precision, shapes, versions, and the GPU or the targets.

    Raises:
        OptionError: an option does not fit the model or the flavour, or there is no driver or GPU where one is needed.
        PluginError: the flavour cannot be imported.
        ModelFileError: TensorRT cannot build the model.
    """
    flavour = choose_flavour(options.flavour)
    targets = _targets(flavour, options)
    profiles = parse_profiles(options.batch, options.shapes, source.info)
    gpu = find_gpu(options.device) if targets is None else None
    version = use(flavour)
    typed = check_version(version, options.precision, flavour)

    from translatekit_tools.backends.tensorrt.build import build

    cache = None if gpu is None else timing_cache_path(options.timing_cache, gpu, version)
    phases = Phases(progress)
    with tempfile.TemporaryDirectory(prefix="translatekit-") as folder:
        report: dict[str, Any] = {}
        if options.precision == "int8":
            graph = Path(folder) / "int8.onnx"
            full = source.onnx()  # first: a graph may be of one size, which the images must then have
            images, origin = source.images(options.calibrate or options.check, CALIBRATION_IMAGES)
            progress("measuring the ranges of activations", None)
            to_int8(full, graph, images)
            report = {"calibration": {"images": len(images), "from": origin}}
        elif typed:
            graph = source.onnx(options.precision)
        else:
            from translatekit_tools.graphs.opset import to_opset_17

            graph = to_opset_17(source.onnx("fp32"), Path(folder) / "opset17.onnx")
        check_graph(graph)
        progress("building", None)
        with _current(gpu):
            plan, timings = build(
                graph,
                profiles,
                phases,
                half=options.precision == "fp16" and not typed,
                workspace=options.workspace,
                timings=_read_timings(cache),
                targets=targets,
            )
        if targets is not None:
            _keep_graph(graph, graph_path(out), source, options.precision)
    write_atomically(out, plan)
    header = EngineHeader(
        info=source.info,
        sha256=hash_engine(plan),
        source=str(source.path),
        precision=options.precision,
        profiles=profiles,
        gpu="" if gpu is None else gpu.name,
        compute_capability="" if gpu is None else gpu.compute_capability,
        tensorrt=version,
        driver="" if gpu is None else gpu.driver,
        flavour=flavour.name,
        targets=",".join(targets or ()),
        graph="" if targets is None else hash_engine(graph_path(out).read_bytes()),
    )
    write_header(out, header)
    _write_timings(cache, timings)
    built_for: dict[str, Any] = {"targets": list(targets or ())}
    versions = {flavour.name: version}
    if gpu is not None:
        built_for = {"gpu": gpu.name, "compute_capability": gpu.compute_capability}
        versions["driver"] = gpu.driver
    return {
        "backend": "tensorrt",
        "flavour": flavour.name,
        "precision": options.precision,
        "batch": [shape[0] for shape in (profiles[0].minimum, profiles[0].optimum, profiles[0].maximum)],
        "shapes": [str(profile) for profile in profiles],
        **built_for,
        "versions": versions,
        **report,
    }


def _targets(flavour: Flavour, options: CompileOptions) -> tuple[str, ...] | None:
    """What to build for; None for the GPU of this machine, which is all the full TensorRT builds for."""
    if flavour is RTX:
        if options.timing_cache not in (None, "none"):
            raise OptionError(f"{RTX.title} times nothing while it builds: leave out --timing-cache")
        return parse_targets(options.target, options.precision)
    if options.target is not None:
        raise OptionError(
            f"the full TensorRT builds for the GPU of this machine, not for --target {options.target}: "
            f"leave it out, or pass --flavour {RTX.name}"
        )
    return None


def _keep_graph(graph: Path, kept: Path, source: ModelSource, precision: str) -> None:
    """Copy what is built from, with a header that says in which precision it computes."""
    shutil.copyfile(graph, kept)
    onnx_file.write_info(
        kept, replace(source.info, compiled={**source.info.compiled, "precision": precision})
    )


def check_version(version: str, precision: str, flavour: Flavour = FULL) -> bool:
    """Whether that TensorRT takes its types from the ONNX graph.

    Raises:
        OptionError: it is too old, altogether or for the precision.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if flavour is RTX:
        if numbers < OLDEST_RTX:
            raise OptionError(
                f"{RTX.title} {version} is not supported: run pip install -U 'translatekit[{RTX.name}]'"
            )
        return True
    if numbers < OLDEST or OLDEST < numbers < STRONGLY_TYPED_SINCE:
        raise OptionError(
            f"TensorRT {version} is not supported: run pip install -U tensorrt for version 10 or later"
        )
    typed = numbers >= STRONGLY_TYPED_SINCE
    if not typed and precision in ("bf16", "int8"):
        raise OptionError(
            f"TensorRT {version} builds no {precision}: pass --precision fp16, or run pip install -U tensorrt"
        )
    return typed


def timing_cache_path(option: str | None, gpu: Gpu, version: str) -> Path | None:
    """Where measured timings are kept from one build to the next.

    Args:
        option: a file; ``none`` for nowhere; None for one of this GPU and version in the user's cache folder.
        gpu: that builds.
        version: of TensorRT.
    """
    if option == "none":
        return None
    if option is not None:
        return Path(option).expanduser()
    name = re.sub(r"[^\w.]+", "-", f"{gpu.name}-{gpu.compute_capability}-{version}")
    return cache_folder("tensorrt", f"{name}.timing")


def _current(gpu: Gpu | None) -> AbstractContextManager[None]:
    if gpu is None or gpu.index == 0:  # is current by itself
        return nullcontext()
    from translatekit_tools.backends.tensorrt.cuda.device import current_device

    return current_device(gpu.index)


def _read_timings(path: Path | None) -> bytes:
    try:
        return path.read_bytes() if path is not None else b""
    except OSError:
        return b""


def _write_timings(path: Path | None, timings: bytes) -> None:
    if path is None or not timings:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, timings, shared=True)
    except (OSError, StorageError):
        pass  # the next build takes longer, that is all
