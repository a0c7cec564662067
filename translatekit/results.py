"""What the public functions return, for type checkers and editors: the core imports none of the tools that make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol


class Result(Protocol):
    """What became of one input of `translatekit.translate`.

    Attributes:
        source: the input; text where it is a URL.
        output: where its translation is or would be.
        outcome: ``skipped`` is one that an earlier run has done.
        reason: one sentence, of a failed one.
        total: how many inputs there are.
    """

    @property
    def source(self) -> Path | str: ...  # noqa: D102
    @property
    def output(self) -> Path: ...  # noqa: D102
    @property
    def outcome(self) -> Literal["translated", "skipped", "failed"]: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def total(self) -> int: ...  # noqa: D102


class Summary(Protocol):
    """What became of all inputs of `translatekit.translate`.

    Attributes:
        translated: how many were (or, in a dry run, would be).
        skipped: how many an earlier run has done.
        failed: inputs with the reason, one sentence each.
        outputs: the files written (or that would be), in the order of the inputs.
        seconds: from the first input to the last output, loading the model included.
        frames: of the videos and animations.
        images_per_second: translated images a second.
    """

    @property
    def translated(self) -> int: ...  # noqa: D102
    @property
    def skipped(self) -> int: ...  # noqa: D102
    @property
    def failed(self) -> Sequence[tuple[Path | str, str]]: ...  # noqa: D102
    @property
    def outputs(self) -> Sequence[Path]: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def images_per_second(self) -> float: ...  # noqa: D102

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        ...


class CompileReport(Protocol):
    """What `translatekit.compile` has made.

    Attributes:
        path: the file that was written, or its address.
        backend, precision: what it was compiled for.
        parity: how close it is to the model in fp32: ``psnr`` in dB and others.
        checked_on: where the images of the comparison are from.
        seconds: all of it.
        bytes: of all files that were written.
        details: what the backend says: shapes, versions, calibration.
    """

    @property
    def path(self) -> Path | str: ...  # noqa: D102
    @property
    def backend(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def parity(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def checked_on(self) -> str: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def details(self) -> Mapping[str, Any]: ...  # noqa: D102

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        ...


class Estimate(Protocol):
    """A figure and the bounds of its 95 % confidence interval; None where there are too few images for one."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102


class ModelResult(Protocol):
    """What `translatekit.evaluate` has measured of one model.

    Attributes:
        name: what it is called in tables.
        path: as it was given.
        step: of its training.
        metrics: by name.
        differences: to the first model, by name; empty for the first itself.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def metrics(self) -> Mapping[str, Estimate]: ...  # noqa: D102
    @property
    def differences(self) -> Mapping[str, Estimate]: ...  # noqa: D102


class Evaluation(Protocol):
    """What `translatekit.evaluate` has found.

    Attributes:
        data: the folder's name.
        split: of the data.
        images: how many.
        models: in the order they were given.
        notes: what was left out, and why; one sentence each.
    """

    @property
    def data(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102
    @property
    def images(self) -> int: ...  # noqa: D102
    @property
    def models(self) -> Sequence[ModelResult]: ...  # noqa: D102
    @property
    def notes(self) -> Sequence[str]: ...  # noqa: D102

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything but the images."""
        ...
