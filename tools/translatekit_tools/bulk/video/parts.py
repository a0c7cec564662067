"""A video over several workers: it is planned by its packets, made part by part, and joined as one machine does it.

A segment begins with a key frame of its own encoder, and no batch reaches over its end. So whoever makes one makes the
same bytes, once its frames are found: each belongs to the segment that its time stamp says, wherever its packet is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
import numpy as np

from translatekit.errors import PluginError
from translatekit.storage import Item, Sink, Source
from translatekit_tools.bulk.kinds import is_animation
from translatekit_tools.bulk.manifest import hash_options
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.session import Session
from translatekit_tools.bulk.split import Part, Parts, Place, Split
from translatekit_tools.bulk.summary import VideoResult
from translatekit_tools.bulk.tracks import Selection
from translatekit_tools.bulk.video.encoding import write_segment
from translatekit_tools.bulk.video.pipeline import (
    FramePipeline,
    choose_for,
    hidden_folder,
    muxer_of,
    open_reader,
    selection_of,
)
from translatekit_tools.bulk.video.reader import Frame, MisplacedError, VideoReader, explained
from translatekit_tools.bulk.video.segments import SEGMENT_FRAMES

_PARTS_A_WORKER = 2  # so that a slow one, or one that dies, keeps nobody waiting for long
_KEYS = 3  # key frames that are tried before a part is decoded from the beginning

Say = Callable[[str], None]


def plan(
    session: Session, source: Path, item: Item, output: str, sink: Sink, input_hash: str, say: Say
) -> Parts | None:
    """How a video is split; None where one worker does it: it is short, or its frames depend on those before them.

    Args:
        session: with the model and how many workers there are.
        source: the video.
        item: it, as its place lists it.
        output: the name of its output.
        sink: that the output and, until they are joined, the segments go to.
        input_hash: of the video.
        say: told why a long video is not split, and what the user should know of the encoder.

    Raises:
        TranslatekitError: the video cannot be read, or not be written so.
    """
    options = session.options
    if is_animation(source):
        return None
    with closing(open_reader(source, options)) as reader:
        assert isinstance(reader, VideoReader)
        stamps, keys, problem = _scanned(source, selection_of(options))
        if len(stamps) <= SEGMENT_FRAMES * options.every:
            return None
        if options.smooth:
            problem = "--smooth makes each frame of the one before"
        elif reader.info.interlaced and options.deinterlace:
            problem = "its frames are deinterlaced, each with its neighbours"
        elif not problem and (stamps[0] != reader.info.start or not len(keys) or keys[0] > stamps[0]):
            problem = "its first frame is not where the file says"
        if problem:
            say(f"a video is not split, and one worker does all of it: {problem}")
            return None
        kept = _kept(stamps, reader, options)
        starts = range(0, len(kept), SEGMENT_FRAMES)
        if len(starts) < 2:
            return None
        pipeline = FramePipeline(reader, session.planner, options, lambda *_: None, session.timer, say)
        pipeline.say_what_the_model_sees(kept=True)
        suffix = Path(output).suffix.lower()
        encoding = choose_for(reader, pipeline, suffix)
        muxer_of(reader, pipeline, encoding, suffix).check()

    def place(segment: int) -> Place:
        number = int(kept[starts[segment]])
        at = int(np.searchsorted(keys, stamps[number], "right"))
        return Place(
            number=number,
            pts=int(stamps[number]),
            before=int(stamps[number - 1]) if number else None,
            kept=starts[segment],
            keys=tuple(int(key) for key in keys[max(0, at - _KEYS) : at][::-1]),
        )

    made_from = [
        *(input_hash, session.model_hash or uuid4().hex, hash_options(options.of_frames())),
        *(SEGMENT_FRAMES, repr(encoding), libraries()),
    ]
    folder = f"{hidden_folder(Path(output)).as_posix()}/{_digest(made_from)}"
    split = Split(
        item=item,
        output=output,
        input_hash=input_hash,
        folder=folder,
        encoding=encoding,
        libraries=libraries(),
        segments=len(starts),
        frames=len(kept),
        last=place(len(starts) - 1),
    )
    there = {found.name for found in sink.list(f"{folder}/")}
    missing = [segment for segment in range(len(starts)) if split.name(segment) not in there]
    most = max(1, len(starts) // (_PARTS_A_WORKER * session.workers))
    leads = [_lead(stamps, keys, int(kept[start])) for start in starts]
    parts = []
    for first, last in _runs(missing, most, leads):
        end = min(len(kept), (last + 1) * SEGMENT_FRAMES)
        begin = place(first)
        parts.append(
            Part(
                split=split,
                segment=first,
                place=begin,
                frames=end - begin.kept,
                lasts=tuple(
                    int(stamps[kept[min(end, start + SEGMENT_FRAMES) - 1]])
                    for start in starts[first : last + 1]
                ),
            )
        )
    if len(parts) == 1 and len(missing) == len(starts):
        say(f"a video is not split, and one worker does all of it: it has {len(keys)} key frames")
        return None
    return Parts(split, tuple(parts))


def _scanned(source: Path, selection: Selection) -> tuple[np.ndarray, np.ndarray, str]:
    """The time stamps of all frames and of the key frames, in ticks, in order; and why they are not those of frames."""
    stamps: list[int] = []
    keys: list[int] = []
    with explained(source), av.open(str(source), metadata_errors="replace") as container:
        problem = "AVI does not say when a frame is shown" if container.format.name == "avi" else ""
        for packet in container.demux(selection.video_stream(container)):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None:
                problem = "some of its frames have no time stamp"
                stamps.append(packet.dts or 0)
                continue
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    in_order = np.unique(np.array(stamps, np.int64))
    if len(in_order) != len(stamps):
        problem = problem or "some of its frames have the same time stamp"
    return in_order, np.unique(np.array(keys, np.int64)), problem


def _kept(stamps: np.ndarray, reader: VideoReader, options: RunOptions) -> np.ndarray:
    """The numbers of the frames that the user wants."""
    numbers = np.arange(0, len(stamps), options.every)
    if options.start == 0 and options.end is None:
        return numbers
    info = reader.info
    seconds = [float((int(stamps[number]) - info.start) * info.time_base) for number in numbers]
    end = np.inf if options.end is None else options.end
    return numbers[[options.start <= at < end for at in seconds]]


def _lead(stamps: np.ndarray, keys: np.ndarray, number: int) -> int:
    """How many frames are decoded before a frame, from the nearest key frame on."""
    key = keys[np.searchsorted(keys, stamps[number], "right") - 1]
    return number - int(np.searchsorted(stamps, key))


def _runs(missing: list[int], most: int, leads: list[int]) -> Iterator[tuple[int, int]]:
    """The first and the last segment of each part.

    A part has `most` segments, and more where a new one would first decode more frames than this one has: a long way
    from the nearest key frame is gone once, and not by all.
    """
    first = 0
    for at in range(len(missing)):
        length = at + 1 - first
        is_gap = at + 1 == len(missing) or missing[at + 1] != missing[at] + 1
        if is_gap or (length >= most and leads[missing[at + 1]] <= length * SEGMENT_FRAMES):
            yield missing[first], missing[at]
            first = at + 1


def make(session: Session, part: Part, source: Source, sink: Sink, say: Say) -> None:
    """Translate and encode a part, and commit its segments one by one; of an object, only what it needs is read.

    Raises:
        MisplacedError: its frames are not where the plan has them.
        TranslatekitError: they cannot be read or translated, or the segments not be written.
    """
    split, options = part.split, session.options
    if split.libraries != libraries():
        raise PluginError(
            f"this node encodes with {libraries()}, and the node that planned {split.item.name} with "
            f"{split.libraries}: install the same on all"
        )
    name = split.item.name
    path = Path(source.uri_of(name)) if source.path is not None else Path(name)
    opened = None if source.path is not None else partial(source.open, name)
    with (
        tempfile.TemporaryDirectory(prefix="translatekit-") as folder,
        closing(open_reader(path, options, opened=opened)) as reader,
    ):
        pipeline = FramePipeline(reader, session.planner, options, lambda *_: None, session.timer, say)
        made = Path(folder, "made.segment")
        left = part.frames
        with closing(pipeline.frames(skip=part.place.kept, place=part.place, most=left)) as frames:
            for number, last in enumerate(part.lasts, part.segment):
                some = _Counted(islice(frames, min(left, SEGMENT_FRAMES)))
                write_segment(made, some, split.encoding)
                if some.count != min(left, SEGMENT_FRAMES) or some.last != last:
                    raise MisplacedError(
                        f"the frames of the video after {part.place.number} are not those that the file lists: mend it "
                        "with ffmpeg -i IN -c copy OUT.mkv, or leave out --on"
                    )
                sink.commit(split.name(number), made)
                left -= some.count


class _Counted:
    """Frames, as they are taken: how many, and the time stamp of the last."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self.count, self.last = 0, 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.count, self.last = self.count + 1, frame.pts
            yield frame


def join(
    session: Session,
    split: Split,
    source: Path,
    out: Path,
    sink: Sink,
    commit: Callable[[Path], None],
    say: Say,
) -> VideoResult:
    """Mux the segments of a video with its other tracks.

    Args:
        session: as that of the parts.
        split: the video; all of its segments are there.
        source: it.
        out: a local path, beside which the whole is written first.
        sink: that the segments are in.
        commit: called with the whole file, which it moves to its place.
        say: told what the user should know.

    Raises:
        TranslatekitError: a segment is gone, or the video cannot be written so.
    """
    with (
        closing(open_reader(source, session.options)) as reader,
        tempfile.TemporaryDirectory(prefix=".translatekit-", dir=out.parent) as folder,
    ):
        pipeline = FramePipeline(
            reader, session.planner, session.options, lambda *_: None, session.timer, say
        )
        with closing(pipeline.frames(skip=split.frames, place=split.last)) as rest:
            for _ in rest:  # none: it is asked when the last frame ends
                raise MisplacedError("the video has more frames than the file lists: leave out --on")
        segments = [_fetched(sink, split.name(number), Path(folder)) for number in range(split.segments)]
        made = Path(folder, f"made{out.suffix.lower()}")
        muxer = muxer_of(reader, pipeline, split.encoding, made.suffix)
        with session.timer.stage("write"):
            muxer.mux(segments, pipeline.end, made)
        commit(made)
    hidden = hidden_folder(Path(split.output))
    for found in list(sink.list(f"{hidden.as_posix()}/")):
        sink.delete(found.name)
    if sink.path is not None:
        shutil.rmtree(sink.path / hidden, ignore_errors=True)
    return VideoResult(frames=split.frames)


def _fetched(sink: Sink, name: str, folder: Path) -> Path:
    if sink.path is not None:
        return sink.path / name
    path = folder / name.rpartition("/")[2]
    with sink.open(name) as file, path.open("wb") as copy:
        shutil.copyfileobj(file, copy, 2**20)
    return path


def libraries() -> str:
    """What encodes videos here."""
    versions: Any = av.library_versions
    names = (f"{name} {'.'.join(map(str, versions[name]))}" for name in ("libavcodec", "libavformat"))
    return f"PyAV {av.__version__} ({', '.join(names)})"


def _digest(parts: list[Any]) -> str:
    return blake2b(repr(parts).encode(), digest_size=12).hexdigest()
