"""Bulk translation over a cluster: names go out, rows come back, and no pixel passes the driver or Ray's objects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from translatekit.errors import DataError, OptionError
from translatekit.interfaces import Translator
from translatekit.model_file import find_model, read_info
from translatekit.registry import choose_backend, registry
from translatekit.storage import Item, Sink, Source, is_uri, open_sink, open_source, shown
from translatekit_tools.bulk.find import check_frames
from translatekit_tools.bulk.manifest import Manifest, hash_options, hash_path, manifest_name
from translatekit_tools.bulk.naming import DEFAULT_SUFFIX
from translatekit_tools.bulk.options import Memory, RunOptions
from translatekit_tools.bulk.places import Listing
from translatekit_tools.bulk.split import Made, Part
from translatekit_tools.bulk.summary import Progress, Result, Summary
from translatekit_tools.bulk.task import ignore
from translatekit_tools.bulk.unfinished import JOURNAL_NAME
from translatekit_tools.bulk.work import Row, Worker
from translatekit_tools.scale.cluster import connected
from translatekit_tools.scale.nodes import demand_of, same_versions
from translatekit_tools.scale.options import MAX_WORKERS, ScaleOptions
from translatekit_tools.scale.parcel import Parcel
from translatekit_tools.scale.pool import NAME_LENGTH, Pool, Work, killer
from translatekit_tools.scale.videos import Join, Videos, Whole

_Todo = Item | Part | Join | Whole
"""What a worker is given."""

_MOST_SAID = 1000  # remarks that are told apart


@dataclass(frozen=True)
class _Opening:
    """Makes a `Worker` in a process of the cluster."""

    source: str
    sink: str
    model: Parcel | str | Translator
    options: RunOptions
    workers: int

    def __call__(self, name: str) -> _Translating:
        model = self.model.unpack() if isinstance(self.model, Parcel) else self.model
        worker = Worker(
            self.source,
            self.sink,
            model,
            self.options,
            manifest_name=manifest_name(name),
            device=self.options.device,
            workers=self.workers,
        )
        return _Translating(worker)


class _Translating:
    """Blocks of objects through a `Worker`."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __call__(self, block: list[_Todo]) -> list[Row | Made]:
        answers: list[Row | Made] = []
        for each in block:
            if isinstance(each, Part):
                answers.append(self._worker.make(each))
            elif isinstance(each, Join):
                answers.append(self._worker.join(each.split))
            elif isinstance(each, Whole):
                answers.append(self._worker.translate_whole(each.split))
        answers += self._worker.translate(each for each in block if isinstance(each, Item))
        return answers

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
    if options.frames is not None:
        raise OptionError("--frames writes into a folder of one machine: leave out --on")
    if options.devices is not None:
        raise OptionError(
            "--devices names those of one machine, and --on has one for each worker: leave out --devices, and see "
            "--workers and --gpus-per-actor"
        )
    if options.stats:
        raise OptionError(
            "--stats tells of one machine's stages: leave it out, or leave out --on for a few images of the same place"
        )
    check_frames(inputs, options)
    source_text, sink_text = _places(inputs, out)
    say = getattr(progress, "say", ignore)
    summary = Summary()
    with connected(scale.on) as cluster:
        demand = demand_of(scale, cluster)
        maximum = MAX_WORKERS if scale.workers is None else scale.workers.maximum
        beside = min(maximum, max((demand.workers_on(node) for node in cluster.nodes()), default=1))
        packed, own_options = _packed(model, options)
        own_options = _with_share(own_options, max(1, beside))
        versions, check = same_versions(_distributions(model, options))
        room = sum(demand.workers_on(node) for node in cluster.nodes())
        workers = max(1, room) if scale.workers is None else scale.workers.maximum
        videos = Videos(getattr(progress, "frames", ignore))
        work: Work[_Todo, Row | Made] = Work(
            opening=_Opening(source_text, sink_text, packed, own_options, workers),
            follow=videos.follow,
            given_up=_given_up,
            check=check,
            distributions=versions,
            paths=[text for text in (source_text, sink_text) if not is_uri(text)],
            key=_key,
        )
        pool = Pool(cluster, work, scale.workers, demand, scale.worker_timeout, say)
        missing = _Missing(open_source(source_text), open_sink(sink_text), model, options)
        said: set[str] = set()
        for answer in chain(pool.run(missing), missing.refused):
            for remark in answer.remarks:
                if remark not in said and len(said) < _MOST_SAID:
                    said.add(remark)
                    say(remark)
            while missing.refused:
                _tell(missing.refused.popleft(), missing, summary, progress)
            while videos.failed:
                _tell(videos.failed.pop(), missing, summary, progress)
            if isinstance(answer, Row) and answer.parts is None:
                _tell(answer, missing, summary, progress)
    _tidy(missing.listing.sink)
    summary.skipped += missing.done
    summary.left_out = missing.listing.left_out.unread
    for note in missing.listing.left_out.notes():
        say(note)
    if not (missing.done or summary.translated or summary.failed or options.shard):
        raise DataError(
            f"{missing.listing.source.uri} holds no images and no videos that can be read: check it"
        )
    summary.seconds = time.perf_counter() - start
    return summary


class _Missing:
    """What is to be translated: the listing, without what an earlier run has done, before anybody else sees it.

    Attributes:
        listing: of the place.
        done: how many an earlier run has done.
        refused: what cannot be done at all, to be told.
    """

    def __init__(
        self, source: Source, sink: Sink, model: str | Path | Translator, options: RunOptions
    ) -> None:
        self._manifest = Manifest(sink.path or sink)
        self.listing = Listing(source, options, sink, manifest=self._manifest)
        self.done = 0
        self.refused: deque[Row] = deque()
        self._made_with: tuple[str, str] | None = None
        if isinstance(model, str | Path) and not options.force and not options.verify:
            model_file = find_model(model, options.direction, best=options.best)
            self._made_with = (hash_path(model_file), hash_options(options.of_result()))

    def __iter__(self) -> Iterator[Item]:
        manifest, made_with = self._manifest, self._made_with
        if made_with is not None and not manifest.is_local:
            manifest.list_outputs()
        for found in self.listing:
            item = found.item
            if found.problem is not None:
                self.refused.append(
                    Row(name=item.name, output=found.output, outcome="failed", reason=found.problem)
                )
            elif made_with is not None and manifest.is_current(
                found.output, item.stamp, manifest.output_state(found.output), made_with
            ):
                self.done += 1
            else:
                yield item


def _tell(row: Row, missing: _Missing, summary: Summary, progress: Progress | None) -> None:
    source, sink = missing.listing.source, missing.listing.sink
    output = sink.uri_of(row.output)
    result = Result(
        source=Path(source.uri_of(row.name)) if source.is_local else source.uri_of(row.name),
        output=Path(output) if sink.is_local else output,
        outcome="translated" if row.outcome == "done" else row.outcome,
        reason=row.reason,
        bytes_read=row.bytes_in,
        bytes_written=row.bytes_out,
        video=row.video,
    )
    summary.add(result)
    summary.outputs.clear()  # there may be millions
    if progress is not None:
        progress(result)


def _tidy(sink: Sink) -> None:
    """Remove the journals of workers that have died: no other has their names, so that nobody reads them."""
    if sink.path is not None:
        for path in sink.path.glob(JOURNAL_NAME.replace(".jsonl", f"-{'[0-9a-f]' * NAME_LENGTH}.jsonl")):
            path.unlink(missing_ok=True)


def _places(inputs: Sequence[str | Path], out: str | Path | None) -> tuple[str, str]:
    """Where the images are, and where they go.

    Raises:
        OptionError: the inputs are not one place, or nobody says where the outputs go.
        DataError: there is no such folder, or the output folder cannot be made.
    """
    if len(inputs) != 1:
        raise OptionError(
            f"a cluster translates one folder or address at a time, got {len(inputs)} inputs: name one"
        )
    source = _place(inputs[0])
    if not is_uri(source) and not Path(source).is_dir():
        raise DataError(
            f"there is no folder {source}: a cluster translates a folder or an address such as s3://bucket/in"
        )
    if out is None:
        if is_uri(source):
            raise OptionError(
                f"{shown(source)} has no folder beside it to write to: say with -o where outputs go"
            )
        out = f"{source}{DEFAULT_SUFFIX}"
    sink = _place(out)
    if not is_uri(sink):
        try:
            Path(sink).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"the output folder {sink} cannot be made ({error.strerror}): choose another with -o"
            ) from None
    return source, sink


def _place(text: str | Path) -> str:
    """An address as it is; of a path, the absolute one, since the workers are elsewhere."""
    return str(text) if is_uri(text) else str(Path(text).expanduser().absolute())


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
        # A compiled model has its network in it.
        if (
            backend.name == "torch"
            and (generator := read_info(path).generator) in registry("generator").names()
        ):
            found.append(registry("generator").entry(generator).plugin.distribution)
    return found


def _with_share(options: RunOptions, beside: int) -> RunOptions:
    """The options of one of several workers on a node: a share of what is free is the node's, not each worker's."""
    if options.memory.size is not None:
        return options
    return replace(options, memory=Memory(None, options.memory.share / beside))


def _given_up(item: _Todo, attempts: int) -> Row | Made:
    reason = f"{killer(attempts)}, or run the same command to try again"
    if isinstance(item, Part):
        return Made(item, reason)
    name = item.name if isinstance(item, Item) else item.split.item.name
    return Row(name=name, output="", outcome="failed", reason=reason)


def _key(item: _Todo) -> Hashable:
    if isinstance(item, Item):
        return item.name
    if isinstance(item, Part):
        return item.split.item.name, item.segment
    return item.split.item.name, type(item)
