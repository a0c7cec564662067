"""An engine of TensorRT-RTX built again, for the GPU and by the version that are here, from the graph beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from pathlib import Path

from translatekit.errors import TranslatekitWarning
from translatekit.storage import writable_cache, write_atomically
from translatekit_tools.backends.tensorrt.engine_file import EngineHeader, graph_path, hash_engine
from translatekit_tools.backends.tensorrt.flavour import RTX
from translatekit_tools.backends.tensorrt.phases import Phases
from translatekit_tools.backends.tensorrt.targets import TARGETS, parse_targets, runs_on


def fit_engine(
    path: Path, plan: bytes, header: EngineHeader, capability: str, version: str
) -> tuple[bytes, EngineHeader]:
    """An engine that runs here: the one that is given, or another built from its graph, which takes seconds.

    What is built is kept in the user's cache folder. An engine whose graph is not at hand is left as it is, and so is
    one for a GPU that TensorRT-RTX does not build for.

    Args:
        path: the engine.
        plan: it.
        header: what it says of itself.
        capability: the GPU's compute capability.
        version: the library's.

    Returns:
        The engine, and what it says of itself.

    Raises:
        OptionError: the GPU does not compute in the engine's precision.
        ModelFileError: the graph cannot be built.
    """
    fits = runs_on(header.targets.split(","), capability) and header.tensorrt == version
    if not header.targets or fits or capability not in TARGETS:
        return plan, header
    try:
        graph = graph_path(path)
        if not header.graph or hash_engine(graph.read_bytes()) != header.graph:
            return plan, header
    except OSError:
        return plan, header
    targets = parse_targets(capability, header.precision)
    fitted = dataclasses.replace(header, targets=capability, tensorrt=version)
    kept = _kept(fitted)
    try:
        plan = kept.read_bytes() if kept is not None else b""
    except OSError:
        plan = b""
    if not plan:
        warnings.warn(
            f"{path} was built by {RTX.title} {header.tensorrt} for compute capability {header.targets}: it is built "
            f"again by {version} for {capability}, which {header.rebuild(path)} would do for good",
            TranslatekitWarning,
            stacklevel=2,
        )
        from translatekit_tools.backends.tensorrt.build import build

        plan, _ = build(graph, header.profiles, Phases(lambda *_: None), targets=targets)
        if kept is not None:
            write_atomically(kept, plan, shared=True)
    return plan, dataclasses.replace(fitted, sha256=hash_engine(plan))


def _kept(header: EngineHeader) -> Path | None:
    """Where an engine for this GPU, of this version and these shapes is kept; None where nothing can be."""
    folder = writable_cache(RTX.name)
    if folder is None:
        return None
    parts = (header.graph, header.tensorrt, header.targets, repr(header.profiles))
    return folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.engine"
