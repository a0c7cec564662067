"""Evaluations over a cluster: images are translated and measured there, figures come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from translatekit.datasets import place_of
from translatekit.errors import DataError
from translatekit.storage import is_uri, local_copy
from translatekit_tools.evaluate.measure import Measuring, Setup
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.outputs import Measured
from translatekit_tools.scale.cluster import connected
from translatekit_tools.scale.nodes import demand_of, same_versions
from translatekit_tools.scale.options import ScaleOptions
from translatekit_tools.scale.pool import Pool, Work

_BATCHES = 4  # that a worker is given at a time
_FILES = ("mask", "palette", "segmenter")  # options that name a file or folder


@dataclass(frozen=True, slots=True)
class _Part:
    """Some of the images through one of the models; of a whole number of batches, so that these are as elsewhere."""

    model: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was measured of a part, and the features in the order of their extractors, which each process has anew."""

    part: _Part
    measured: Measured
    features: list[Tensor]


@dataclass(frozen=True)
class _Opening:
    """Opens models, images and metrics in a process of the cluster."""

    paths: tuple[str, ...]
    data: str | None
    options: EvaluateOptions

    def __call__(self, name: str) -> Callable[[list[_Part]], list[_Answer]]:
        data = None if self.data is None else place_of(self.data)
        setup = Setup.of([local_copy(path) for path in self.paths], data, self.options)
        return partial(_measure, setup)


def measuring_on(
    scale: ScaleOptions,
    paths: Sequence[str | Path],
    data: str | Path | None,
    options: Mapping[str, Any],
    say: Callable[[str], object],
) -> Measuring:
    """What measures models on a cluster.

    Args:
        scale: where.
        paths, data, options: as of the evaluation; the workers open them themselves.
        say: told what the user should know.
    """
    models = tuple(map(_elsewhere, paths))
    asked = EvaluateOptions(**options)
    named: dict[str, Any] = {
        name: _elsewhere(place) for name in _FILES if (place := getattr(asked, name)) is not None
    }
    opening = _Opening(models, None if data is None else _elsewhere(data), replace(asked, **named))
    return partial(_on_cluster, scale, opening, say)


def _on_cluster(
    scale: ScaleOptions,
    opening: _Opening,
    say: Callable[[str], object],
    setup: Setup,
    progress: Callable[[int, int], None],
) -> list[Measured]:
    assert scale.on is not None
    opening = replace(opening, options=replace(opening.options, features=setup.options.features))
    parts = list(_parts(len(setup.predictors), len(setup.images), setup.options.batch_size))
    total, done = len(setup.images) * len(setup.predictors), 0
    answers: dict[_Part, _Answer] = {}
    seen = [*opening.paths, opening.data, *(getattr(opening.options, name) for name in _FILES)]
    versions, check = same_versions(["translatekit"])
    work: Work[_Part, _Answer] = Work(
        opening=opening,
        given_up=_given_up,
        check=check,
        distributions=versions,
        paths=[place for place in seen if place is not None and not is_uri(place)],
        key=hash,
        block=1,
    )
    with connected(scale.on) as cluster:
        pool = Pool(cluster, work, scale.workers, demand_of(scale, cluster), scale.worker_timeout, say)
        for answer in pool.run(parts):
            answers[answer.part] = answer
            done += answer.part.stop - answer.part.start
            progress(done, total)
    measured: list[list[Measured]] = [[] for _ in setup.predictors]
    for part in parts:
        answer = answers[part]
        keys = setup.tools.metrics.extractors
        answer.measured.features = dict(zip(keys, answer.features, strict=True))
        measured[part.model].append(answer.measured)
    return [Measured.joined(each) for each in measured]


def _elsewhere(place: str | Path) -> str:
    """A path as other processes find it; an address as it is, since each node has its own copy."""
    return str(place) if is_uri(place) else str(Path(place).expanduser().absolute())


def _parts(models: int, images: int, batch_size: int) -> Iterator[_Part]:
    step = _BATCHES * batch_size
    for model in range(models):
        for start in range(0, images, step):
            yield _Part(model, start, min(start + step, images))


def _measure(setup: Setup, block: list[_Part]) -> list[_Answer]:
    answers = []
    for part in block:
        measured = setup.measure(part.model, _ignore, slice(part.start, part.stop))
        features = list(measured.features.values())
        measured.features = {}
        answers.append(_Answer(part, measured, features))
    return answers


def _given_up(part: _Part, attempts: int) -> _Answer:
    raise DataError(
        f"{attempts} workers have died while they measured images {part.start + 1} to {part.stop}, as those do that "
        "are killed for memory: pass a smaller --batch-size, or --max-images"
    )


def _ignore(done: int) -> None:
    """Nobody looks at how far a part is."""
