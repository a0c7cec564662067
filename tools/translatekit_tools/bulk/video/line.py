"""The line that translates a video: decode -> batch -> translate -> smooth -> encode, each in a thread of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.images import Picture, encode_picture, resize, to_gray
from translatekit.interfaces import Translator
from translatekit.model_file import write_atomically
from translatekit_tools.bulk.geometry import Fitted, fit_pixels
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.stages import background
from translatekit_tools.bulk.video.flow import Smoother, WarpErrorMeter
from translatekit_tools.bulk.video.reader import Frame, VideoReader
from translatekit_tools.bulk.video.writer import choose_encoding, join, write_segment

SEGMENT_FRAMES = 120
"""Frames that are encoded together: what a run that was stopped loses at most."""

_AHEAD = 8  # frames in each queue between threads
_BATCH = 4


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


@dataclass(slots=True)
class _Pair:
    """A frame and what was made of it."""

    source: Frame
    output: np.ndarray


Report = Callable[[int, int], None]
"""Told how many frames are done, and how many there will be (0 where nobody knows)."""


def translate_video(
    source: Path,
    out: Path,
    translator: Translator,
    options: RunOptions,
    identity: str,
    *,
    report: Report = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> VideoResult:
    """Translate a video file into another; a run that was stopped goes on after its last finished segment.

    Args:
        source: the video.
        out: the file to write; it takes its name when it is whole.
        translator: for the frames.
        options: those of the group Video, and the size.
        identity: of the input, the model and the options: segments of another one are not used.
        report: told of progress.
        say: told what the user should know, such as another encoder than the one asked for.

    Raises:
        TranslatekitError: the video cannot be read, or not be written so.
    """
    reader = VideoReader(source)
    work = out.with_name(f".{blake2b(out.name.encode(), digest_size=8).hexdigest()}.translatekit.video")
    try:
        size = _output_size(reader, translator, options)
        encoding = choose_encoding(reader.info, size, out.suffix.lower(), options, say)
        segments = _open_work(work, identity)
        smoother, meters = _open_smoother(work, segments, options)
        line = _Line(reader, translator, options, skip=len(segments) * SEGMENT_FRAMES)
        result = VideoResult(frames=line.skip)
        total = round(reader.info.frames / options.every) if options.end is None and options.start == 0 else 0

        def written(frames: Iterable[_Pair]) -> Iterator[Frame]:
            for pair in frames:
                output = pair.output
                if smoother is not None:
                    output = smoother(pair.source.pixels, output)
                    if meters is not None:
                        meters[0].add(pair.source.pixels, pair.output)
                        meters[1].add(pair.source.pixels, output)
                result.frames += 1
                report(result.frames, max(total, result.frames))
                yield _as_frame(pair.source, output, options)

        pairs = background(line.pairs(), _AHEAD)
        while (first := next(pairs, None)) is not None:
            path = work / f"{len(segments):06d}.nut"
            some = chain([first], islice(pairs, SEGMENT_FRAMES - 1))
            write_segment(path, written(some), encoding, reader.info)
            if smoother is not None:
                _save_state(work / f"{len(segments):06d}.npz", smoother)
            segments.append(path)
        if not segments:
            raise DataError(f"{source} has no frame between --start and --end: change them")
        temporary = work / f"joined{out.suffix}"
        join(segments, source, temporary, encoding, (options.start, options.end))
        temporary.replace(out)
        shutil.rmtree(work, ignore_errors=True)
    finally:
        reader.close()
    if meters is not None:
        result.flicker = (meters[0].result, meters[1].result)
    return result


def write_frames(
    source: Path,
    folder: Path,
    translator: Translator,
    options: RunOptions,
    report: Report = lambda done, total: None,
) -> VideoResult:
    """Translate a video's frames into image files, ``000000.png`` and so on, numbered as in the video."""
    reader = VideoReader(source)
    suffix = ".png" if options.format == "keep" else f".{options.format}"
    result = VideoResult()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        line = _Line(reader, translator, options)
        for pair in background(line.pairs(), _AHEAD):
            frame = _as_frame(pair.source, pair.output, options)
            picture = Picture(frame.pixels, frame.alpha)
            data = encode_picture(picture, suffix, quality=options.quality, compression=options.compression)
            write_atomically(folder / f"{frame.number:06d}{suffix}", data)
            result.frames += 1
            report(result.frames, max(reader.info.frames, result.frames))
    finally:
        reader.close()
    return result


class _Line:
    """From a video to pairs of frames and translations."""

    def __init__(
        self, reader: VideoReader, translator: Translator, options: RunOptions, skip: int = 0
    ) -> None:
        self.skip = skip
        self._reader, self._translator, self._options = reader, translator, options

    def pairs(self) -> Iterator[_Pair]:
        """Frames in order, each with its translation."""
        frames = background(self._frames(), _AHEAD)
        size = self._options.batch_size or getattr(self._translator, "preferred_batch", None) or _BATCH
        while batch := list(islice(frames, size)):
            yield from self._translate(batch)

    def _frames(self) -> Iterator[Frame]:
        options = self._options
        kept = 0

        def wanted(number: int, time: float) -> bool:
            nonlocal kept
            if (
                time < options.start
                or (options.end is not None and time >= options.end)
                or number % options.every
            ):
                return False
            kept += 1
            return kept > self.skip

        yield from (frame for frame in self._reader.frames(wanted) if frame is not None)

    def _translate(self, frames: list[Frame]) -> list[_Pair]:
        info = self._translator.info
        fitted = [
            fit_for(frame.pixels, info.image_in_channels, info.size_multiple, self._options)
            for frame in frames
        ]
        outputs = self._translator(np.stack([item.pixels for item in fitted]))
        return [
            _Pair(frame, _as_rgb(item.restore(output)))
            for frame, item, output in zip(frames, fitted, outputs, strict=True)
        ]


def fit_for(pixels: np.ndarray, channels: int, multiple: int, options: RunOptions) -> Fitted:
    """A frame (H, W, 3) as the network takes it."""
    if channels == 1:
        pixels = to_gray(pixels)
    size = options.height_width()
    return fit_pixels(pixels if size is None else resize(pixels, size), multiple, options.fit)


def _as_rgb(output: np.ndarray) -> np.ndarray:
    return np.repeat(output, 3, axis=2) if output.shape[2] == 1 else np.ascontiguousarray(output)


def _as_frame(source: Frame, output: np.ndarray, options: RunOptions) -> Frame:
    """What is encoded: the output, or input and output beside each other."""
    size = output.shape[:2]
    alpha = None if source.alpha is None else resize(source.alpha, size)
    if options.side_by_side:
        output = np.concatenate([resize(source.pixels, size), output], axis=1)
        alpha = None if alpha is None else np.concatenate([alpha, alpha], axis=1)
    return replace(source, pixels=output, alpha=alpha)


def _output_size(reader: VideoReader, translator: Translator, options: RunOptions) -> tuple[int, int]:
    """Height and width of what is encoded, in pixels."""
    info = reader.info
    blank = np.zeros((info.height, info.width, 3), np.uint8)
    fitted = fit_for(blank, translator.info.image_in_channels, translator.info.size_multiple, options)
    height, width = (fitted.height, fitted.width) if fitted.size is None else fitted.size
    return height, width * (2 if options.side_by_side else 1)


def _open_work(work: Path, identity: str) -> list[Path]:
    """The segments that an earlier run finished, in order; an empty folder where there are none."""
    plan = work / "plan.json"
    try:
        same = json.loads(plan.read_bytes()) == {"identity": identity, "segment_frames": SEGMENT_FRAMES}
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        plan.write_text(json.dumps({"identity": identity, "segment_frames": SEGMENT_FRAMES}))
    segments: list[Path] = []
    while (path := work / f"{len(segments):06d}.nut").is_file():
        segments.append(path)
    return segments


def _open_smoother(
    work: Path, segments: list[Path], options: RunOptions
) -> tuple[Smoother | None, tuple[WarpErrorMeter, WarpErrorMeter] | None]:
    if not options.smooth:
        return None, None
    while segments and not (work / f"{len(segments) - 1:06d}.npz").is_file():
        segments.pop()  # the segment was finished, what the next one needs of it was not
    state: Any = None
    if segments:
        with np.load(work / f"{len(segments) - 1:06d}.npz") as saved:
            state = (saved["gray"], saved["output"])
    return Smoother(options.smooth, state), (WarpErrorMeter(), WarpErrorMeter())


def _save_state(path: Path, smoother: Smoother) -> None:
    assert smoother.state is not None
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, gray=smoother.state[0], output=smoother.state[1])
    temporary.replace(path)
    path.with_name(f"{int(path.stem) - 1:06d}.npz").unlink(missing_ok=True)
