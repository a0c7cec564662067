"""TensorRT's builder at work. Import only after `flavour.use`; the full TensorRT's crashes where there is no driver.

Functions whose names end in ``_8`` call what only TensorRT 8.5 has, those in ``_10`` what came with 10, those in
``_rtx`` what TensorRT-RTX alone has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from translatekit.errors import ModelFileError, OptionError
from translatekit_tools.backends.tensorrt import log
from translatekit_tools.backends.tensorrt.flavour import library, title
from translatekit_tools.backends.tensorrt.phases import Phases
from translatekit_tools.backends.tensorrt.profiles import Profile
from translatekit_tools.backends.tensorrt.targets import ANY

if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = library()


def build(
    graph: Path,
    profiles: Sequence[Profile],
    phases: Phases,
    *,
    half: bool = False,
    workspace: float | None = None,
    timings: bytes = b"",
    targets: Sequence[str] | None = None,
) -> tuple[bytes, bytes]:
    """Build an engine for the current GPU, or for compute capabilities of others.

    Args:
        graph: an ONNX file with one input, uint8 NHWC; its types are computed in (10 and later).
        profiles: the shapes to build for.
        phases: told how far the build is.
        half: compute in float16 where that is faster (8.5 only).
        workspace: the most scratch memory of a layer, in GiB; None for all there is.
        timings: of earlier builds on this GPU with this version, or nothing.
        targets: see `targets.parse_targets`; None for the current GPU (not TensorRT-RTX).

    Returns:
        The engine, and the timings to keep, which TensorRT-RTX has none of.

    Raises:
        ModelFileError: TensorRT does not build it.
        OptionError: the profiles do not fit a graph of fixed shape, or the workspace is too small.
    """
    log.clear_errors()
    builder: trt.Builder = trt.Builder(log.LOGGER)
    typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    network: trt.INetworkDefinition = builder.create_network(
        _network_flags_10() if typed else _network_flags_8()
    )
    parser: trt.OnnxParser = trt.OnnxParser(network, log.LOGGER)
    if not parser.parse_from_file(str(graph)):
        raise ModelFileError(
            f"{title()} {trt.__version__} does not understand the model ({_parser_error(parser)}): "
            f"run pip install -U {title().lower()}, or compile to .onnx or .xml"
        )
    config: trt.IBuilderConfig = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default; fp32 is to mean float32
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace * 2**30))
    _add_profiles(builder, network, config, profiles)
    cache: trt.ITimingCache | None = None
    if targets is not None:
        _set_targets_rtx(config, targets)
    else:
        cache = config.create_timing_cache(timings)
        if cache is None or not config.set_timing_cache(
            cache, False
        ):  # of another GPU or version, or damaged
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
    if typed:
        monitor = _watch_10(config, phases)  # noqa: F841  # TensorRT does not keep it alive
    else:
        _configure_8(config, half)
    plan: trt.IHostMemory | None = builder.build_serialized_network(network, config)
    if phases.error is not None:
        raise phases.error
    if plan is None:
        if workspace is not None and "workspace limit" in log.reason():
            raise OptionError(
                f"--workspace {workspace:g} is too small to build the model: give more GiB, or leave it out"
            )
        free = "" if targets is not None else "close other programs on the GPU, "
        raise ModelFileError(
            f"{title()} {trt.__version__} cannot build the model ({log.reason()}): "
            f"{free}give fewer or other --shapes, or compile to .onnx or .xml"
        )
    return bytes(memoryview(plan)), b"" if cache is None else bytes(memoryview(cache.serialize()))


def _parser_error(parser: trt.OnnxParser) -> str:
    if parser.num_errors == 0:
        return log.reason()
    error: trt.ParserError = parser.get_error(0)
    return str(error.desc())


def _add_profiles(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    profiles: Sequence[Profile],
) -> None:
    image: trt.ITensor = network.get_input(0)
    fixed = tuple(image.shape)
    for wanted in profiles:
        smallest, best, largest = (
            (*shape, fixed[3]) for shape in (wanted.minimum, wanted.optimum, wanted.maximum)
        )
        for shape in (smallest, best, largest):
            if any(given not in (-1, asked) for given, asked in zip(fixed, shape, strict=True)):
                raise OptionError(
                    f"the model was exported for {_text(fixed)} and takes no {_text(shape)} (images x width x height): "
                    "leave out --shapes and --batch, or name the size it takes"
                )
        profile: trt.IOptimizationProfile = builder.create_optimization_profile()
        profile.set_shape(image.name, smallest, best, largest)
        if config.add_optimization_profile(profile) < 0:
            raise ModelFileError(
                f"{title()} refuses the shapes {wanted} ({log.reason()}): pass other --shapes"
            )


def _text(shape: Sequence[int]) -> str:
    images, height, width = ("any" if side == -1 else str(side) for side in shape[:3])
    return f"{images}x{width}x{height}"


def _network_flags_8() -> int:
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _network_flags_10() -> int:
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _configure_8(config: trt.IBuilderConfig, half: bool) -> None:
    if half:
        config.set_flag(trt.BuilderFlag.FP16)
    # By default 8.5 takes cuBLAS and cuDNN too, of versions that few machines have; later ones do not.
    config.set_tactic_sources(
        1 << int(trt.TacticSource.EDGE_MASK_CONVOLUTIONS) | 1 << int(trt.TacticSource.JIT_CONVOLUTIONS)
    )


def _set_targets_rtx(config: trt.IBuilderConfig, targets: Sequence[str]) -> None:
    if ANY in targets:  # is what it builds for by itself
        return
    config.num_compute_capabilities = len(targets)
    for place, target in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, "SM" + target.replace(".", "")), place)


def _watch_10(config: trt.IBuilderConfig, phases: Phases) -> trt.IProgressMonitor:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return phases.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    monitor = Monitor()
    config.progress_monitor = monitor
    return monitor
