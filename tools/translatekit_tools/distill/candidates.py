"""The smaller forms of a teacher: which there are, how large they are, and how fast on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import translatekit
from translatekit.errors import OptionError, PluginError, TranslatekitError, TranslatekitWarning
from translatekit.interfaces import Translator
from translatekit.model_file import read_info, save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.networks.layers import init_weights
from translatekit.options import written
from translatekit.registry import registry
from translatekit_tools.bench.images import draw
from translatekit_tools.compile import compile_model

Say = Callable[[str], None]

_WORTH = 1.15  # times as fast as fp32 another precision must be
_MOST = 12  # candidates that are timed
_ROUND_SECONDS = 0.25  # that each is timed for at a time
_SLACK = 2.5  # times the multiplications that the limit would be by them alone: time is not multiplications


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long one image takes a model in one runtime, in seconds.

    Attributes:
        median, low, high: over all calls, and its quartiles.
        faster: times as fast as the teacher: the median of the ratios of the rounds, in which both took turns.
        faster_low, faster_high: the least and the largest of them.
        bytes: of the compiled model's files.
    """

    median: float
    low: float
    high: float
    faster: float = 1.0
    faster_low: float = 1.0
    faster_high: float = 1.0
    bytes: int = 0


@dataclass(kw_only=True)
class Candidate:
    """A network that may become the student, or the teacher in some precision.

    Attributes:
        name: such as ``width 16, blocks 6``.
        options: of the generator.
        parameters: how many.
        multiplications: that an image of the timed size takes.
        timings: by runtime and precision, such as ``openvino bf16``.
        chosen: whether it is trained.
        problem: why it is not timed; empty where it is.
    """

    name: str
    options: dict[str, Any]
    parameters: int
    multiplications: int
    timings: dict[str, Timing] = field(default_factory=dict)
    chosen: bool = False
    problem: str = ""

    @property
    def bytes(self) -> int:
        """Of its weights in half precision."""
        return 2 * self.parameters

    def reaches(self, faster: float) -> bool:
        """Whether it is that much faster than the teacher everywhere it was timed."""
        return bool(self.timings) and all(item.faster >= faster for item in self.timings.values())


def candidate_of(
    generator: str, options: Mapping[str, Any], teacher: Mapping[str, Any], size: int
) -> Candidate:
    """Describe a network; its weights are never made.

    Args:
        generator: its name.
        options: its keyword arguments.
        teacher: those of the teacher; what differs names the candidate.
        size: pixels a side of the images that its multiplications are counted for.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = make_generator(generator, options).eval()
        x = torch.zeros(1, int(options["in_channels"]), size, size)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x)
    full = dict(network.arguments)  # type: ignore[arg-type]
    different = [key for key in full if key in ("width", "blocks", "depth") or full[key] != teacher.get(key)]
    name = ", ".join(
        key if full[key] is True else f"{key} {full[key]}" for key in different if full[key] is not False
    )
    return Candidate(
        name=name.replace(", dropout 0.0", ""),
        options=full,
        parameters=sum(item.numel() for item in network.parameters()),
        multiplications=counter.get_total_flops() // 2,
    )


def smaller_forms(info: ModelInfo, size: int, faster: float, most_bytes: int | None) -> list[Candidate]:
    """The teacher's smaller forms that may reach the limits, the most capable first.

    Raises:
        OptionError: there is none.
        PluginError: its generator offers none.
    """
    spec = registry("generator").get(info.generator)
    teacher = candidate_of(info.generator, info.generator_options, info.generator_options, size)
    found: dict[str, Candidate] = {}
    for options in spec.load_students()(info.generator_options):
        made = candidate_of(info.generator, options, teacher.options, size)
        found.setdefault(made.name, made)
    limit = teacher.multiplications / faster
    fitting = [
        item
        for item in found.values()
        if limit / 6 <= item.multiplications <= limit * _SLACK
        and (most_bytes is None or item.bytes <= most_bytes)
    ]
    if not fitting:
        raise OptionError(
            f"no smaller form of {info.generator} has {faster:g} times fewer multiplications"
            f"{'' if most_bytes is None else f' in {most_bytes:,} bytes'}: ask for a smaller --faster or a larger "
            "--size, or name one with --student KEY=VALUE"
        )
    fitting.sort(key=lambda item: -item.multiplications)
    step = max(1.0, len(fitting) / _MOST)
    return [fitting[int(number * step)] for number in range(min(_MOST, len(fitting)))]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The teacher itself in another precision: what costs no training.

    Attributes:
        backend, precision: what runs it.
        translator: the compiled teacher.
        bytes: of its files.
        psnr: how near its outputs are to those in fp32, in dB, as compiling it has measured.
    """

    backend: str
    precision: str
    translator: Translator
    bytes: int
    psnr: float


class Bench:
    """The teacher and its candidates side by side in the runtimes that they are to be fast in.

    Args:
        teacher: its model file.
        targets: names of backends.
        precision: that all compute in; None for the quickest here.
        size: pixels a side of the images.
        rounds: how often each is timed.
        say: told what is being done.
    """

    def __init__(
        self, teacher: Path, targets: Sequence[str], precision: str | None, size: int, rounds: int, say: Say
    ) -> None:
        self._info = read_info(teacher)
        self._size, self._rounds, self._say = size, rounds, say
        self._folder = tempfile.TemporaryDirectory(prefix="translatekit-distill-")
        self.folder = Path(self._folder.name)
        self.image = next(draw(1, size))[None]
        if self.image.shape[-1] != self._info.input.count or not self._info.input.eight_bits:
            shape = (1, size, size, self._info.input.count)
            kind = np.uint8 if self._info.input.eight_bits else np.float32
            self.image = np.full(shape, 0.5 if kind is np.float32 else 128, kind)
        self.targets: dict[str, tuple[str, str]] = {}
        self.teachers: dict[str, tuple[Path, Translator, int]] = {}
        self._numbers: dict[Path, int] = {}
        self._psnr: dict[Path, float] = {}
        self._slower: list[tuple[str, str, tuple[Path, Translator, int]]] = []
        for name in targets:
            backend = "onnxruntime" if name == "web" else name
            key, made = self._quickest(teacher, backend, precision)
            self.targets[key] = (backend, key.rpartition(" ")[2])
            self.teachers[key] = made
        self._teacher = teacher

    def exchange_teacher(self, teacher: Path) -> None:
        """Put another state of the teacher in its place, compiled for the same runtimes in the same precisions."""
        self._teacher = teacher
        for key, (backend, precision) in self.targets.items():
            self.teachers[key] = self._open(teacher, backend, precision)
        self._slower = [
            (backend, precision, self._open(teacher, backend, precision))
            for backend, precision, _ in self._slower
        ]

    def choices(self, int8: bool) -> list[Choice]:
        """The teacher in the precisions that it is not timed in: those that were slower, and int8 in OpenVINO.

        Args:
            int8: whether to compile that, which takes hundreds of images through the network.
        """
        found = list(self._slower)
        if int8 and any(backend == "openvino" for backend, _ in self.targets.values()):
            self._say("compiling the teacher for openvino in int8")
            try:
                found.append(("openvino", "int8", self._open(self._teacher, "openvino", "int8")))
            except PluginError as error:  # what quantizes is not installed
                self._say(f"int8 is left out: {error}")
        return [
            Choice(
                backend=backend,
                precision=precision,
                translator=translator,
                bytes=size,
                psnr=self._psnr[file],
            )
            for backend, precision, (file, translator, size) in found
            if file in self._psnr
        ]

    def key_of(self, backend: str) -> str:
        """The runtime and precision that all are timed in, of a backend."""
        return next(key for key, (name, _) in self.targets.items() if name == backend)

    def time(self, candidates: Sequence[Candidate], faster: float, enough: int) -> list[Candidate]:
        """Put the timings of candidates with random weights into them, until enough are fast enough.

        Args:
            candidates: the most capable first.
            faster: how many times as fast as the teacher they are to be.
            enough: after how many of these to stop.

        Returns:
            Those that were timed.
        """
        for number, item in enumerate(candidates):
            if sum(other.reaches(faster) for other in candidates[:number]) == enough:
                return list(candidates[:number])
            self._say(f"timing {number + 1} of {len(candidates)}: {item.name}")
            path = self.folder / f"candidate-{number}.safetensors"
            network = make_generator(self._info.generator, item.options)
            init_weights(network, "kaiming")
            header = replace(
                self._info,
                generator_options=written(item.options),
                size_multiple=int(network.size_multiple),  # type: ignore[arg-type]
            )
            save_model(path, network.state_dict(), header)
            try:
                self.time_file(path, item)
            except TranslatekitError as error:
                item.problem = str(error)
        return list(candidates)

    def time_file(self, path: Path, item: Candidate) -> dict[str, Path]:
        """Time a model file, and put that into a candidate; returns its compiled files by runtime and precision."""
        files = {}
        for key, (backend, precision) in self.targets.items():
            file, translator, size = self._open(path, backend, precision)
            files[key] = file
            item.timings[key] = self.side_by_side(self.teachers[key][1], translator, size)
        return files

    def compiled(self, path: Path, backend: str, precision: str) -> tuple[Path, int]:
        """A model for one runtime, as a file in the bench's folder, and its bytes."""
        spec = registry("backend").get(backend)
        if path.suffix in spec.suffixes:
            return path, path.stat().st_size
        # runs all call their model the same, so that its name alone would be taken for the teacher's
        number = self._numbers.setdefault(path.resolve(), len(self._numbers))
        out = self.folder / f"{number}-{path.stem}-{backend}-{precision}{spec.suffixes[0]}"
        if out.exists():
            return out, sum(file.stat().st_size for file in out.parent.glob(f"{out.stem}.*"))
        check = self.folder / "check"
        if not check.is_dir():
            from translatekit.images import encode_image, image_of

            check.mkdir()
            if self.image.dtype == np.uint8 and self.image.shape[-1] == 3:
                (check / "drawn.png").write_bytes(encode_image(image_of(self.image[0]), ".png"))
        # int8 is fitted to what it sees: to the images of the teacher's run, where they are at hand
        named = str(check) if any(check.iterdir()) and precision != "int8" else None
        shapes: dict[str, Any] = {"shapes": f"{self._size}x{self._size}"} if backend == "tensorrt" else {}
        report = compile_model(
            path, out, precision=precision, check=named, tolerance=0.0, backend=backend, **shapes
        )
        self._psnr[out] = float(report.parity["psnr"])
        return out, report.bytes

    def close(self) -> None:
        """Delete the compiled files."""
        self.teachers.clear()
        self._folder.cleanup()

    def _open(self, path: Path, backend: str, precision: str) -> tuple[Path, Translator, int]:
        file, size = self.compiled(path, backend, precision)
        return file, translatekit.load(file, precision=precision, backend=backend), size

    def _quickest(
        self, teacher: Path, backend: str, precision: str | None
    ) -> tuple[str, tuple[Path, Translator, int]]:
        """The teacher in the precision that it is quickest in here: fp16 on GPUs, else fp32 or bf16.

        Raises:
            TranslatekitError: the backend is not installed, or runs it in no precision.
        """
        found: list[tuple[float, str, tuple[Path, Translator, int]]] = []
        usual = ("fp16",) if registry("backend").get(backend).devices == ("cuda",) else ("fp32", "bf16")
        self._say(f"compiling the teacher for {backend}")
        for candidate in (precision,) if precision is not None else usual:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error" if precision is None else "ignore", TranslatekitWarning)
                    made = self._open(teacher, backend, candidate)
                    made[1](self.image)
            except TranslatekitError:
                if candidate in (precision, usual[0]):
                    raise
                continue
            except TranslatekitWarning:
                continue
            seconds = min(_seconds(made[1], self.image) for _ in range(2))
            found.append((seconds, candidate, made))
        best = found[0]
        for other in found[1:]:
            if other[0] * _WORTH < best[0]:
                best = other
        self._slower += [(backend, name, made) for _, name, made in found if name != best[1]]
        return f"{backend} {best[1]}", best[2]

    def side_by_side(self, teacher: Translator, student: Translator, size: int) -> Timing:
        """Time two models in turn; the ratio is that of the first to the second."""
        own: list[float] = []
        ratios = []
        first = min(_seconds(student, self.image) for _ in range(2))
        calls = max(1, round(_ROUND_SECONDS / first))
        for _ in range(self._rounds):
            other = _seconds(teacher, self.image)
            times = [_seconds(student, self.image) for _ in range(calls)]
            own += times
            ratios.append(other / statistics.median(times))
        low, median, high = _quartiles(own)
        return Timing(
            median=median,
            low=low,
            high=high,
            faster=statistics.median(ratios),
            faster_low=min(ratios),
            faster_high=max(ratios),
            bytes=size,
        )


def choose(candidates: Sequence[Candidate], faster: float, count: int) -> list[Candidate]:
    """Those that are trained: of the fast enough ones, those with the most multiplications.

    Raises:
        OptionError: none is fast enough.
    """
    fast = sorted(
        (item for item in candidates if item.reaches(faster)), key=lambda item: -item.multiplications
    )
    if not fast:
        timed = [item for item in candidates if item.timings]
        if not timed:
            raise OptionError(
                f"none of {len(candidates)} smaller forms could be run ({candidates[0].problem}): choose another --for"
            )
        best = max(timed, key=lambda item: min(timing.faster for timing in item.timings.values()))
        found = ", ".join(f"{item.faster:.1f}x in {key}" for key, item in best.timings.items())
        raise OptionError(
            f"no smaller form is {faster:g} times as fast here; the fastest, {best.name}, reaches {found}: "
            "ask for a smaller --faster, or name a student with --student KEY=VALUE"
        )
    for item in fast[:count]:
        item.chosen = True
    return fast[:count]


def _seconds(translator: Translator, image: np.ndarray) -> float:
    start = time.perf_counter()
    translator(image)
    return time.perf_counter() - start


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high
