"""The line that translates a video: decode -> batch -> translate -> smooth -> encode, beside each other in threads."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from translatekit.errors import DataError
from translatekit.images import Picture, encode_picture, resize, to_gray
from translatekit.interfaces import Translator
from translatekit.model_file import write_atomically
from translatekit_tools.bulk.geometry import Fitted, crop_centre, fit_pixels
from translatekit_tools.bulk.manifest import Entry, Manifest, hash_bytes, hash_file
from translatekit_tools.bulk.model import batch_size
from translatekit_tools.bulk.options import SUFFIXES, RunOptions
from translatekit_tools.bulk.stages import background
from translatekit_tools.bulk.stats import Clock
from translatekit_tools.bulk.video.animation import AnimationReader, write_animation
from translatekit_tools.bulk.video.flow import Smoother
from translatekit_tools.bulk.video.kinds import ANIMATION_SUFFIXES, is_animation
from translatekit_tools.bulk.video.reader import Frame, Reader, VideoReader
from translatekit_tools.bulk.video.segments import SEGMENT_FRAMES, Segments
from translatekit_tools.bulk.video.writer import check_tracks, choose_encoding, join, write_segment

_AHEAD = 8  # frames in each queue between threads
_AHEAD_PIXELS = 2**24  # of all frames in a queue, where they are large
_IN_FLIGHT = 3  # batches: one on its way to the device, one computed, one on its way back

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class VideoResult:
    """What became of a video.

    Attributes:
        frames: how many were written, those of an earlier run included.
        flicker: the warp error of the frames as they were translated, and as they were written; None where they were
            not smoothed.
    """

    frames: int = 0
    flicker: tuple[float, float] | None = None


Report = Callable[[int, int], None]
"""Told how many frames are done, and how many there will be (0 where nobody knows)."""

MadeFrom = tuple[str, str, str]
"""Hashes of the input, the model and the options; the model's is empty where it came from no file."""


@dataclass(slots=True)
class _Pair:
    """A frame as the user wants it translated, its way through the network, and what came of it."""

    frame: Frame
    fitted: Fitted
    output: np.ndarray | None = None


def translate_video(
    source: Path,
    out: Path,
    translator: Translator,
    options: RunOptions,
    made_from: MadeFrom,
    *,
    commit: Callable[[Path], None],
    report: Report = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
    clock: Clock | None = None,
) -> VideoResult:
    """Translate a video or an animation; of a video, a run that was stopped goes on after its last finished segment.

    Args:
        source: the video.
        out: what is written: its suffix says the format, and the unfinished work is kept beside it.
        translator: for the frames.
        options: those of the group Video, and the size.
        made_from: segments of another model, input or options are not used.
        commit: called with the whole file, which it moves to its place.
        report: told of progress.
        say: told what the user should know, such as another encoder than the one asked for.
        clock: told how long each stage is busy.

    Raises:
        TranslatekitError: the video cannot be read, or not be written so.
    """
    folder = out.with_name(f".{blake2b(os.fsencode(out.name), digest_size=8).hexdigest()}.translatekit.video")
    made = folder / f"made{out.suffix.lower()}"
    with closing(_open(source)) as reader:
        line = _Line(reader, translator, options, report, clock or Clock())
        try:
            if isinstance(reader, AnimationReader) and made.suffix in ANIMATION_SUFFIXES:
                _make_animation(reader, line, made)
            else:
                _make_video(reader, line, made, made_from, say)
            commit(made)
        except DataError:  # nothing will come of what is there
            shutil.rmtree(folder, ignore_errors=True)
            raise
    shutil.rmtree(folder, ignore_errors=True)
    return line.result()


def _make_animation(reader: AnimationReader, line: _Line, made: Path) -> None:
    shutil.rmtree(made.parent, ignore_errors=True)
    made.parent.mkdir()
    try:
        with closing(line.frames()) as frames:
            write_animation(made, frames, reader, lambda: line.end, line.options.quality)
    except BaseException:  # it is short, and begun again
        shutil.rmtree(made.parent, ignore_errors=True)
        raise


def _make_video(
    reader: Reader, line: _Line, made: Path, made_from: MadeFrom, say: Callable[[str], None]
) -> None:
    options = line.options
    tracks = None if isinstance(reader, AnimationReader) else line.source
    encoding = choose_encoding(reader.info, line.size(), made.suffix, options, say)
    check_tracks(tracks, made, encoding)
    plan = {"made_from": made_from, "segment_frames": SEGMENT_FRAMES, "encoding": repr(encoding)}
    segments = Segments(made.parent, plan if made_from[1] else None)
    with closing(line.frames(skip=segments.frames, state=segments.state)) as frames:
        while (first := next(frames, None)) is not None:
            some = chain([first], islice(frames, SEGMENT_FRAMES - 1))
            segments.add(partial(write_segment, frames=some, encoding=encoding), line.state)
    with line.clock.stage("write"):
        join(segments.paths, line.end, tracks, made, encoding, (options.start, options.end))


def write_frames(
    source: Path,
    folder: Path,
    translator: Translator,
    options: RunOptions,
    made_from: MadeFrom,
    report: Report = lambda done, total: None,
    clock: Clock | None = None,
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
        return bool(made_from[1]) and made_from == (entry.input_hash, entry.model_hash, entry.options_hash)

    with closing(_open(source)) as reader:
        line = _Line(reader, translator, options, report, clock or Clock())
        # The smoother must see every frame.
        with closing(line.frames(is_done=None if options.smooth else is_done)) as frames:
            for frame in frames:
                path = folder / f"{frame.number:06d}{suffix}"
                if options.smooth and is_done(frame.number):
                    continue
                picture = Picture(frame.pixels, frame.alpha)
                data = encode_picture(
                    picture, suffix, quality=options.quality, compression=options.compression
                )
                entry = Entry(
                    input=manifest.relative(source),
                    input_hash=made_from[0],
                    output=manifest.relative(path),
                    output_hash=hash_bytes(data),
                    output_size=len(data),
                    model_hash=made_from[1],
                    options_hash=made_from[2],
                )
                manifest.add(entry)
                write_atomically(path, data)
    return line.result()


def _open(source: Path) -> Reader:
    return AnimationReader(source) if is_animation(source) else VideoReader(source)


class _Line:
    """From a video to the frames that are written.

    Attributes:
        source: the video.
        options: the user's.
        clock: told how long each stage is busy.
        done: how many frames have left the line, those of an earlier run included.
    """

    def __init__(
        self, reader: Reader, translator: Translator, options: RunOptions, report: Report, clock: Clock
    ) -> None:
        self.source = reader.path
        self.options = options
        self.clock = clock
        self.done = 0
        self._reader, self._translator, self._report = reader, translator, report
        self._smoother: Smoother | None = None
        height, width = self._prepare(np.zeros((reader.info.height, reader.info.width), np.uint8)).shape
        self._height, self._width = height, width
        self._ahead = max(2, min(_AHEAD, _AHEAD_PIXELS // (height * width)))

    def size(self) -> tuple[int, int]:
        """Height and width of the frames that are written, in pixels."""
        return self._height, self._width * (2 if self.options.side_by_side else 1)

    @property
    def end(self) -> int:
        """When the last frame ends, in ticks; known when all have left the line."""
        info, end = self._reader.info, self.options.end
        if end is None:
            return self._reader.end
        return min(self._reader.end, info.start + round(end / info.time_base))

    def state(self) -> dict[str, np.ndarray] | None:
        """What a line needs that is to go on after the last frame that left this one; None where it needs nothing."""
        return None if self._smoother is None else self._smoother.state

    def result(self) -> VideoResult:
        """What became of the video."""
        flicker = None if self._smoother is None else self._smoother.flicker
        return VideoResult(frames=self.done, flicker=flicker)

    def frames(
        self,
        *,
        skip: int = 0,
        state: dict[str, np.ndarray] | None = None,
        is_done: Callable[[int], bool] | None = None,
    ) -> Generator[Frame, None, None]:
        """The frames to be written, in order.

        Args:
            skip: how many an earlier run has written.
            state: what `state` was after them.
            is_done: from the number of a frame to whether it need not be translated.

        Raises:
            DataError: there is none.
        """
        options = self.options
        self.done = skip
        self._smoother = Smoother(options.smooth, state) if options.smooth else None
        total = self._total()
        with (
            closing(background(self._sources(skip, is_done), self._ahead)) as sources,
            closing(background(self._translated(sources), self._ahead)) as pairs,
        ):
            for pair in pairs:
                output = pair.output
                assert output is not None
                if self._smoother is not None:
                    output = self._smoother(pair.frame.pixels, output)
                self.done += 1
                self._report(self.done, max(total, self.done) if total else 0)
                start = time.perf_counter()
                yield self._finished(pair.frame, output)
                self.clock.add("encode", time.perf_counter() - start)
        if self.done == 0:
            raise DataError("the video has no frame between --start and --end: change them")

    def _total(self) -> int:
        """How many frames there will be, about; 0 where the file does not say."""
        options, info = self.options, self._reader.info
        if options.start == 0 and options.end is None and info.frames:
            return -(-info.frames // options.every)
        end = min(info.seconds, options.end or info.seconds)
        return max(0, round((end - options.start) * info.rate / options.every))

    def _sources(self, skip: int, is_done: Callable[[int], bool] | None) -> Iterator[_Pair]:
        """The frames that the user wants, as the network takes them."""
        options, info = self.options, self._translator.info
        kept, over = 0, False

        def wanted(number: int, seconds: float) -> bool:
            nonlocal kept, over
            over = options.end is not None and seconds >= options.end
            if over or seconds < options.start or number % options.every:
                return False
            kept += 1
            if is_done is not None and is_done(number):
                self.done += 1
                return False
            return kept > skip

        for frame in _timed(self._reader.frames(wanted), self.clock, "decode"):
            if over:
                break
            if frame is not None:
                alpha = None if frame.alpha is None else self._prepare(frame.alpha)
                frame = replace(frame, pixels=self._prepare(frame.pixels), alpha=alpha)
                pixels = to_gray(frame.pixels) if info.image_in_channels == 1 else frame.pixels
                yield _Pair(frame, fit_pixels(pixels, info.size_multiple, options.fit))

    def _prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Resized and cropped as the user wants it; (H, W) or (H, W, C)."""
        size = self.options.height_width()
        pixels = pixels if size is None else resize(pixels, size)
        return (
            crop_centre(pixels, self._translator.info.size_multiple) if self.options.fit == "crop" else pixels
        )

    def _translated(self, pairs: Iterator[_Pair]) -> Iterator[_Pair]:
        """The pairs with their outputs; where the model can be given several batches at once, three are under way."""
        submit = getattr(self._translator, "submit", None)
        waiting: deque[tuple[list[_Pair], Any]] = deque()
        for batch in _timed(self._batches(pairs), self.clock, "wait"):
            pixels = np.stack([pair.fitted.pixels for pair in batch])
            with self.clock.stage("translate"):
                waiting.append((batch, (submit or self._translator)(pixels)))
            if submit is None or len(waiting) >= _IN_FLIGHT:
                yield from self._take(*waiting.popleft())
        while waiting:
            yield from self._take(*waiting.popleft())

    def _take(self, batch: list[_Pair], outputs: Any) -> list[_Pair]:
        if not isinstance(outputs, np.ndarray):
            with self.clock.stage("translate"):
                outputs = outputs.result()
        for pair, output in zip(batch, outputs, strict=True):
            output = pair.fitted.restore(output)
            pair.output = np.repeat(output, 3, axis=2) if output.shape[2] == 1 else output
        return batch

    def _batches(self, pairs: Iterator[_Pair]) -> Iterator[list[_Pair]]:
        """Batches that do not reach over the end of a segment: a run that goes on then makes the same ones."""
        size = batch_size(self._translator, self.options, self._height, self._width)
        left = SEGMENT_FRAMES
        while batch := list(islice(pairs, min(size, left))):
            yield batch
            left = left - len(batch) or SEGMENT_FRAMES

    def _finished(self, frame: Frame, output: np.ndarray) -> Frame:
        """What is encoded: the output, or input and output beside each other."""
        if not self.options.side_by_side:
            return replace(frame, pixels=output)
        alpha = None if frame.alpha is None else np.concatenate([frame.alpha, frame.alpha], axis=1)
        return replace(frame, pixels=np.concatenate([frame.pixels, output], axis=1), alpha=alpha)


def _timed(items: Iterable[T], clock: Clock, stage: str) -> Iterator[T]:
    """The items; how long each one takes to come is counted as time of a stage."""
    start = time.perf_counter()
    for item in items:
        clock.add(stage, time.perf_counter() - start)
        yield item
        start = time.perf_counter()
