"""A video whose parts several workers make is the one that a single machine makes: every byte of every track."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import av
import numpy as np
import pytest
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.split import Made, Part, Parts
from translatekit_tools.bulk.video import parts
from translatekit_tools.bulk.work import Row, Worker
from translatekit_tools.scale.videos import Join, Videos, Whole

from tests.stores import Proxy
from tests.tools.bulk.models import inverting_model
from translatekit.sizes import Size
from translatekit.storage import Item, open_sink, open_source

from .conftest import make_video
from .test_round_trip import NAMES, write_interlaced

FRAMES = 4
"""In a segment."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inverting_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pipeline", "parts"):
        monkeypatch.setattr(f"translatekit_tools.bulk.video.{module}.SEGMENT_FRAMES", FRAMES)


def workers(
    folder: Path | str, model: Path, out: Path | str, options: RunOptions, count: int = 3
) -> list[Worker]:
    return [
        Worker(
            str(folder),
            str(out),
            model,
            options,
            manifest_name=f".translatekit-manifest-{number}.jsonl",
            device="cpu",
            workers=count,
        )
        for number in range(count)
    ]


def spread(
    folder: Path | str,
    model: Path,
    out: Path | str,
    options: RunOptions,
    before: Callable[[Any], None] = lambda todo: None,
) -> tuple[list[Row], list[Part]]:
    """What several workers make of a folder, each thing by another one, in any order; and the parts that they made."""
    shuffled = random.Random(0)
    team = workers(folder, model, out, options)
    videos = Videos(lambda done, total: None)
    todo: list[Any] = list(open_source(folder).list())
    rows: list[Row] = []
    made: list[Part] = []
    try:
        while todo:
            each = todo.pop(shuffled.randrange(len(todo)))
            worker = shuffled.choice(team)
            before(each)
            answer: Row | Made
            if isinstance(each, Part):
                answer = worker.make(each)
                made.append(each)
            elif isinstance(each, Join):
                answer = worker.join(each.split)
            elif isinstance(each, Whole):
                answer = worker.translate_whole(each.split)
            else:
                (answer,) = worker.translate([each])
            rows += [answer] if isinstance(answer, Row) else []
            todo += videos.follow(answer)
    finally:
        for worker in team:
            worker.close()
    return rows + videos.failed, made


def contents(path: Path, steady: bool = True) -> Iterator[Any]:
    """All packets of all tracks, and what is said of them; without the frames' bytes where no encoder repeats them."""
    with av.open(str(path)) as container:
        for stream in container.streams:
            yield stream.type, stream.time_base, stream.start_time, stream.duration, dict(stream.metadata)
            if stream.type in ("video", "audio"):
                yield bytes(stream.codec_context.extradata or b"")
        yield dict(container.metadata)
        for packet in container.demux():
            payload = bytes(packet) if steady or packet.stream.type != "video" else None
            yield packet.stream.index, packet.pts, packet.dts, packet.duration, payload


def check(folder: Path, model: Path, tmp_path: Path, least: int = 2, **options: Any) -> None:
    """Spread and whole are the same."""
    steady = not any(path.suffix in (".webm", ".mpg", ".ts") for path in folder.iterdir())
    if steady:
        options = STEADY | options
    chosen = RunOptions(device="cpu", size=Size(32, 32), **options)
    summary = translate(folder, model, tmp_path / "whole", device="cpu", size=Size(32, 32), **options)
    assert summary.failed == []
    rows, made = spread(folder, model, tmp_path / "parts", chosen)
    assert [row.outcome for row in rows] == ["split", "done"], rows
    assert len(made) >= least
    (whole,) = (path for path in (tmp_path / "whole").iterdir() if not path.name.startswith("."))
    assert list(contents(tmp_path / "parts" / whole.name, steady)) == list(contents(whole, steady))
    if steady and whole.suffix != ".mkv":  # which gives each file an identifier of its own
        assert (tmp_path / "parts" / whole.name).read_bytes() == whole.read_bytes()
    left = [path for path in (tmp_path / "parts").rglob("*") if "manifest" not in path.name]
    assert left == [tmp_path / "parts" / whole.name]
    again = translate(folder, model, tmp_path / "parts", device="cpu", size=Size(32, 32), **options)
    assert again.skipped == 1


STEADY = {"codec": "mjpeg"}
"""An encoder whose bytes do not depend on how many threads it has, as those of libx264 do."""

SPLIT = [
    name
    for name in NAMES
    if name.endswith((".mp4", ".mov", ".MOV", ".webm"))
    and name not in ("rotated_90.mov", "rotated_180.mov")  # of three frames
]


@pytest.mark.parametrize("name", SPLIT)
def test_a_real_video(name: str, data_dir: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).symlink_to(data_dir / "videos" / name)
    check(tmp_path / "in", model, tmp_path)


OPEN = {"bf": "3", "g": "7", "x264-params": "open-gop=1:scenecut=0", "crf": "12"}
OPEN_265 = {"g": "7", "x265-params": "open-gop=1:bframes=3:scenecut=0:log-level=error"}


@pytest.mark.parametrize(
    ("name", "codec", "settings"),
    [
        ("open.mp4", "libx264", OPEN),
        ("open.mkv", "libx264", OPEN),
        ("open.ts", "mpeg2video", {"bf": "2", "g": "6", "b": "2M"}),
        ("refresh.mkv", "libx264", {"bf": "0", "g": "20", "x264-params": "intra-refresh=1"}),
        ("leading.mp4", "libx265", OPEN_265),
        ("leading.mkv", "libx265", OPEN_265),
        ("open.mpg", "mpeg2video", {"bf": "2", "g": "6", "b": "2M"}),
        (
            "vp9.webm",
            "libvpx-vp9",
            {"g": "9", "auto-alt-ref": "1", "lag-in-frames": "8", "deadline": "realtime"},
        ),
        ("vp8.webm", "libvpx", {"g": "9", "auto-alt-ref": "1", "lag-in-frames": "8", "deadline": "realtime"}),
        ("intra.mov", "mjpeg", {}),
    ],
)
def test_frames_that_lean_on_later_ones_and_hidden_ones(
    name: str, codec: str, settings: dict[str, str], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / name, codec, settings)
    check(tmp_path / "in", model, tmp_path)


def write(path: Path, codec: str, settings: dict[str, str], frames: int = 45) -> None:
    """Noise that moves: every frame differs from every other."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64 + frames, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=settings)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(frames):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, index : index + 64])))
            )
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    "options",
    [{"every": 3}, {"start": 0.5, "end": 1.3}, {"side_by_side": True}, {"batch_size": 3}],
)
def test_what_the_user_asks_for(options: dict[str, Any], model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.mp4", "libx264", OPEN)
    check(tmp_path / "in", model, tmp_path, **options)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("a.mp4", {"smooth": 0.5}, "--smooth makes each frame of the one before"),
        ("a.avi", {}, "AVI does not say when a frame is shown"),
        ("interlaced.mkv", {}, "its frames are deinterlaced"),
    ],
)
def test_one_worker_does_what_depends_on_the_frames_before_and_says_so(
    name: str, options: dict[str, Any], said: str, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    if name == "interlaced.mkv":
        write_interlaced(tmp_path / "in" / name)
    else:
        make_video(tmp_path / "in" / name, frames=12)
    ((row,), made) = spread(tmp_path / "in", model, tmp_path / "out", RunOptions(device="cpu", **options))
    assert (row.outcome, made) == ("done", [])
    assert sum(said in remark for remark in row.remarks) == 1, row.remarks


def test_a_short_video_is_not_split(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mp4", frames=FRAMES)
    ((row,), made) = spread(tmp_path / "in", model, tmp_path / "out", RunOptions(device="cpu"))
    assert (row.outcome, row.remarks, made) == ("done", (), [])


def test_segments_that_an_earlier_run_has_made_are_not_made_again(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.mp4", "libx264", OPEN)
    seen: list[Part] = []

    class StoppedError(Exception):
        pass

    def stop(todo: Any) -> None:
        if isinstance(todo, Part):
            if len(seen) == 2:
                raise StoppedError
            seen.append(todo)

    options = RunOptions(device="cpu", size=Size(32, 32), codec="mjpeg")
    with pytest.raises(StoppedError):
        spread(tmp_path / "in", model, tmp_path / "out", options, stop)
    done = {part.segment for part in seen}
    # Another model or other options make other segments.
    _, made = spread(
        tmp_path / "in", model, tmp_path / "out", RunOptions(device="cpu", size=Size(40, 40), codec="mjpeg")
    )
    assert sum(len(part.lasts) for part in made) == 12
    (tmp_path / "out/a.mp4").unlink()
    seen.clear()
    with pytest.raises(StoppedError):
        spread(tmp_path / "in", model, tmp_path / "out", options, stop)
    _, made = spread(tmp_path / "in", model, tmp_path / "out", options)
    assert not done & {part.segment for part in made}
    translate(tmp_path / "in", model, tmp_path / "whole", device="cpu", size=Size(32, 32), codec="mjpeg")
    assert (tmp_path / "out/a.mp4").read_bytes() == (tmp_path / "whole/a.mp4").read_bytes()


def test_a_plan_that_does_not_hold_is_given_up_for_the_whole(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.mp4", "libx264", OPEN)
    scanned = parts._scanned

    def with_one_more(*arguments: Any) -> Any:
        stamps, keys, problem = scanned(*arguments)
        return np.unique(np.append(stamps, stamps[9] + 1)), keys, problem

    monkeypatch.setattr(parts, "_scanned", with_one_more)
    rows, _ = spread(
        tmp_path / "in", model, tmp_path / "out", RunOptions(device="cpu", size=Size(32, 32), codec="mjpeg")
    )
    assert [row.outcome for row in rows] == ["split", "done"]
    translate(tmp_path / "in", model, tmp_path / "whole", device="cpu", size=Size(32, 32), codec="mjpeg")
    assert (tmp_path / "out/a.mp4").read_bytes() == (tmp_path / "whole/a.mp4").read_bytes()
    assert not [path for path in (tmp_path / "out").iterdir() if path.is_dir()]


def test_a_damaged_video_fails_with_the_sentence_of_one_machine(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.mkv", "libx264", OPEN)
    data = bytearray((tmp_path / "in/a.mkv").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    (tmp_path / "in/a.mkv").write_bytes(data)
    summary = translate(tmp_path / "in", model, tmp_path / "whole", device="cpu", size=Size(32, 32))
    rows, _ = spread(
        tmp_path / "in", model, tmp_path / "out", RunOptions(device="cpu", size=Size(32, 32), codec="mjpeg")
    )
    assert rows[-1].outcome == "failed"
    ((_, reason),) = summary.failed
    assert rows[-1].reason.partition(" at ")[0] == reason.partition(" at ")[0]
    options = RunOptions(device="cpu", size=Size(32, 32), codec="mjpeg", skip_damaged=True)
    translate(
        tmp_path / "in",
        model,
        tmp_path / "whole",
        device="cpu",
        size=Size(32, 32),
        codec="mjpeg",
        skip_damaged=True,
    )
    rows, _ = spread(tmp_path / "in", model, tmp_path / "out", options)
    assert rows[-1].outcome == "done"
    assert list(contents(tmp_path / "out/a.mkv")) == list(contents(tmp_path / "whole/a.mkv"))


def test_a_video_in_a_bucket_is_read_by_range(
    s3: Proxy, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/a.mp4", "libx264", OPEN)
    translate(tmp_path / "in", model, tmp_path / "whole", device="cpu", codec="mjpeg")
    bucket = f"s3://bucket/{uuid4().hex}"
    open_sink(f"{bucket}/in").commit("below/a.mp4", tmp_path / "in/a.mp4")
    s3.share = 0.05
    rows, made = spread(f"{bucket}/in", model, f"{bucket}/out", RunOptions(device="cpu", codec="mjpeg"))
    s3.share = 0
    assert [row.outcome for row in rows] == ["split", "done"], rows
    assert len(made) > 2
    out = open_source(f"{bucket}/out")
    assert out.read("below/a.mp4") == (tmp_path / "whole/a.mp4").read_bytes()
    assert [item.name for item in out.list() if "manifest" not in item.name] == ["below/a.mp4"]
    assert not list((tmp_path / "cache/spool").iterdir())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_video_with_a_part_elsewhere_is_translated_whole_whatever_befalls_another_part(
    order: tuple[int, int],
) -> None:
    split: Any = SimpleNamespace(output="out.mp4", item=Item("in.mp4", 1, ""), frames=240)
    parts: list[Any] = [SimpleNamespace(split=split, segment=number, frames=120) for number in range(2)]
    videos = Videos(lambda done, total: None)
    list(videos.follow(Row("in.mp4", "out.mp4", "split", parts=Parts(split, tuple(parts)))))
    made = [Made(parts[0], "its frames are elsewhere", is_misplaced=True), Made(parts[1], "the disk is full")]
    followed = [each for number in order for each in videos.follow(made[number])]
    assert (followed, videos.failed) == ([Whole(split)], [])
