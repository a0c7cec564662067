"""The precisions, under one name each, and how fast this machine computes in them.

A precision that a processor has no instructions for is emulated, 2 to 100 times slower than fp32, and the libraries
say nothing. So each runtime is measured once: the same work in each precision, in turn, for about a second. The result
is kept in the user's cache folder under everything that it depends on: processor, library, and the variables by which
instruction sets are limited. One thread is measured: which instructions there are does not depend on their number.
Nothing here imports torch before torch is what is measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from translatekit.errors import OptionError, StorageError
from translatekit.options import Aliases, convert
from translatekit.storage import writable_cache, write_atomically

if TYPE_CHECKING:
    import torch

ALIASES = Aliases({"32-true": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16", "none": "auto", None: "auto"})
"""Older names, which configurations of runs may hold."""

Precision = Annotated[Literal["auto", "fp32", "bf16", "fp16", "int8"], ALIASES]
"""What a model may be run in; ``auto`` is what the file was made for, and fp32 for a model file of a training."""

TrainPrecision = Annotated[Literal["auto", "fp32", "bf16", "fp16"], ALIASES]
"""What may be trained in. bf16 and fp16 are autocast: weights and optimizer stay in fp32."""

FABRIC: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
"""Lightning Fabric's names of what may be trained in."""

MIN_SPEEDUP = 1.2
"""From this ratio of speeds on, one precision counts as quicker than another: less is within what a probe scatters."""

_SECONDS = 1.0
_ROUNDS = 7
_SKIP_FACTOR = 10.0  # times slower than the quickest: certain enough
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")


def requested_precision(precision: Any, owner: str) -> str | None:
    """A precision that a caller named, under its present name; None for ``auto``.

    Raises:
        OptionError: there is none of that name; `owner` took it.
    """
    name = str(convert(precision, Precision, f"{owner}: option 'precision'"))
    return None if name == "auto" else name


@dataclass(frozen=True, slots=True)
class Speeds:
    """How long a runtime takes on this processor for the same work in each precision.

    Attributes:
        runtime: its name and version.
        seconds: of the processor, by precision; fp32 is there, and what the processor does not compute in is not.
    """

    runtime: str
    seconds: Mapping[str, float]

    def supports(self, precision: str) -> bool:
        """Whether the processor computes in it at all, quick or slow."""
        return precision in self.seconds

    def speedup(self, precision: str) -> float:
        """How many times as quick as fp32; below 1 it is slower."""
        return self.seconds["fp32"] / self.seconds[precision]

    def is_quick(self, precision: str) -> bool:
        """Whether it is there and worth being chosen for its speed."""
        return self.supports(precision) and self.speedup(precision) >= MIN_SPEEDUP

    def slowness(self, precision: str) -> str | None:
        """A clause that says how much slower than fp32 it is, without its full stop; None where it is not."""
        if not self.supports(precision) or self.speedup(precision) * MIN_SPEEDUP > 1:
            return None
        return (
            f"{precision} takes {1 / self.speedup(precision):.2g} times as long as fp32 on this processor "
            f"(measured with {self.runtime})"
        )


def measured(runtime: str, version: str, measure: Callable[[], Mapping[str, float]]) -> Speeds:
    """The speeds of a runtime, from the cache where they were measured before.

    Args:
        runtime: its name, also that of the file.
        version: of the runtime.
        measure: seconds by precision, fp32 among them; called when there is no such file, or a damaged one.
    """
    key = {
        "runtime": runtime,
        "version": version,
        "processor": processor(),
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = writable_cache("speeds")
    file = None if folder is None else folder / f"{runtime}-{digest}.json"
    seconds = _read(file, key) or _MEASURED.get(digest)
    if seconds is None:
        seconds = _MEASURED[digest] = dict(measure())
        if file is not None:
            _write(file, {**key, "seconds": seconds})
    return Speeds(f"{runtime} {version}", seconds)


_MEASURED: dict[str, dict[str, float]] = {}  # by this process, for where nothing can be written


def _read(file: Path | None, key: Mapping[str, Any]) -> dict[str, float] | None:
    """What a file holds, or None where it is missing, damaged or about something else."""
    try:
        content = json.loads(file.read_bytes()) if file is not None else None
        if not isinstance(content, dict):
            return None
        seconds = content.pop("seconds")
        fits = content == key and "fp32" in seconds
        return seconds if fits and all(_is_duration(value) for value in seconds.values()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_duration(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value > 0


def _write(file: Path, content: Mapping[str, Any]) -> None:
    with contextlib.suppress(StorageError):  # it will be measured again, that is all
        write_atomically(file, (json.dumps(content, indent=1) + "\n").encode(), shared=True)


def time_interleaved(work: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds that each takes: the minimum over several rounds, in each of which all are run once.

    CPU time is measured, because other programs may be running. Each computes in one thread, because threads that wait
    for each other take CPU time as well. What is many times slower than the fastest is not repeated.
    """
    for do in work.values():
        do()  # the first time, libraries load what they need
    start = time.perf_counter()
    seconds = dict.fromkeys(work, math.inf)
    repeated = list(work)
    for _ in range(_ROUNDS):
        for name in repeated:
            seconds[name] = min(seconds[name], _thread_seconds(work[name]))
        repeated = [name for name in repeated if seconds[name] < _SKIP_FACTOR * min(seconds.values())]
        if time.perf_counter() - start > _SECONDS:
            break
    return seconds


def _thread_seconds(do: Callable[[], object]) -> float:
    start = time.thread_time()
    do()
    return max(time.thread_time() - start, 1e-9)


def processor() -> str:
    """The processor's name and, hashed, its instruction sets."""
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon and name.strip() in wanted:
                found.setdefault(name.strip(), value.strip())
    except OSError:
        pass
    name = found.pop("model name", "") or platform.processor() or platform.machine()
    details = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]
    return f"{name} {details}" if found else name


# --- torch ------------------------------------------------------------------------------------------------------


def torch_speeds() -> Speeds:
    """How fast PyTorch computes on this CPU in fp32 and bf16."""
    import torch

    return measured("torch", torch.__version__, _measure_torch)


def _measure_torch() -> dict[str, float]:
    """A convolution forward and backward and a matrix product of as many multiplications."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            return time_interleaved({"fp32": _torch_work(torch.float32), "bf16": _torch_work(torch.bfloat16)})
    finally:
        torch.set_num_threads(threads)


def _torch_work(dtype: torch.dtype) -> Callable[[], object]:
    import torch

    def filled(
        *shape: int,
    ) -> torch.Tensor:  # nothing is drawn: the training's random numbers stay as they are
        return torch.full(shape, 0.5, dtype=dtype)

    x, weight = filled(1, 64, 32, 32).requires_grad_(), filled(64, 64, 4, 4).requires_grad_()
    gradient = filled(1, 64, 16, 16)
    a, b = filled(256, 256), filled(256, 768)

    def work() -> object:
        y = torch.nn.functional.conv2d(x, weight, stride=2, padding=1)
        return torch.autograd.grad(y, (x, weight), gradient), a @ b

    return work


def choose_for_training(device_type: str) -> Literal["fp32", "bf16", "fp16"]:
    """What ``auto`` means for a training on such a device: ``cuda``, ``mps`` or ``cpu``.

    A GPU's capability says it; a CPU is measured.
    """
    if device_type == "cuda":
        capability = _least_capability()
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "bf16" if device_type == "cpu" and torch_speeds().is_quick("bf16") else "fp32"


def torch_slowness(precision: str, device_type: str) -> str | None:
    """A clause that says how slow PyTorch is in a precision on such a device; None where it is not.

    Raises:
        OptionError: it does not compute in it there.
    """
    if precision == "fp16" and device_type == "cpu":
        raise OptionError("fp16 needs a GPU: pass --precision bf16 or fp32 on the CPU")
    if precision == "bf16" and device_type == "cpu":
        return torch_speeds().slowness(precision)
    if precision == "bf16" and device_type == "cuda" and (capability := _least_capability()) < (8, 0):
        major, minor = capability
        return f"this GPU, of compute capability {major}.{minor}, has no bf16 and emulates it slowly"
    return None


def _least_capability() -> tuple[int, int]:
    import torch

    return min(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count()))
