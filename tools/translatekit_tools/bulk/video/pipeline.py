"""The pipeline that translates a video: decode -> batch -> translate -> smooth -> encode, in threads."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import encode_image, image_of
from translatekit.inference.batching import Request, translate_batches
from translatekit.inference.inputs import cut_to_8_bits, fit_levels
from translatekit.inference.stages import background
from translatekit.storage import empty_folder, hash_bytes, hash_file, write_atomically
from translatekit_tools.bulk.addresses import RawFrames, is_sequence, parse_rate
from translatekit_tools.bulk.kinds import (
    ANIMATION_SUFFIXES,
    CONSTANT_RATE_SUFFIXES,
    RAW_SUFFIXES,
    STREAMED,
    is_animation,
)
from translatekit_tools.bulk.manifest import Entry, Manifest, hash_options
from translatekit_tools.bulk.memory import Planner
from translatekit_tools.bulk.model import check_shown
from translatekit_tools.bulk.options import SUFFIXES, RunOptions
from translatekit_tools.bulk.split import Place
from translatekit_tools.bulk.stats import StageTimer
from translatekit_tools.bulk.summary import VideoResult
from translatekit_tools.bulk.tracks import Selection
from translatekit_tools.bulk.video.animation import AnimationReader, write_animation
from translatekit_tools.bulk.video.encoding import Encoding, choose_encoding, raw_encoding, write_segment
from translatekit_tools.bulk.video.flow import Smoother
from translatekit_tools.bulk.video.hdr import seen_by_models
from translatekit_tools.bulk.video.muxing import Muxer, constant_rate, even_rate
from translatekit_tools.bulk.video.pipes import at_constant_rate, check_raw, write_raw
from translatekit_tools.bulk.video.reader import Frame, Reader, VideoReader
from translatekit_tools.bulk.video.segments import SEGMENT_FRAMES, Segments, alone_in
from translatekit_tools.bulk.video.sequence import SequenceReader
from translatekit_tools.bulk.video.standard import StandardOutput

_AHEAD = 8  # frames in each queue between threads
_AHEAD_PIXELS = 2**24  # of all frames in a queue, where they are large
_MAX_PLACES = 5  # that are named


Report = Callable[[int, int], None]
"""Told how many frames are done, and how many there will be (0 where nobody knows)."""

SourceHashes = tuple[str, str, str]
"""Hashes of the input, the model and the options; the model's is empty where it came from no file."""


@dataclass(slots=True)
class _PendingFrame:
    """A frame as the user wants it translated, and what the model is asked for it."""

    frame: Frame
    request: Request

    def output(self) -> np.ndarray:
        """Its translation (H, W, 3).

        Raises:
            Exception: why it could not be translated.
        """
        output = self.request.result()
        return np.repeat(output, 3, axis=2) if output.shape[2] == 1 else output


def translate_video(
    source: Path,
    out: Path,
    planner: Planner,
    options: RunOptions,
    source_hashes: SourceHashes,
    *,
    commit: Callable[[Path], None],
    report: Report = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
    timer: StageTimer | None = None,
) -> VideoResult:
    """Translate a video or an animation; of a video, a run that was stopped goes on after its last finished segment.

    Args:
        source: the video.
        out: what is written: its suffix says the format, and the unfinished work is kept beside it.
        planner: says what translates frames of their size.
        options: those of the group Video, and the size.
        source_hashes: segments of another model, input or options are not used.
        commit: called with the whole file, which it moves to its place.
        report: told of progress.
        say: told what the user should know, such as another encoder than the one asked for.
        timer: told how long each stage is busy.

    Raises:
        TranslatekitError: the video cannot be read, or not be written so, or another process is translating it.
    """
    folder = hidden_folder(out)
    made = folder / f"made{out.suffix.lower()}"
    with closing(open_reader(source, options)) as reader, alone_in(folder):
        pipeline = FramePipeline(reader, planner, options, report, timer or StageTimer(), say)
        if isinstance(reader, AnimationReader) and reader.cut:
            say(f"{source} has more than 8 bits a channel, of which an animation keeps 8")
        if isinstance(reader, AnimationReader) and made.suffix in ANIMATION_SUFFIXES:
            _make_animation(reader, pipeline, made)
        else:
            _make_video(reader, pipeline, made, source_hashes)
        commit(made)
        shutil.rmtree(folder, ignore_errors=True)
    return pipeline.result()


def hidden_folder(out: Path) -> Path:
    """Where unfinished work lies, beside the output."""
    return out.with_name(f".{blake2b(os.fsencode(out.name), digest_size=8).hexdigest()}.translatekit.video")


def _make_animation(reader: AnimationReader, pipeline: FramePipeline, made: Path) -> None:
    empty_folder(made.parent)
    try:
        with closing(pipeline.frames()) as frames:
            options = pipeline.options
            write_animation(made, frames, reader, lambda: pipeline.end, options.quality, options.compression)
    except BaseException:  # it is short, and begun again
        shutil.rmtree(made.parent, ignore_errors=True)
        raise


def _make_video(reader: Reader, pipeline: FramePipeline, made: Path, source_hashes: SourceHashes) -> None:
    options, suffix = pipeline.options, made.suffix
    pipeline.say_what_the_model_sees(kept=True)
    encoding = choose_for(reader, pipeline, suffix)
    muxer = muxer_of(reader, pipeline, encoding, suffix)
    muxer.check()
    plan = {
        "made_from": [*source_hashes[:2], hash_options(options.of_frames())],
        "segment_frames": SEGMENT_FRAMES,
        "encoding": repr(encoding),
    }
    segments = Segments(made.parent, plan if source_hashes[1] else None)
    try:
        with closing(pipeline.frames(skip=segments.frames, state=segments.state)) as frames:
            while (first := next(frames, None)) is not None:
                some = chain([first], islice(frames, SEGMENT_FRAMES - 1))
                segments.add(partial(write_segment, frames=some, encoding=encoding), pipeline.state)
        with pipeline.timer.stage("write"):
            muxer.mux(segments.paths, pipeline.end, made)
    except DataError as error:
        made.unlink(missing_ok=True)
        if not segments.frames or not source_hashes[1]:  # nothing that another run could go on with
            shutil.rmtree(made.parent, ignore_errors=True)
            raise
        raise type(error)(f"{error} (the {segments.frames} frames that are translated are kept)") from None


def choose_for(reader: Reader, pipeline: FramePipeline, suffix: str) -> Encoding:
    """How the frames of a file are encoded for a format.

    Raises:
        DataError: the format knows one frame rate, and that of the video varies.
        OptionError: there is no such encoder, or it does not take the options.
    """
    rate = None
    if suffix in CONSTANT_RATE_SUFFIXES and not isinstance(reader, SequenceReader):
        if isinstance(reader, VideoReader):
            rate = constant_rate(pipeline.source, reader.selection, reader.info)
        elif isinstance(reader, AnimationReader):
            rate = even_rate(reader.starts) if reader.info.frames > 1 else reader.info.rate
        if rate is None:
            raise DataError(
                f"the frame rate of the video varies, and a {suffix} file has one for all: "
                "let the output end in .mkv or .mp4"
            )
    return choose_encoding(reader.info, pipeline.size(), suffix, pipeline.options, pipeline.say, rate)


_FORMATS = {".mkv": "matroska", ".ts": "mpegts", ".m2ts": "mpegts", ".mts": "mpegts"}
"""FFmpeg's names of formats that differ from their suffixes."""


def translate_stream(
    source: Path,
    address: str | None,
    out: Path | None,
    planner: Planner,
    options: RunOptions,
    *,
    commit: Callable[[Path], None],
    report: Report = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
    timer: StageTimer | None = None,
) -> VideoResult:
    """Translate a video as it comes: from standard input or a URL, or to standard output. A stopped run begins again.

    Args:
        source: the video, or what it is called.
        address: what is read in its place: ``-`` or a URL.
        out: what is written; None for standard output.
        planner: says what translates frames of their size.
        options: those of the group Video, and the size.
        commit: called with the whole file, which it moves to its place; not for standard output.
        report: told of progress.
        say: told what the user should know.
        timer: told how long each stage is busy.

    Raises:
        TranslatekitError: the video cannot be read, or not be written so.
    """
    with contextlib.ExitStack() as stack:
        suffix = f".{options.container or STREAMED[0]}" if out is None else out.suffix.lower()
        tracks = suffix not in RAW_SUFFIXES
        reader = stack.enter_context(closing(open_reader(source, options, address, tracks)))
        pipeline = FramePipeline(reader, planner, options, report, timer or StageTimer(), say)
        if out is None:
            file = StandardOutput()
            try:
                _write_stream(reader, pipeline, file, suffix)
            except TranslatekitError:
                if file.failure is not None:
                    raise file.failure from None
                raise
            return pipeline.result()
        folder = hidden_folder(out)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        folder.mkdir(parents=True)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        made = folder / f"made{suffix}"
        if suffix in RAW_SUFFIXES:
            with made.open("wb") as whole:
                _write_stream(reader, pipeline, whole, suffix)
        else:
            _write_stream(reader, pipeline, str(made), suffix)
        commit(made)
        return pipeline.result()


def _write_stream(reader: Reader, pipeline: FramePipeline, file: Any, suffix: str) -> None:
    options, say = pipeline.options, pipeline.say
    changes = [0, 0]
    pipeline.say_what_the_model_sees(kept=suffix not in RAW_SUFFIXES)
    if suffix in RAW_SUFFIXES:
        if (
            isinstance(reader, VideoReader)
            and reader.selection.copied_streams(reader.container)
            and options.audio
        ):
            say(f"{suffix[1:]} holds video only: audio and subtitles are left out")
        encoding = raw_encoding(reader.info, pipeline.size(), suffix, options, say)
        check_raw(encoding.pix_fmt)
        with closing(pipeline.frames()) as frames:
            write_raw(file, at_constant_rate(frames, encoding, changes), encoding, suffix == ".y4m")
    else:
        encoding = choose_encoding(reader.info, pipeline.size(), suffix, options, say)
        muxer = muxer_of(reader, pipeline, encoding, suffix)
        if isinstance(reader, VideoReader):
            muxer.container = reader.container
        muxer.check()
        copied_packets = reader.copied_packets if isinstance(reader, VideoReader) else deque()
        with closing(pipeline.frames()) as frames:
            rated = (
                frames
                if suffix not in CONSTANT_RATE_SUFFIXES
                else at_constant_rate(frames, encoding, changes)
            )
            muxer.stream(file, rated, lambda: pipeline.end, copied_packets, _FORMATS.get(suffix, suffix[1:]))
    if any(changes):
        say(
            f"the frame rate of the video varies, and {suffix[1:]} has one for all: "
            f"{changes[0]} frames are repeated, {changes[1]} left out"
        )


def muxer_of(reader: Reader, pipeline: FramePipeline, encoding: Encoding, suffix: str) -> Muxer:
    """What writes the output of a video that is open."""
    options = pipeline.options
    return Muxer(
        source=pipeline.source if isinstance(reader, VideoReader) else None,
        info=reader.info,
        encoding=encoding,
        suffix=suffix,
        selection=selection_of(options),
        start=options.start,
        end=options.end,
        every=options.every,
        skip_damaged=options.skip_damaged,
        say=pipeline.say,
    )


def selection_of(options: RunOptions) -> Selection:
    """Which tracks the user wants."""
    return Selection(map=options.map, audio=options.audio)


def write_frames(
    source: Path,
    folder: Path,
    planner: Planner,
    options: RunOptions,
    source_hashes: SourceHashes,
    report: Report = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
    timer: StageTimer | None = None,
    address: str | None = None,
) -> VideoResult:
    """Translate the frames of a video or an animation into image files, numbered as in the video: ``000000.png``.

    The folder has a manifest of its own: files that an earlier run wrote there are not written again.

    Raises:
        TranslatekitError: the video cannot be read, or something else is in the place of a frame.
    """
    manifest = Manifest(folder)
    suffix = ".png" if options.format == "keep" else SUFFIXES[options.format]
    folder.mkdir(parents=True, exist_ok=True)

    def is_done(number: int) -> bool:
        path = folder / f"{number:06d}{suffix}"
        if options.force or not path.exists():
            return False
        entry = manifest.find(path, hash_file(path)) if path.is_file() else None
        if entry is None:
            raise DataError(
                f"{path} exists and is not what an earlier run wrote there: "
                "pass --force to overwrite it, or another folder with --frames"
            )
        return bool(source_hashes[1]) and source_hashes == (
            entry.input_hash,
            entry.model_hash,
            entry.options_hash,
        )

    with closing(open_reader(source, options, address)) as reader:
        pipeline = FramePipeline(reader, planner, options, report, timer or StageTimer(), say)
        pipeline.say_what_the_model_sees(kept=False)
        # The smoother must see every frame.
        with closing(pipeline.frames(is_done=None if options.smooth else is_done)) as frames:
            for frame in frames:
                path = folder / f"{frame.number:06d}{suffix}"
                if options.smooth and is_done(frame.number):
                    continue
                image = image_of(frame.pixels, frame.alpha)
                data = encode_image(image, suffix, quality=options.quality, compression=options.compression)
                entry = Entry(
                    input=manifest.relative(source),
                    input_hash=source_hashes[0],
                    output=manifest.relative(path),
                    output_hash=hash_bytes(data),
                    output_size=len(data),
                    model_hash=source_hashes[1],
                    options_hash=source_hashes[2],
                )
                manifest.add(entry)
                write_atomically(path, data)
    return pipeline.result()


def open_reader(
    source: Path,
    options: RunOptions,
    address: str | None = None,
    tracks: bool = False,
    opened: Callable[[], BinaryIO] | None = None,
) -> Reader:
    """A video, an animation or numbered images, open for reading.

    Args:
        source: it.
        options: those of the group Video.
        address: what is read in its place, a single time: a URL, or ``-`` for standard input.
        tracks: keep the packets of the tracks that are copied.
        opened: gives the file, as often as it is asked, where it is not one of this machine.

    Raises:
        TranslatekitError: it cannot be read.
    """
    if address is None and opened is None and is_animation(source):
        return AnimationReader(source)
    if address is None and opened is None and is_sequence(source):
        if options.fps is None:
            raise OptionError(
                f"{source} names images, and not how long each is shown: pass --fps, such as --fps 25"
            )
        return SequenceReader(source, parse_rate(options.fps), skip_damaged=options.skip_damaged)
    return VideoReader(
        source,
        selection_of(options),
        skip_damaged=options.skip_damaged,
        deinterlace=options.deinterlace,
        address=address,
        tracks=tracks,
        raw=None if options.raw is None else RawFrames.parse(options.raw),
        rate=None if options.fps is None else parse_rate(options.fps),
        tone_map=options.hdr == "sdr",
        opened=opened,
    )


class FramePipeline:
    """From a video to the frames that are written.

    Attributes:
        source: the video.
        options: the user's.
        timer: told how long each stage is busy.
        say: told what the user should know.
        done: how many frames have left the pipeline, those of an earlier run included.
    """

    def __init__(
        self,
        reader: Reader,
        planner: Planner,
        options: RunOptions,
        report: Report,
        timer: StageTimer,
        say: Callable[[str], None],
    ) -> None:
        self.source = reader.path
        self.options = options
        self.timer = timer
        self.done = 0
        self._reader, self._report, self.say = reader, report, say
        self._predictor, self._batch = planner.plan_frames(reader.info.height, reader.info.width)
        check_shown(self._predictor.info, "videos")
        if reader.info.deep and "float32" not in self._predictor.dtypes:
            say(cut_to_8_bits(str(reader.path)))
            if isinstance(reader, AnimationReader):
                reader.cut_to_8_bits()
        self._smoother: Smoother | None = None
        blank = np.zeros((reader.info.height, reader.info.width), np.uint8)
        height, width = self._predictor.prepare(blank).shape
        self._height, self._width = height, width
        self._ahead = max(1, min(_AHEAD, _AHEAD_PIXELS // (height * width)))

    def size(self) -> tuple[int, int]:
        """Height and width of the frames that are written, in pixels."""
        height, width = self._height, self._width * (2 if self.options.side_by_side else 1)
        return (height + height % 2, width + width % 2) if self.options.even else (height, width)

    @property
    def end(self) -> int:
        """When the last frame ends, in ticks; known when all have left the pipeline."""
        info, end = self._reader.info, self.options.end
        if end is None:
            return self._reader.end
        return min(self._reader.end, info.start + round(end / info.time_base))

    def state(self) -> dict[str, np.ndarray] | None:
        """What a pipeline needs that is to go on after the last frame that left this one; None for nothing."""
        return None if self._smoother is None else self._smoother.state

    def result(self) -> VideoResult:
        """What became of the video."""
        flicker = None if self._smoother is None else self._smoother.flicker
        info = self._reader.info
        hdr = f"{info.gamut}, {'tone-mapped to SDR' if info.tone_mapped else 'values as they are'}"
        return VideoResult(
            frames=self.done,
            damaged=len(self._reader.damaged),
            flicker=flicker,
            hdr=hdr if info.gamut else "",
        )

    def say_what_the_model_sees(self, kept: bool) -> None:
        """Tell the user of HDR that is not tone-mapped.

        Args:
            kept: whether the output says what its colours are.
        """
        if self._reader.info.gamut and not self._reader.info.tone_mapped:
            said = "the output keeps its colour description" if kept else "the output does not say so"
            self.say(seen_by_models(self.source, self._reader.info.gamut, said))

    def frames(
        self,
        *,
        skip: int = 0,
        state: dict[str, np.ndarray] | None = None,
        is_done: Callable[[int], bool] | None = None,
        place: Place | None = None,
        most: int | None = None,
    ) -> Generator[Frame, None, None]:
        """The frames to be written, in order.

        Args:
            skip: how many an earlier run has written.
            state: what `state` was after them.
            is_done: from the number of a frame to whether it need not be translated.
            place: where the video is read from; from its beginning where it is None.
            most: how many frames are wanted, or None for all that follow.

        Raises:
            MisplacedError: the frame is not at the place.
            DataError: there is none.
        """
        options = self.options
        self.done = skip
        if self._reader.info.interlaced:
            how = "each is deinterlaced (--no-deinterlace leaves them interlaced)"
            if not options.deinterlace:
                how = "they stay interlaced, by --no-deinterlace"
            self.say(f"the video is interlaced, its frames hold two fields each: {how}")
        self._smoother = Smoother(options.smooth, state) if options.smooth else None
        total = self._total()
        stop = getattr(self._reader, "stop", lambda: None)
        with (
            closing(background(self._sources(skip, is_done, place, most), self._ahead, stop)) as sources,
            closing(background(self._translated(sources), self._ahead, stop)) as translated,
        ):
            for frame, output in translated:
                if self._smoother is not None:
                    output = self._smoother(frame.pixels, output)
                self.done += 1
                self._report(self.done, max(total, self.done) if total else 0)
                start = time.perf_counter()
                yield self._finished(frame, output)
                self.timer.add("encode", time.perf_counter() - start)
        if self._reader.cut_off is not None:
            ends, promised = self._reader.cut_off
            self.say(
                f"the video ends at {ends:.2f} s, and by its header at {promised:.2f} s: "
                "it was cut off, or its header is wrong"
            )
        if damaged := self._reader.damaged:
            places = ", ".join(f"{seconds:.2f}" for seconds in damaged[:_MAX_PLACES])
            more = f" and {len(damaged) - _MAX_PLACES} more" if len(damaged) > _MAX_PLACES else ""
            self.say(
                f"{len(damaged)} damaged frames are left out, at {places}{more} s: the one before stays longer"
            )
        if self.done == 0:
            raise DataError("the video has no frame between --start and --end: change them")

    def _total(self) -> int:
        """How many frames there will be, about; 0 where the file does not say."""
        options, info = self.options, self._reader.info
        if options.start == 0 and options.end is None and info.frames:
            return -(-info.frames // options.every)
        end = min(info.seconds, options.end or info.seconds)
        return max(0, round((end - options.start) * info.rate / options.every))

    def _sources(
        self, skip: int, is_done: Callable[[int], bool] | None, place: Place | None, most: int | None
    ) -> Iterator[_PendingFrame]:
        """The frames that the user wants, as the network takes them."""
        options, predictor = self.options, self._predictor
        kept, over = 0 if place is None else place.kept, False

        def wanted(number: int, seconds: float) -> bool:
            nonlocal kept, over
            over = (options.end is not None and seconds >= options.end) or (
                most is not None and kept == skip + most
            )
            if over or seconds < options.start or number % options.every:
                return False
            kept += 1
            if is_done is not None and is_done(number):
                self.done += 1
                return False
            return kept > skip

        if place is None:
            frames = self._reader.frames(wanted)
        else:
            assert isinstance(self._reader, VideoReader)
            frames = self._reader.frames(wanted, place)
        for frame in self.timer.waiting(frames, "decode"):
            if over:
                break
            if frame is not None:
                alpha = None if frame.alpha is None else predictor.prepare(frame.alpha)
                frame = replace(frame, pixels=predictor.prepare(frame.pixels), alpha=alpha)
                pixels = fit_levels(frame.pixels, predictor.info, "the video")
                yield _PendingFrame(frame, predictor.request(pixels, self._batch))

    def _translated(self, asked: Iterator[_PendingFrame]) -> Iterator[tuple[Frame, np.ndarray]]:
        """The frames with their translations (H, W, 3)."""
        batches = self.timer.waiting(self._batches(asked), "wait")
        for one in translate_batches(batches, self.timer.stage):
            yield one.frame, one.output()

    def _batches(self, asked: Iterator[_PendingFrame]) -> Iterator[list[_PendingFrame]]:
        """Batches that do not reach over the end of a segment: a run that goes on then makes the same ones."""
        left = SEGMENT_FRAMES
        while batch := list(islice(asked, min(self._batch, left))):
            yield batch
            left = left - len(batch) or SEGMENT_FRAMES

    def _finished(self, frame: Frame, output: np.ndarray) -> Frame:
        """What is encoded: the output, or input and output beside each other."""
        pixels, alpha = output, frame.alpha
        if self.options.side_by_side:
            pixels = np.concatenate([frame.pixels, output], axis=1)
            alpha = None if alpha is None else np.concatenate([alpha, alpha], axis=1)
        return replace(
            frame, pixels=self._padded(pixels), alpha=None if alpha is None else self._padded(alpha)
        )

    def _padded(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W) or (H, W, C) as large as what is encoded."""
        height, width = self.size()
        more = [(0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)]
        return np.pad(pixels, more[: pixels.ndim], mode="edge") if more[0][1] or more[1][1] else pixels
