"""Frames of videos as image files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import resize, to_uint8
from translatekit.inference.stages import ordered_map
from translatekit.storage import hash_file
from translatekit_tools.bulk.video.hdr import seen_by_models
from translatekit_tools.bulk.video.reader import VideoReader
from translatekit_tools.prepare.layout import encoded
from translatekit_tools.prepare.options import FramesOptions
from translatekit_tools.prepare.output import PART, Output, read_bytes
from translatekit_tools.prepare.similar import distance, perceptual_hash
from translatekit_tools.prepare.work import AHEAD, THREADS, Progress, Summary

_DEEP_FORMATS = ("png",)  # of those that frames are written in, with 16 bits a channel


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int  # of the video's frames, from 0
    pixels: np.ndarray


def extract_frames(
    videos: Sequence[Path],
    out: Path,
    options: FramesOptions,
    progress: Progress | None = None,
) -> Summary:
    """Write frames of videos as ``VIDEO_NUMBER.png``, upright and with square pixels.

    They are what a model is shown when it is run on the video: read by the same reader, 16-bit PNG where the video has
    more than 8 bits.

    Args:
        videos: the files.
        out: the folder.
        options: which frames, and how they are written.
        progress: is told how many videos are done.

    Raises:
        OptionError: both ``every`` and ``fps``.
    """
    every, fps = options.every, options.fps
    if every is not None and fps is not None:
        raise OptionError("--every counts frames and --fps seconds: pass one of them")
    output = Output(out, videos, options.force)
    summary = Summary()
    stems = [video.stem for video in videos]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="prepare") as pool:
        for done, video in enumerate(videos, 1):
            try:
                if stems.count(video.stem) > 1:
                    raise DataError("another video has the same name: rename one, or give each a folder")
                with closing(VideoReader(video, tone_map=options.hdr == "sdr")) as reader:
                    summary.notes += _notes(reader, options)
                    place, made_from = os.path.relpath(video, output.root), _made_from(video, options)
                    earlier = {name: output.own_files(name) for name in output.parts_of(place)}
                    output.refuse_mixture(
                        [
                            path
                            for name, paths in earlier.items()
                            if output.done(name, made_from) is None
                            for path in paths
                        ]
                    )
                    frames: Iterator[_Frame] = _chosen(reader, every, fps)
                    if options.skip_similar is not None:
                        frames = _different(frames, options.skip_similar)

                    def write(
                        frame: _Frame, stem: str = video.stem, place: str = place, made_from: str = made_from
                    ) -> tuple[Path, bool]:
                        path = f"{stem}_{frame.number:06}.{options.format}"
                        is_deep = options.format in _DEEP_FORMATS
                        pixels = frame.pixels if is_deep else to_uint8(frame.pixels)
                        made, name = encoded(path, pixels), f"{place}{PART}{frame.number}"
                        done = output.done(name, made_from)
                        if done and read_bytes(done[0]) == made[path]:
                            return done[0], False
                        return output.commit(name, made_from, made)[0], True

                    # One by one, so that what a damaged video gave before it broke off is counted.
                    kept = set()
                    for path, new in ordered_map(write, frames, pool, AHEAD):
                        summary.add([path], new)
                        kept.add(path)
                    for path in {path for paths in earlier.values() for path in paths} - kept:
                        path.unlink(missing_ok=True)
            except TranslatekitError as error:
                summary.failed.append((video, str(error)))
            if progress is not None:
                progress(done, len(videos))
    return summary


def _made_from(video: Path, options: FramesOptions) -> str:
    """What it follows from which frames a video gives, and under which names.

    Raises:
        DataError: the video cannot be read.
    """
    chosen = {name: value for name, value in options.recipe().items() if name != "hdr"}
    try:
        return blake2b(json.dumps([chosen, hash_file(video)]).encode(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"{video} cannot be read ({error.strerror}): check it and its permissions") from None


def _notes(reader: VideoReader, options: FramesOptions) -> Iterator[str]:
    """What the user should know of a video's frames, a sentence each."""
    info = reader.info
    if info.gamut and info.tone_mapped:
        yield f"{reader.path} is {info.gamut}: its frames are tone-mapped to SDR"
    elif info.gamut:
        yield seen_by_models(reader.path, info.gamut, "the frames do not say so")
    if info.deep and options.format not in _DEEP_FORMATS:
        yield (
            f"{reader.path} has more than 8 bits a channel, and {options.format} 8: pass --format png to keep them"
        )


def _chosen(reader: VideoReader, every: int | None, fps: float | None) -> Iterator[_Frame]:
    """The frames that are asked for, with square pixels.

    Raises:
        DataError: the video is damaged.
    """
    due = 0.0

    def wanted(number: int, seconds: float) -> bool:
        nonlocal due
        if fps is None:
            return not number % (every or 1)
        if seconds < due - 1e-6:
            return False
        due = max(due + 1 / fps, seconds)  # what a gap has swallowed is not made up for
        return True

    aspect = float(reader.info.pixel_aspect)
    for frame in reader.frames(wanted):
        if frame is None:
            continue
        pixels = frame.pixels
        if aspect != 1:
            height, width = pixels.shape[:2]
            pixels = resize(pixels, (height, max(1, round(width * aspect))))
        yield _Frame(frame.number, pixels)


def _different(frames: Iterator[_Frame], max_bits: int) -> Iterator[_Frame]:
    last = None
    for frame in frames:
        hashed = perceptual_hash(to_uint8(frame.pixels))
        if last is None or distance(last, hashed) > max_bits:
            last = hashed
            yield frame
