"""Preparations whose work is one source after the other, over a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from translatekit.errors import TranslatekitError
from translatekit_tools.prepare.work import (
    Attempted,
    Making,
    Progress,
    Source,
    attempted_by,
)
from translatekit_tools.scale.cluster import Cluster, connected
from translatekit_tools.scale.nodes import demand_of, same_versions
from translatekit_tools.scale.options import ScaleOptions
from translatekit_tools.scale.pool import Pool, Work, killer

_Answer = tuple[int, tuple[list[Path], bool] | None, str]


@dataclass(frozen=True)
class _Opening:
    """Makes files in a worker's process, with a journal of its own."""

    making: Making

    def __call__(self, name: str) -> Callable[[list[Any]], list[Any]]:
        making = self.making.of_worker(name)

        def work(block: list[tuple[int, Source]]) -> list[_Answer]:
            return [_attempt(making, number, source) for number, source in block]

        return work


@contextmanager
def prepared_on(scale: ScaleOptions, paths: Sequence[Path], say: Callable[[str], object]) -> Iterator[None]:
    """Within, preparations make their files on a cluster, where they do not each need all sources.

    Args:
        scale: where.
        paths: that the workers must see.
        say: told what the user should know.

    Raises:
        TranslatekitError: there is no such cluster.
    """
    assert scale.on is not None
    with (
        connected(scale.on) as cluster,
        attempted_by(partial(_attempts, cluster, scale, [str(path) for path in paths], say)),
    ):
        yield


def _attempts(
    cluster: Cluster,
    scale: ScaleOptions,
    paths: Sequence[str],
    say: Callable[[str], object],
    sources: Sequence[Source],
    making: Making,
    progress: Progress | None,
) -> Iterable[Attempted]:
    making.output.root.mkdir(parents=True, exist_ok=True)
    versions, check = same_versions(["translatekit"])
    work: Work[tuple[int, Source], _Answer] = Work(
        opening=_Opening(making),
        given_up=_given_up,
        check=check,
        distributions=versions,
        paths=[*paths, str(making.output.root)],
        key=_number,
        block=16,  # images are read and written by one thread here
    )
    answers: dict[int, _Answer] = {}
    pool = Pool(cluster, work, scale.workers, demand_of(scale, cluster, gpus=0.0), scale.worker_timeout, say)
    for done, answer in enumerate(pool.run(enumerate(sources)), 1):
        answers[answer[0]] = answer
        if progress is not None:
            progress(done, len(sources))
    for number, source in enumerate(sources):
        _, result, reason = answers[number]
        yield source, result, reason


def _attempt(making: Making, number: int, source: Source) -> _Answer:
    try:
        return number, making(source), ""
    except TranslatekitError as error:
        return number, None, str(error)
    except MemoryError:
        return number, None, "the image does not fit into memory: cut it up"


def _given_up(item: tuple[int, Source], attempts: int) -> _Answer:
    return item[0], None, killer(attempts)


def _number(item: tuple[int, Source]) -> int:
    return item[0]
