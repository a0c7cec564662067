"""Bulk translation over a cluster: names go out, rows come back, and no pixel passes the driver or Ray's objects."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.images import image_suffixes, suffix_of
from translatekit.interfaces import Translator
from translatekit.model_file import find_model, read_info
from translatekit.registry import choose_backend, registry
from translatekit.storage import Item, Sink, Source, is_uri, open_sink, open_source
from translatekit_tools.bulk.find import DEFAULT_SUFFIX
from translatekit_tools.bulk.kinds import VIDEO_SUFFIXES
from translatekit_tools.bulk.options import Memory, RunOptions
from translatekit_tools.bulk.summary import Progress, Result, Summary
from translatekit_tools.bulk.task import ignore
from translatekit_tools.bulk.work import Row, Worker
from translatekit_tools.scale.cluster import connected
from translatekit_tools.scale.nodes import demand_of, same_versions
from translatekit_tools.scale.options import MOST_WORKERS, ScaleOptions
from translatekit_tools.scale.parcel import Parcel
from translatekit_tools.scale.pool import Pool, Work, killer


@dataclass(frozen=True)
class _Opening:
    """Makes a `Worker` in a process of the cluster."""

    source: str
    sink: str
    model: Parcel | str | Translator
    options: RunOptions

    def __call__(self, name: str) -> _Translating:
        model = self.model.unpack() if isinstance(self.model, Parcel) else self.model
        worker = Worker(
            self.source,
            self.sink,
            model,
            self.options,
            manifest_name=f".translatekit-manifest-{name}.jsonl",
            device=self.options.device,
        )
        return _Translating(worker)


class _Translating:
    """Blocks of objects through a `Worker`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __call__(self, block: list[Item]) -> list[Row]:
        return list(self._worker.translate(block))

    def close(self) -> None:
        """Finish what is open."""
        self._worker.close()


def translate_on(
    inputs: Sequence[str | Path],
    model: str | Path | Translator,
    out: str | Path | None,
    options: RunOptions,
    scale: ScaleOptions,
    progress: Progress | None = None,
) -> Summary:
    """Translate the images and videos of a folder, or of a place in a store, on a cluster.

    Args:
        inputs: one folder or address.
        model: a model file or a run's folder, which is sent to the workers; an address, which they fetch; or a
            translator that can be pickled.
        out: the folder or address that the outputs go to, under the same names.
        options: as on one machine.
        scale: where.
        progress: is told of each input when it is finished, in any order.

    Returns:
        What became of the inputs, without the list of outputs, which may be millions.

    Raises:
        TranslatekitError: nothing can be done at all.
    """
    assert scale.on is not None
    start = time.perf_counter()
    if options.dry_run:
        raise OptionError("--dry-run looks at the inputs by itself: leave out --on")
    source, sink = _places(inputs, out)
    opening = _Opening(_address(source), _address(sink), *_packed(model, options))
    summary = Summary()
    with connected(scale.on) as cluster:
        demand = demand_of(scale, cluster)
        most = scale.workers.most if scale.workers is not None else MOST_WORKERS
        beside = min(most, max((demand.workers_on(node) for node in cluster.nodes()), default=1))
        opening = replace(opening, options=_with_share(opening.options, max(1, beside)))
        versions, check = same_versions(_distributions(model, options))
        work: Work[Item, Row] = Work(
            opening=opening,
            given_up=_given_up,
            check=check,
            distributions=versions,
            paths=[str(place.path) for place in (source, sink) if place.path is not None],
            key=_name,
        )
        say = getattr(progress, "say", ignore)
        pool = Pool(cluster, work, scale.workers, demand, scale.worker_timeout, say)
        for row in pool.run(_listed(source)):
            result = _result(row, source, sink)
            summary.add(result)
            summary.outputs.clear()
            if progress is not None:
                progress(result)
    summary.seconds = time.perf_counter() - start
    return summary


def _places(inputs: Sequence[str | Path], out: str | Path | None) -> tuple[Source, Sink]:
    """Where the images are, and where they go.

    Raises:
        OptionError: the inputs are not one place, or nobody says where the outputs go.
        DataError: there is no such folder.
    """
    if len(inputs) != 1:
        raise OptionError(
            f"a cluster translates one folder or address at a time, got {len(inputs)} inputs: name one"
        )
    text = inputs[0] if is_uri(inputs[0]) else Path(inputs[0]).expanduser().absolute()
    if isinstance(text, Path) and not text.is_dir():
        raise DataError(
            f"there is no folder {text}: a cluster translates a folder or an address such as s3://bucket/in"
        )
    if out is None:
        if not isinstance(text, Path):
            raise OptionError(
                "an address has no folder beside it to write to: pass -o with a folder or an address"
            )
        out = text.parent / f"{text.name}{DEFAULT_SUFFIX}"
    out = out if is_uri(out) else Path(out).expanduser().absolute()
    if isinstance(out, Path):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the output folder {out} cannot be made ({error.strerror}): choose another with -o"
            ) from None
    return open_source(text), open_sink(out)


def _address(place: Source) -> str:
    return str(place.path) if place.path is not None else place.uri


def _packed(
    model: str | Path | Translator, options: RunOptions
) -> tuple[Parcel | str | Translator, RunOptions]:
    """What the workers are given as the model, and the options that go with it."""
    if not isinstance(model, str | Path) or is_uri(model):
        return model if not isinstance(model, Path) else str(model), options
    packed = Parcel.of(find_model(model, options.direction, best=options.best))
    return packed, replace(options, best=False)


def _distributions(model: str | Path | Translator, options: RunOptions) -> list[str]:
    """The packages that a model needs: translatekit, and those of its network's and its backend's plugins."""
    found = ["translatekit"]
    if isinstance(model, str | Path) and not is_uri(model):
        path = find_model(model, options.direction, best=options.best)
        backend = choose_backend(path, options.backend)
        found.append(registry("backend").entry(backend.name).plugin.distribution)
        generator = read_info(path).generator
        if backend.name == "torch" and generator in registry("generator").names():
            found.append(registry("generator").entry(generator).plugin.distribution)
    return found


def _with_share(options: RunOptions, beside: int) -> RunOptions:
    """The options of one of several workers on a node: a share of what is free is the node's, not each worker's."""
    if options.memory.size is not None:
        return options
    return replace(options, memory=Memory(None, options.memory.share / beside))


def _listed(source: Source) -> Iterator[Item]:
    suffixes = image_suffixes() | VIDEO_SUFFIXES
    for item in source.list():
        if (
            not any(part.startswith(".") for part in item.name.split("/"))
            and suffix_of(Path(item.name)) in suffixes
        ):
            yield item


def _given_up(item: Item, attempts: int) -> Row:
    return Row(
        name=item.name,
        output="",
        outcome="failed",
        reason=f"{killer(attempts)}, or pass --force to try again",
    )


def _name(item: Item) -> str:
    return item.name


def _result(row: Row, source: Source, sink: Sink) -> Result:
    return Result(
        source=Path(source.uri_of(row.name)) if source.is_local else source.uri_of(row.name),
        output=Path(sink.uri_of(row.output)),
        outcome="translated" if row.outcome == "done" else row.outcome,
        reason=row.reason,
        bytes_read=row.bytes_in,
        bytes_written=row.bytes_out,
    )
