"""The pipeline that translates image files."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from translatekit.errors import DataError, TranslatekitError
from translatekit.images import (
    Header,
    Image,
    UnreadableImageError,
    read_header,
    read_size,
    suffix_of,
)
from translatekit.images.formats import open_image, write_volume
from translatekit.inference.batching import Request, by_shape, translate_batches
from translatekit.inference.inputs import cut_to_8_bits
from translatekit.inference.predictor import Predictor
from translatekit.inference.stages import Pause, background, in_order, ordered_map
from translatekit.interfaces import Translator
from translatekit.model_file import find_model
from translatekit.requirements import VIDEO, require
from translatekit.storage import (
    commit_file,
    hash_bytes,
    hash_file,
    write_atomically,
    write_error,
)
from translatekit_tools.bulk.addresses import is_sequence, sequence_files
from translatekit_tools.bulk.find import Job, find_jobs
from translatekit_tools.bulk.images import Decoded, Slices, ask, decode, encode
from translatekit_tools.bulk.kinds import (
    ANIMATION_SUFFIXES,
    RAW_SUFFIXES,
    has_several_frames,
    is_multipage,
    is_video,
    volume_suffix,
)
from translatekit_tools.bulk.large import is_large, translate_large
from translatekit_tools.bulk.manifest import Entry, hash_options, hash_path, size_of
from translatekit_tools.bulk.memory import MemoryBudget, Planner, bytes_a_pixel
from translatekit_tools.bulk.model import make_predictor, open_model
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.stats import StageTimer
from translatekit_tools.bulk.summary import Outcome, Progress, Result, Summary
from translatekit_tools.bulk.unfinished import MAX_ATTEMPTS

if TYPE_CHECKING:
    from translatekit_tools.bulk.summary import VideoResult

_THREADS = min(8, (os.cpu_count() or 1) + 2)  # more than cores: some wait for the disk
_AHEAD = 2 * _THREADS  # length of each queue between stages
_READY = 2  # decoded batches that wait for the translator
_SMALL_FILE = 2**25  # bytes; files up to this are read ahead


@dataclass(slots=True)
class _Item:
    """One input in the pipeline; each stage takes what it needs and frees it."""

    index: int
    job: Job
    outcome: Outcome | None = None
    reason: str = ""
    input_hash: str = ""
    data: bytes = b""
    predictor: Predictor | None = None
    max_batch: int = 1
    image: Decoded | None = None
    release: Callable[[], None] | None = None
    bytes_read: int = 0
    bytes_written: int = 0
    video: VideoResult | None = None

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        self.outcome, self.reason = outcome, reason
        self.data, self.image = b"", None
        if self.release is not None:
            self.release()
            self.release = None
            self.job.manifest.unfinished.finish(self.name)
        elif outcome == "skipped" and self.attempts:
            self.job.manifest.unfinished.finish(self.name)

    @property
    def request(self) -> Request | None:
        """What the model is asked; None where it is not."""
        return None if self.image is None else self.image.request

    @property
    def name(self) -> str:
        """Its input's, in the output folder's notes."""
        return self.job.manifest.relative(self.job.source)

    @property
    def attempts(self) -> int:
        """How many runs have ended abruptly while it was in progress."""
        return self.job.manifest.unfinished.attempts[self.name]


def translate_images(
    inputs: Sequence[str | Path],
    model: str | Path | Translator,
    out: str | Path | None,
    options: RunOptions,
    progress: Progress | None = None,
) -> Summary:
    """See `translatekit_tools.bulk.translate`."""
    start = time.perf_counter()
    summary = Summary(dry_run=options.dry_run)
    model_file = (
        find_model(model, options.direction, best=options.best) if isinstance(model, str | Path) else None
    )
    findings = find_jobs(inputs, out, options)
    summary.left_out = findings.left_out
    say = getattr(progress, "say", _ignore)
    for note in findings.notes():
        say(note)
    total = sum(1 + len(job.alternatives) for job in findings.jobs)
    if options.frames is not None:
        _place_frames(findings.jobs, Path(options.frames).expanduser())
    if not options.dry_run:
        _prepare_folders(findings.jobs)
    for note in _dropped_frames(findings.jobs):
        say(note)
    pipeline = _Pipeline(options, model_file, None if isinstance(model, str | Path) else model, say)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="translatekit")
    try:
        for item in pipeline.run_all(findings.jobs, pool, progress):
            assert item.outcome is not None
            result = Result(
                source=item.job.shown_source,
                output=item.job.frames or item.job.output,
                outcome=item.outcome,
                reason=item.reason,
                total=total,
                bytes_read=item.bytes_read,
                bytes_written=item.bytes_written,
                video=item.video,
            )
            summary.add(result)
            if progress is not None:
                progress(result)
    finally:  # whatever happened: what is being written is finished, the rest is dropped
        pool.shutdown(wait=True, cancel_futures=True)
        for manifest in {id(job.manifest): job.manifest for job in findings.jobs}.values():
            manifest.unfinished.close()
    summary.seconds = time.perf_counter() - start
    summary.stats = pipeline.timer.stats(_THREADS)
    return summary


class _Pipeline:
    """The stages, and what they share."""

    def __init__(
        self,
        options: RunOptions,
        model_file: Path | None,
        translator: Translator | None,
        say: Callable[[str], object],
    ) -> None:
        self.options = options
        self.say = say
        self.model_file = model_file
        self.model_hash = hash_file(model_file) if model_file is not None else ""
        self.options_hash = hash_options(options.of_result())
        self.timer = StageTimer()
        self._predictor = None if translator is None else make_predictor(translator, options)
        self._planner: Planner | None = None
        self._warned: set[str] = set()

    @property
    def predictor(self) -> Predictor:
        """The model, loaded when an input needs it: a rerun with nothing to do is over at once."""
        if self._predictor is None:
            assert self.model_file is not None
            self._predictor = make_predictor(open_model(self.model_file, self.options), self.options)
        return self._predictor

    @property
    def planner(self) -> Planner:
        """Says how images are translated within the memory there is, once the model is loaded."""
        if self._planner is None:
            self._planner = Planner(self.predictor, self.options.memory, self._fresh_translator)
        return self._planner

    def _fresh_translator(self) -> Translator:
        if self.model_file is None:
            translator = self.predictor.translator
            return getattr(translator, "within", translator)
        return open_model(self.model_file, self.options)

    def run_all(
        self, jobs: Sequence[Job], pool: ThreadPoolExecutor, progress: Progress | None
    ) -> Iterator[_Item]:
        """All jobs, finished: images, then videos and animations; then the alternatives of those that failed."""
        while jobs:
            single: list[Job] = []
            of_frames: list[Job] = []
            retries: list[Job] = []
            for job in jobs:
                kind = single if job.problem is not None or self._translation_of(job) is None else of_frames
                (retries if kind is single and _Item(0, job).attempts else kind).append(job)
            following: list[Job] = []
            with (
                closing(self.items(single, pool)) as images,
                closing(self.videos(of_frames, progress)) as videos,
                closing(self.one_by_one(retries, pool)) as others,
            ):
                for item in chain(images, videos, others):
                    following += _next_alternatives(item)
                    yield item
            jobs = following

    def one_by_one(self, jobs: Sequence[Job], pool: ThreadPoolExecutor) -> Generator[_Item, None, None]:
        """Those that an earlier run may have died of: last, and alone, the likeliest at the end."""
        for attempts, job in sorted(
            ((_Item(0, job).attempts, job) for job in jobs), key=lambda pair: pair[0]
        ):
            if attempts >= MAX_ATTEMPTS and not self.options.force:
                job.problem = (
                    f"{attempts} runs have ended abruptly while it was in progress, as those do that are killed for "
                    "memory: replace or remove it, or pass --force to try again"
                )
            with closing(self.items([job], pool)) as items:
                yield from items

    def items(self, jobs: Iterable[Job], pool: ThreadPoolExecutor) -> Generator[_Item, None, None]:
        """All jobs, finished, in order."""
        start = (_Item(index, job) for index, job in enumerate(jobs))
        read = ordered_map(self._stage("read", self.read), start, pool, _AHEAD)
        if self.options.dry_run:
            yield from self.without_translation(read)
            return
        budget = MemoryBudget()
        decoded = ordered_map(self._stage("decode", self.decode), self.admitted(read, budget), pool, _AHEAD)
        batches = by_shape(decoded, window=_AHEAD + 2 * (self.options.batch_size or 8))
        # Threads of their own: the model waits neither for a file to be flushed nor, as long as a batch is
        # ready, for one to be decoded.
        with (
            closing(background(batches, _READY)) as ready,
            closing(
                background(translate_batches(self.timer.waiting(ready, "wait"), self.timer.stage), _AHEAD)
            ) as translated,
            closing(budget),
        ):
            yield from in_order(ordered_map(_guarded(self.write), translated, pool, _AHEAD))

    def _stage(self, name: str, stage: Callable[[_Item], None]) -> Callable[[_Item], _Item]:
        def timed(item: _Item) -> None:
            with self.timer.stage(name):
                stage(item)

        return _guarded(timed)

    def read(self, item: _Item) -> None:
        """Read the file, and skip it if its translation is there."""
        job = item.job
        if job.problem is not None:
            raise DataError(job.problem)
        data = b""
        try:
            item.bytes_read = size_of(job.source)
            # Decoded from where it is, when its turn comes.
            if item.bytes_read > _SMALL_FILE or job.source.is_dir():
                item.input_hash = hash_path(job.source)
            else:
                data = job.source.read_bytes()
                item.input_hash, item.bytes_read = hash_bytes(data), len(data)
        except OSError as error:
            raise DataError(
                f"the file cannot be read ({error.strerror}): check it and its permissions"
            ) from None
        if self._is_done(item):
            item.finish("skipped")
        elif not self.options.dry_run:
            item.data = data

    def _is_done(self, item: _Item) -> bool:
        """Whether the output is there, made from this input by this model with these options.

        Raises:
            DataError: something else is there.
        """
        job, output = item.job, item.job.output
        if self.options.force or not output.exists():
            return False
        ours = output.is_file() or job.source.is_dir()
        entry = job.manifest.find(output, hash_path(output)) if ours else None
        if entry is None:
            raise DataError(
                f"{output} exists and is not what an earlier run wrote there: "
                "pass --force to overwrite it, or choose another name with -o or --suffix"
            )
        source_hashes = (entry.input_hash, entry.model_hash, entry.options_hash)
        known = bool(self.model_hash and item.input_hash)
        return known and source_hashes == (item.input_hash, self.model_hash, self.options_hash)

    def without_translation(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Finish what a dry run does not go on with."""
        for item in items:
            if item.outcome is None:
                item.finish("translated")
            yield item

    def admitted(self, items: Iterable[_Item], budget: MemoryBudget) -> Iterator[_Item | Pause]:
        """The items, each when there is memory for it; before the first that needs the model, that is loaded."""
        for item in items:
            if item.outcome is None:
                yield from self._admit(item, budget)
            yield item

    def _admit(self, item: _Item, budget: MemoryBudget) -> Iterator[Pause]:
        planner = self.planner
        height, width, image_bytes = self._extent(item)
        if planner.must_measure(height, width):
            yield Pause()
            budget.wait_until_idle()
        try:
            max_batch = self.predictor.batch_size(height, width)
            item.predictor, item.max_batch = planner.plan(
                height, width, image_bytes, max_batch, share=0.5 ** max(0, item.attempts - 1)
            )
        except TranslatekitError as error:
            item.finish("failed", str(error))
            return
        if item.predictor is not self.predictor:
            self._warn_once(
                "tiles", f"{item.job.source}: {planner.tiling_note(height, width, item.predictor)}"
            )
        if not budget.fits(image_bytes, planner.limit // 2):
            yield Pause()
        if item.attempts:
            self.say(
                f"{item.job.source}: an earlier run ended abruptly while it was in progress: "
                "it is translated after the others, by itself"
            )
        item.release = budget.acquire(image_bytes, planner.limit // 2)
        item.job.manifest.unfinished.start(item.name)

    def _warn_once(self, about: str, sentence: str) -> None:
        """What holds for many images is said of the first."""
        if about not in self._warned:
            self._warned.add(about)
            self.say(sentence)

    def _extent(self, item: _Item, header: Header | None = None) -> tuple[int, int, int]:
        """Height and width in pixels as the network takes them at most; and the bytes that the image takes itself.

        Args:
            item: its file is looked at, where no header is given.
            header: of one of its pages.
        """
        source = item.data or item.job.source
        if header is None:
            try:
                header = read_header(source, suffix=suffix_of(item.job.source))
            except UnreadableImageError:
                return 1, 1, 0  # decoding says what is wrong with it
        height, width = header.height, header.width
        if not height * width:
            return 1, 1, 0
        if width == 2 * height and self.predictor.info.data.get("dataset") == "aligned":
            left = 0 if self.predictor.info.direction == "AtoB" else height
            self._warn_once(
                "pairs",
                f"{item.job.source} is twice as wide as high, as the model's training pairs are that stand side by "
                "side in one file; it is translated as one image. Where it is such a pair, cut out the half that the "
                f"model takes: translatekit prepare crop {quote(str(item.job.source))} -o HALVES "
                f"--box {left},0,{height},{height}",
            )
        pixels = height * width
        height, width = self.options.height_width() or (height, width)
        multiple = self.predictor.info.size_multiple
        height, width = (-(-side // multiple) * multiple for side in (height, width))
        info = self.predictor.info
        channels = max(header.spec.count, info.input.count, info.output.count)
        each = bytes_a_pixel(source, item.job.output.suffix.lower()) * -(-channels // 4)
        return height, width, max(pixels, height * width) * each

    def decode(self, item: _Item) -> None:
        """From the file's bytes to what the model is asked."""
        assert item.predictor is not None
        item.image = self._decoded(item, item.predictor, item.max_batch)
        item.data = b""

    def _decoded(self, item: _Item, predictor: Predictor, max_batch: int) -> Decoded:
        return self._told(decode(item.job.source, item.data, predictor, max_batch))

    def _told(self, image: Decoded) -> Decoded:
        if image.cut:
            self._warn_once("depth", cut_to_8_bits("an image"))
        return image

    def videos(self, jobs: Sequence[Job], progress: Progress | None) -> Generator[_Item, None, None]:
        """All videos, animations and other files that are translated by themselves, one after the other, finished."""
        for index, job in enumerate(jobs):
            yield _guarded(partial(self.by_itself, progress=progress))(_Item(index, job))

    def by_itself(self, item: _Item, progress: Progress | None) -> None:
        """Translate a file that does not go through the stages as one image."""
        translate = self._translation_of(item.job)
        assert translate is not None
        translate(item, progress)

    def _translation_of(self, job: Job) -> Callable[[_Item, Progress | None], None] | None:
        """What translates a file that does not go through the stages as one image; None for one that does."""
        if _is_video(job):
            return self.translate_video
        if is_multipage(job.source, job.output):
            return self.translate_pages
        return self.translate_large if is_large(job.source, job.output) else None

    def translate_large(self, item: _Item, progress: Progress | None) -> None:
        """From a file of one image larger than the memory to a tiled TIFF."""
        self.read(item)
        if item.outcome is not None or self.options.dry_run:
            if item.outcome is None:
                item.finish("translated")
            return
        job = item.job
        item.data = b""
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            translate_large(
                job.source,
                job.output,
                self.predictor,
                self.options,
                (item.input_hash, self.model_hash, self.options_hash),
                self.planner.limit,
                commit=lambda made: commit_file(made, job.output, lambda: self._record_file(item, made)),
                report=getattr(progress, "frames", _ignore),
                say=self.say,
                timer=self.timer,
            )
        except OSError as error:
            raise write_error(error, job.output) from None
        item.finish("translated")

    def translate_pages(self, item: _Item, progress: Progress | None) -> None:
        """From a file of several pages or slices, or a series, to one of as many."""
        self.read(item)
        if item.outcome is not None or self.options.dry_run:
            if item.outcome is None:
                item.finish("translated")
            return
        job, source = item.job, item.data or item.job.source
        report = getattr(progress, "frames", _ignore)
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(error, job.output) from None
        with open_image(source, suffix=suffix_of(job.source)) as volume:
            count = volume.header().pages
            extents = [self._extent(item, volume.header(page)) for page in range(count)]
            slices = Slices(volume, self.predictor.info.input, str(job.source))

            def pages() -> Iterator[Image]:
                for page, (height, width, image_bytes) in enumerate(extents):
                    predictor, _ = self.planner.plan(height, width, image_bytes, 1)
                    with self.timer.stage("decode"):
                        image = self._told(ask(*slices.read(page), predictor))
                    yield from (done.image() for done in translate_batches([[image]], self.timer.stage))
                    report(page + 1, count)

            write_volume(
                job.output,
                pages(),
                pages=count,
                suffix=volume_suffix(job.output),
                compression=self.options.compression,
                before_rename=partial(self._record_file, item),
            )
        item.finish("translated")

    def translate_video(self, item: _Item, progress: Progress | None) -> None:
        """From a video or an animation to a file like it, or to its frames as images."""
        require("a video or an animation", VIDEO)
        from translatekit_tools.bulk.video.pipeline import translate_stream, translate_video, write_frames

        job = item.job
        try:
            item.input_hash, item.bytes_read = _hash_video(job)
        except OSError as error:
            raise DataError(
                f"the file cannot be read ({error.strerror}): check it and its permissions"
            ) from None
        if job.frames is None and not job.to_standard_output and self._is_done(item):
            item.finish("skipped")
            return
        if self.options.dry_run:
            item.finish("translated")
            return
        report, say = (getattr(progress, name, _ignore) for name in ("frames", "say"))
        source_hashes = (item.input_hash, self.model_hash, self.options_hash)
        if (
            job.source.suffix.lower() in ANIMATION_SUFFIXES and job.source.is_file()
        ):  # opening it decodes a whole frame
            self.planner.plan_frames(*read_size(job.source))

        def commit(made: Path) -> None:
            commit_file(made, job.output, lambda: self._record_file(item, made))

        try:
            if job.frames is not None:
                item.video = write_frames(
                    job.source,
                    job.frames,
                    self.planner,
                    self.options,
                    source_hashes,
                    report,
                    say,
                    self.timer,
                    job.address,
                )
            elif (
                job.address is not None or job.to_standard_output or job.output.suffix.lower() in RAW_SUFFIXES
            ):
                item.video = translate_stream(
                    job.source,
                    job.address,
                    None if job.to_standard_output else job.output,
                    self.planner,
                    self.options,
                    commit=commit,
                    report=report,
                    say=say,
                    timer=self.timer,
                )
            else:
                job.output.parent.mkdir(parents=True, exist_ok=True)
                item.video = translate_video(
                    job.source,
                    job.output,
                    self.planner,
                    self.options,
                    source_hashes,
                    commit=commit,
                    report=report,
                    say=say,
                    timer=self.timer,
                )
        except BrokenPipeError:
            raise DataError("whoever reads standard output has ended: nothing more was translated") from None
        except OSError as error:
            raise write_error(error, job.frames or job.output) from None
        item.finish("translated")

    def _record_file(self, item: _Item, made: Path) -> None:
        self._record(item, hash_path(made), size_of(made))

    def _record(self, item: _Item, output_hash: str, output_size: int) -> None:
        """Put an output into its manifest."""
        job = item.job
        item.bytes_written = output_size
        job.manifest.add(
            Entry(
                input=job.manifest.relative(job.source),
                input_hash=item.input_hash,
                output=job.manifest.relative(job.output),
                output_hash=output_hash,
                output_size=output_size,
                model_hash=self.model_hash,
                options_hash=self.options_hash,
            )
        )

    def write(self, item: _Item) -> None:
        """Encode and write, whole or not at all."""
        assert item.image is not None
        job = item.job
        with self.timer.stage("encode"):
            data = encode(item.image, suffix_of(job.output), self.options.quality, self.options.compression)
        try:
            with self.timer.stage("write"):
                job.output.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(
                    job.output, data, before_rename=lambda: self._record(item, hash_bytes(data), len(data))
                )
        except OSError as error:
            raise write_error(error, job.output) from None
        item.finish("translated")


def _dropped_frames(jobs: Iterable[Job]) -> Iterator[str]:
    """A sentence on the inputs of several frames or pages of which the output's format holds one."""
    cut = [
        job
        for job in jobs
        if job.problem is None
        and not _is_video(job)
        and not is_multipage(job.source, job.output)
        and has_several_frames(job.source)
    ]
    if cut:
        names = ", ".join(str(job.source) for job in cut[:3]) + (" and more" if len(cut) > 3 else "")
        yield (
            f"only the first frame or page of {names} is translated, since the output's format holds one: "
            "another --format, or another extension of -o, keeps all"
        )


def _ignore(*_: object) -> None:
    """Where nobody wants to know."""


def _guarded(stage: Callable[[_Item], None]) -> Callable[[_Item], _Item]:
    """A stage that lets finished items pass, and turns a user's error into a failed item."""

    def run(item: _Item) -> _Item:
        if item.outcome is None:
            try:
                stage(item)
            except TranslatekitError as error:
                item.finish("failed", str(error))
            except MemoryError:
                item.finish("failed", "the image does not fit into memory: pass --tile or --size")
        return item

    return run


def _next_alternatives(item: _Item) -> list[Job]:
    """What is to be done of those that would have the output of an item: the first where it failed, else none."""
    alternatives, item.job.alternatives = item.job.alternatives, []
    if item.outcome == "failed" and alternatives:
        alternatives[0].alternatives = alternatives[1:]
        return alternatives[:1]
    for job in alternatives:
        job.problem = (
            f"the output {job.output} is already that of {item.job.source}: "
            "rename one, or translate them apart with another -o, --suffix or --format (such as keep)"
        )
    return alternatives


def _is_video(job: Job) -> bool:
    """Whether a job is translated frame by frame."""
    return job.address is not None or job.to_standard_output or is_video(job.source, job.output)


def _hash_video(job: Job) -> tuple[str, int]:
    """The hash of a video's bytes, empty where nobody knows them before they are read; and how many there are.

    Raises:
        OSError: they cannot be read.
    """
    if job.address is not None:
        return "", 0
    if not is_sequence(job.source):
        return hash_file(job.source), job.source.stat().st_size
    files = sequence_files(job.source)
    hashes = [[number, hash_file(path)] for number, path in files.items()]
    return hash_options({"images": hashes}), sum(path.stat().st_size for path in files.values())


def _place_frames(jobs: Iterable[Job], folder: Path) -> None:
    """Give the frames of each video a folder of their own below this one."""
    sources: dict[Path, Path] = {}
    for job in jobs:
        for each in (job, *job.alternatives):
            if each.problem is None and _is_video(each):
                below = Path(each.manifest.relative(each.output)).parent
                each.frames = folder / below / each.source.stem
        if job.frames is None:
            continue
        other = sources.setdefault(job.frames, job.source)
        if other != job.source:
            job.problem = (
                f"its frames would go where those of {other} are, {job.frames}: rename one of the two videos"
            )


def _prepare_folders(jobs: Iterable[Job]) -> None:
    """Find out before anything is translated whether the output folders can be written.

    Raises:
        DataError: one cannot.
    """
    for folder in dict.fromkeys(
        job.manifest.folder for job in jobs if job.frames is None and not job.to_standard_output
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise DataError(
                f"the output folder {folder} cannot be written ({error.strerror}): choose another with -o"
            ) from None
