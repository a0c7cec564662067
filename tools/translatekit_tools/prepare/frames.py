"""Frames of videos as image files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import resize
from translatekit.inference.stages import ordered_map
from translatekit_tools.prepare.layout import encoded
from translatekit_tools.prepare.options import FramesOptions
from translatekit_tools.prepare.output import Output
from translatekit_tools.prepare.similar import distance, perceptual_hash
from translatekit_tools.prepare.work import AHEAD, THREADS, Progress, Summary


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
                frames: Iterator[_Frame] = _chosen(video, every, fps)
                if options.skip_similar is not None:
                    frames = _different(frames, options.skip_similar)

                def write(frame: _Frame, stem: str = video.stem) -> tuple[Path, bool]:
                    path = f"{stem}_{frame.number:06}.{options.format}"
                    return output.write(path, encoded(path, frame.pixels)[path])

                # One by one, so that what a damaged video gave before it broke off is counted.
                for path, new in ordered_map(write, frames, pool, AHEAD):
                    summary.add([path], new)
            except TranslatekitError as error:
                summary.failed.append((video, str(error)))
            if progress is not None:
                progress(done, len(videos))
    return summary


def _chosen(video: Path, every: int | None, fps: float | None) -> Iterator[_Frame]:
    """The frames that are asked for.

    Raises:
        DataError: it is no video, or damaged.
    """
    found = False
    due, start = 0.0, None
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise DataError(f"{video} has no frames: name a video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for number, frame in enumerate(container.decode(stream)):
                found = True
                if fps is not None:
                    time = frame.time if frame.time is not None else number / float(stream.guessed_rate or 25)
                    start = time if start is None else start
                    if time - start < due - 1e-6:
                        continue
                    due = max(due + 1 / fps, time - start)  # what a gap has swallowed is not made up for
                elif number % (every or 1):
                    continue
                yield _Frame(number, _upright(frame, stream))
    except FileNotFoundError:
        raise DataError(f"there is no video {video}: check the path") from None
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{video} cannot be read as a video ({reason}): replace or remove it") from None
    if not found:
        raise DataError(f"{video} holds no frame: replace or remove it")


def _upright(frame: av.VideoFrame, stream: av.VideoStream) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    aspect = stream.sample_aspect_ratio
    if aspect is not None and aspect > 0 and aspect != 1:
        height, width = pixels.shape[:2]
        pixels = resize(pixels, (height, max(1, round(width * float(aspect)))))
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _different(frames: Iterator[_Frame], most: int) -> Iterator[_Frame]:
    last = None
    for frame in frames:
        hashed = perceptual_hash(frame.pixels)
        if last is None or distance(last, hashed) > most:
            last = hashed
            yield frame
