"""How fast each installed backend translates with a model, alone and from files to files."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translatekit.errors import DataError, OptionError, TranslatekitError, TranslatekitWarning
from translatekit.model_info import ModelInfo
from translatekit.sizes import Size
from translatekit_tools.bench.options import BenchOptions

__all__ = ["BenchOptions", "Figure", "Row", "Worker", "bench", "compile_for", "gather_files"]

PRECISIONS = ("fp32", "bf16", "fp16", "int8")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The median of several measurements, and their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Summarize one or more values."""
        if len(values) == 1:
            return cls(median=values[0], low=values[0], high=values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, low=low, high=high)


@dataclass(slots=True, kw_only=True)
class Row:
    """What was measured of one backend at one precision.

    Attributes:
        backend, precision: what.
        problem: one sentence, where it could not be measured or was not worth it; then the rest is empty.
        notes: what else there is to know of it.
        alone: images a second through the translator, the batches already in memory.
        end_to_end: images a second from files to files.
        ratio: the second over the first, round by round.
        parity: PSNR in dB against the torch model in fp32 and the other figures of `translatekit compile`.
        load_seconds: to open the model.
        peak_memory: of a process that translates the files, in bytes.
    """

    backend: str
    precision: str
    problem: str | None = None
    notes: tuple[str, ...] = ()
    alone: Figure | None = None
    end_to_end: Figure | None = None
    ratio: Figure | None = None
    parity: dict[str, Any] = field(default_factory=dict)
    load_seconds: float | None = None
    peak_memory: int | None = None


class Worker:
    """A process of `translatekit_tools.bench.worker`, or one that speaks as it does."""

    def __init__(
        self, command: Sequence[str] = (sys.executable, "-m", "translatekit_tools.bench.worker")
    ) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            DataError: it could not be done, or the process died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["nothing was said"])[-1]
            raise DataError(f"the measuring process ended early ({last}): try a smaller --batch-size")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DataError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # what it was still asked when it died
                self._process.stdin.close()
        self._process.wait()
        self._errors.close()


def bench(
    model: str | Path, data: str | Path | None = None, *, say: Say | None = None, **options: Any
) -> list[Row]:
    """Measure a model on every installed backend, at every precision that it has.

    Each is compiled into a temporary folder and runs in a process of its own; the processes take turns, so that a
    drift of the machine's speed meets all of them. A precision that is slower than fp32 here is only measured where
    ``only`` names it.

    Args:
        model: a model file or a run's folder; or a compiled file, which is measured as it is.
        data: a folder of images; drawn facades when not given.
        say: is told what is being done.
        options: fields of `BenchOptions`.

    Returns:
        One row each, also for what cannot be measured here, with the reason.

    Raises:
        TranslatekitError: there is no such model or data, or an option does not fit.
    """
    from translatekit.model_file import find_model, read_any_info
    from translatekit.options import check_options
    from translatekit_tools.compile.images import compiled_size

    given = {**options, **({} if data is None else {"data": str(data)})}
    checked = BenchOptions(**check_options(BenchOptions, given, "bench()"))
    say = say or (lambda text: None)
    path = find_model(model, checked.direction)
    info = read_any_info(path)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="translatekit-bench-")))
        files = folder / "files"
        size = compiled_size(info, info.compiled.get("shapes", "any")) or Size(info.size, info.size)
        gather_files(files, checked, size, info)
        rows = []
        workers: list[tuple[Row, Worker]] = []
        candidates = list(_candidates(path, checked.only))
        if not candidates:
            raise OptionError(
                f"--only {checked.only} names nothing that runs {path} as it is: leave it out, or give the run's folder"
            )
        for backend, precision, named in candidates:
            row = Row(backend=backend, precision=precision)
            rows.append(row)
            say(f"preparing {backend} {precision}")
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore" if named else "error", category=TranslatekitWarning)
                    compiled, row.parity = compile_for(path, backend, precision, folder, files)
                worker = Worker()
                stack.callback(worker.close)
                loaded = worker.ask(
                    "load",
                    model=str(compiled),
                    backend=backend,
                    device=checked.device,
                    precision=precision,
                    files=str(files),
                    batch_size=checked.batch_size,
                    passes=checked.passes,
                )
                row.load_seconds, row.notes = loaded["load_seconds"], tuple(loaded["notes"])
                if row.notes and not named:
                    raise TranslatekitWarning(row.notes[0])
                row.peak_memory = worker.ask("end_to_end")["peak_memory"]
                worker.ask("record")
                worker.ask("alone")
                workers.append((row, worker))
            except TranslatekitWarning as slow:
                row.problem = _unless_named(str(slow), backend, precision)
            except TranslatekitError as error:
                row.problem = str(error)
        interleave(workers, checked.rounds, say)
    return rows


def interleave(workers: Sequence[tuple[Row, Worker]], rounds: int, say: Say) -> None:
    """Let each worker measure once a round, and put the figures into its row."""
    alone: list[list[float]] = [[] for _ in workers]
    end_to_end: list[list[float]] = [[] for _ in workers]
    for number in range(rounds):
        for index, (row, worker) in enumerate(workers):
            say(f"round {number + 1} of {rounds}: {row.backend} {row.precision}")
            alone[index].append(worker.ask("alone")["images_per_second"])
            end_to_end[index].append(worker.ask("end_to_end")["images_per_second"])
    for (row, _), first, second in zip(workers, alone, end_to_end, strict=True):
        row.alone, row.end_to_end = Figure.of(first), Figure.of(second)
        row.ratio = Figure.of([b / a for a, b in zip(first, second, strict=True)])


def _unless_named(slow: str, backend: str, precision: str) -> str:
    return f"{slow.split(': ')[0]}, and is measured where --only {backend}:{precision} names it"


def _candidates(path: Path, only: str | None) -> Iterator[tuple[str, str, bool]]:
    """Backend and precision of all that is asked for, and whether it was by name; a compiled file names its own."""
    from translatekit.registry import registry

    entries = registry("backend").entries()
    wanted = None if only is None else [tuple(item.strip().partition(":")[::2]) for item in only.split(",")]
    names = {entry.spec.name for entry in entries}
    for name, precision in wanted or ():
        if name not in names or precision not in ("", *PRECISIONS):
            raise OptionError(
                f"there is no backend and precision {name}:{precision}: choose from "
                f"{', '.join(sorted(names))} and {', '.join(PRECISIONS)}"
            )
    for entry in entries:
        spec = entry.spec
        compiled = path.suffix != ".safetensors"
        if compiled and path.suffix not in (*spec.suffixes, *spec.also_runs):
            continue
        if not compiled and path.suffix not in spec.suffixes and spec.compiler is None:
            continue
        precisions = [_own_precision(path)] if compiled else PRECISIONS
        for precision in precisions:
            by_name = (spec.name, precision) in (wanted or ())
            if by_name or wanted is None or (spec.name, "") in wanted:
                yield spec.name, precision, compiled or by_name


def _own_precision(path: Path) -> str:
    from translatekit.model_file import read_any_info

    return str(read_any_info(path).compiled.get("precision", "fp32"))


def compile_for(
    path: Path, backend: str, precision: str, folder: Path, files: Path
) -> tuple[Path, dict[str, Any]]:
    """The file to run, and its parity; `path` itself where the backend runs that."""
    from translatekit.registry import registry
    from translatekit_tools.compile import compile_model

    spec = registry("backend").get(backend)
    as_it_is = path.suffix in (*spec.suffixes, *spec.also_runs)
    if not as_it_is:
        spec.load()  # says what is to be installed before minutes are spent
    spec.check_machine()  # some can be compiled for anywhere, but not measured
    if as_it_is:
        from translatekit.model_file import read_any_info

        return path, dict(read_any_info(path).compiled.get("parity", {}))
    out = folder / f"{backend}-{precision}{spec.suffixes[0]}"
    report = compile_model(path, out, precision=precision, check=str(files), backend=backend)
    return out, dict(report.parity)


def gather_files(folder: Path, options: BenchOptions, size: Size, info: ModelInfo | None = None) -> None:
    """Put as many files into a new folder as are to be translated; links to the user's, or drawn ones.

    Args:
        folder: is made.
        options: how many, and where the user's are.
        size: of drawn ones: that of the model, or one that it was compiled for.
        info: of the model. Drawn ones are JPEG where it takes RGB or gray of 8 bits, else arrays of what it takes.

    Raises:
        DataError: there are no images in the user's folder.
    """
    folder.mkdir()
    if options.data is None and info is not None and not (info.input.shown and info.input.eight_bits):
        import numpy as np

        from translatekit_tools.compile.images import drawn_images

        arrays = list(drawn_images(info, min(options.images, 32)))
        for index in range(options.images):
            np.save(folder / f"{index:05d}.npy", arrays[index % len(arrays)])
        return
    if options.data is None:
        from translatekit.images import encode_image, image_of
        from translatekit_tools.bench.images import draw

        height, width = size.height, size.width
        drawn = [
            encode_image(image_of(pixels[:height, :width]), ".jpg")
            for pixels in draw(min(options.images, 32), max(size))
        ]
        for index in range(options.images):
            (folder / f"{index:05d}.jpg").write_bytes(drawn[index % len(drawn)])
        return
    from translatekit.images import is_image, suffix_of

    source = Path(options.data).expanduser()
    if not source.is_dir():
        raise DataError(f"there is no folder {source}: check --data")
    found = sorted(file for file in source.rglob("*") if is_image(file) and file.is_file())
    if not found:
        raise DataError(f"the folder {source} holds no images: name another with --data")
    for index in range(options.images):
        file = found[index % len(found)]
        (folder / f"{index:05d}{suffix_of(file)}").symlink_to(file.resolve())
