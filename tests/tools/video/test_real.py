"""Real videos as cameras, broadcasts and bad disks leave them: a time code, a clock that began elsewhere, damage."""

from __future__ import annotations

import re
import threading
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from translatekit_tools.bulk.video.reader import VideoReader

import translatekit

from .conftest import Identity, Listener
from .test_round_trip import NAMES, facts

COPIED = ("video", "audio", "subtitle")


def remuxed(source: Path, path: Path, by: float = 0.0, timecode: str | None = None, **options: str) -> Path:
    """The packets of a video in another file, later by so many seconds."""
    with av.open(str(source)) as original, av.open(str(path), "w", options=options) as container:
        made: dict[int, Any] = {}
        for stream in original.streams:
            if stream.type not in COPIED:
                continue
            try:
                made[stream.index] = container.add_stream_from_template(stream, opaque=True)
            except ValueError:
                continue  # subtitles of an MP4, in another kind
            made[stream.index].time_base = stream.time_base
            made[stream.index].metadata.update(stream.metadata)
            if stream.type == "video":
                made[stream.index].codec_context.framerate = stream.average_rate
                if timecode is not None and stream is original.streams.video[0]:
                    made[stream.index].metadata["timecode"] = timecode
        for packet in original.demux([original.streams[index] for index in made]):
            if packet.size:
                ticks = round(Fraction(by) / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
                packet.stream = made[packet.stream.index]
                container.mux(packet)
    return path


def translated(source: Path, out: Path, listener: Listener | None = None, **options: Any) -> Any:
    """Small, so that it is quick."""
    return translatekit.translate(source, Identity(), out, size=32, progress=listener, **options)


def timecode_tracks(path: Path) -> list[str | None]:
    with av.open(str(path)) as container:
        return [stream.metadata.get("timecode") for stream in container.streams if stream.type == "data"]


def start_of_sound(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        first = next(container.demux(audio=0))
        return Fraction((first.pts or 0) * first.time_base)


@pytest.mark.parametrize("name", NAMES)
def test_a_time_code_stays(name: str, data_dir: Path, tmp_path: Path) -> None:
    suffix = ".mp4" if name.endswith("webm") else ".mov"
    source = remuxed(data_dir / "videos" / name, tmp_path / f"in{suffix}", timecode="01:02:03:04")
    (code,) = timecode_tracks(source)
    assert code in ("01:02:03:04", "01:02:03:4")  # below ten frames a second
    for suffix in (".mov", ".mp4") if not name.endswith("webm") else (".mp4",):  # no Vorbis in QuickTime
        out = tmp_path / f"out{suffix}"
        assert translated(source, out).failed == []
        assert timecode_tracks(out) == [code]
        before, after = facts(source), facts(out)
        assert after["times"] == before["times"]
        assert after["packets"] == before["packets"]


@pytest.mark.parametrize("start", [2.0, 1.97])
def test_the_time_code_of_a_part_is_that_of_its_first_frame(
    start: float, data_dir: Path, tmp_path: Path
) -> None:
    source = remuxed(data_dir / "videos" / "ntsc_2997_audio.mp4", tmp_path / "in.mov", timecode="00:00:58;00")
    assert translated(source, tmp_path / "out.mov", start=start, end=3.0).failed == []
    # 60 frames on; 00:01:00;00 and ;01 are numbers that a drop-frame time code does not have.
    assert timecode_tracks(tmp_path / "out.mov") == ["00:01:00;02"]
    listener = Listener()
    assert translated(source, tmp_path / "half.mov", listener, every=2).failed == []
    assert timecode_tracks(tmp_path / "half.mov") == []
    assert any("time code of the input is left out" in text for text in listener.said)


SOUNDING = ("bunny_480p_audio.mp4", "ntsc_2997_audio.mp4", "two_audio_tracks_subtitles.mp4")


@pytest.mark.parametrize("name", SOUNDING)
@pytest.mark.parametrize(("suffix", "by"), [(".ts", 36_000.0), (".ts", 95_443.4), (".mkv", -0.7)])
def test_a_clock_that_begins_elsewhere_begins_at_zero(
    name: str, suffix: str, by: float, data_dir: Path, tmp_path: Path
) -> None:
    """The hours of a broadcast's clock, a clock that comes to its end (at 2**33 ticks), stamps below zero."""
    original = data_dir / "videos" / name
    options = {"avoid_negative_ts": "disabled"} if by < 0 else {"mpegts_copyts": "1"}
    source = remuxed(original, tmp_path / f"in{suffix}", by, **options)
    out = tmp_path / "out.mp4"
    assert translated(source, out).failed == []
    before, after = facts(original), facts(out)
    assert len(after["times"]) == len(before["times"])
    assert min(after["times"][0], *(track[0][0] for track in after["packets"])) == 0
    # Matroska counts in milliseconds, and the frames below zero are counted back at the average rate.
    late = after["times"][0] - start_of_sound(out)
    assert abs(float(late - (before["times"][0] - start_of_sound(original)))) < 0.01
    steps = [
        [float(b - a) for a, b in zip(x["times"], x["times"][1:], strict=False)] for x in (before, after)
    ]
    assert steps[1] == pytest.approx(steps[0], abs=0.0021)
    assert [[data for _, data in track] for track in after["packets"]][:1] == [
        [data for _, data in track] for track in before["packets"]
    ][:1]


@pytest.mark.parametrize("suffix", [".mov", ".mkv", ".ts"])
def test_sound_that_an_edit_list_hides_stays_unheard(suffix: str, data_dir: Path, tmp_path: Path) -> None:
    original = data_dir / "videos" / "bunny_480p_audio.mp4"
    source = remuxed(original, tmp_path / "in.mp4", -0.7, avoid_negative_ts="disabled")
    out = tmp_path / f"out{suffix}"
    assert translated(source, out).failed == []
    assert float(facts(source)["times"][0]) < 0.05
    assert float(facts(out)["times"][0]) < 0.1
    with av.open(str(out)) as container:
        shown = [frame.time for frame in container.decode(audio=0) if frame.time is not None]
    assert -0.01 < shown[0] < 0.1
    with av.open(str(source)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0))
    with av.open(str(out)) as container:
        assert abs(sum(frame.samples for frame in container.decode(audio=0)) - heard) < 4096


def test_a_start_that_somebody_has_set_stays(data_dir: Path, tmp_path: Path) -> None:
    source = remuxed(data_dir / "videos" / "rotated_90.mov", tmp_path / "in.mov", 0.5)
    assert translated(source, tmp_path / "out.mov").failed == []
    assert facts(tmp_path / "out.mov")["times"] == facts(source)["times"]
    assert facts(source)["times"][0] > 0.4


def damaged(source: Path, path: Path) -> int:
    """A copy whose picture in the middle is overwritten; returns how many follow up to the next key frame."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        middle = packets[len(packets) // 2]
        assert middle.pos is not None
        for place in range(middle.pos + middle.size // 3, middle.pos + middle.size * 2 // 3):
            data[place] ^= 0x5A
        path.write_bytes(data)
        after = packets[len(packets) // 2 + 1 :]
        return next((index for index, packet in enumerate(after) if packet.is_keyframe), len(after))


def test_every_damaged_spot_is_found_by_the_decoder() -> None:
    """H.265 has none that it says: its decoder conceals what is missing."""
    assert set(NAMES) - set(DAMAGED) == {"h265_video.mp4"}


DAMAGED = tuple(name for name in NAMES if name != "h265_video.mp4")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_spot_can_be_left_out(name: str, data_dir: Path, tmp_path: Path) -> None:
    original = data_dir / "videos" / name
    source = tmp_path / f"in{original.suffix}"
    dependent = damaged(original, source)
    model, listener = Identity(), Listener()
    ((_, reason),) = translatekit.translate(source, model, tmp_path / f"no{original.suffix}", size=32).failed
    assert "the video is damaged at" in reason
    assert "pass --skip-damaged" in reason
    out = tmp_path / f"out{original.suffix}"
    summary = translated(source, out, listener, skip_damaged=True)
    assert summary.failed == []
    before, after = facts(original), facts(out)
    # Of transparent VP9, libvpx decodes nothing more before the next key frame.
    lost = 1 + dependent * name.endswith("webm")
    assert len(after["times"]) == len(before["times"]) - lost == summary.frames
    assert set(after["times"]) < set(before["times"])
    assert after["packets"] == before["packets"]
    (said,) = [text for text in listener.said if "damaged" in text]
    missing = min(set(before["times"]) - set(after["times"]))
    place = float(re.findall(r"at (\d+\.\d\d)", said)[0])
    assert abs(place - float(missing - before["times"][0])) < 0.2


def test_a_damaged_spot_is_found_every_time(data_dir: Path, tmp_path: Path) -> None:
    """FFmpeg's threads lose the mark of one in five: a video is whole on one run, and damaged on the next."""
    source = tmp_path / "in.mp4"
    damaged(data_dir / "videos" / "non_square_pixels.mp4", source)
    found = []
    for _ in range(12):
        with closing(VideoReader(source, skip_damaged=True)) as reader:
            frames = sum(1 for _ in reader.frames(lambda number, seconds: False))
            found.append((frames, tuple(reader.damaged)))
    assert found == [(119, found[0][1])] * 12
    assert len(found[0][1]) == 1


def test_a_reader_can_be_closed_while_it_decodes(data_dir: Path) -> None:
    before = threading.active_count()
    reader = VideoReader(data_dir / "videos" / "non_square_pixels.mp4")
    frames = reader.frames()
    assert next(frames) is not None
    reader.close()
    assert threading.active_count() == before
    assert list(frames) == []


def test_an_avi_with_frames_out_of_order(tmp_path: Path) -> None:
    """AVI has no place for the time at which a frame is shown, and cameras write B-frames into it all the same."""
    source = tmp_path / "in.avi"
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25, options={"bf": "2", "flags": "+qscale"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(20):
            image = np.full((48, 64, 3), index * 12, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    seen: list[float] = []
    model = Identity(lambda batch: [seen.append(float(image.mean())) for image in batch] and batch)
    assert translatekit.translate(source, model, tmp_path / "out.mp4").failed == []
    assert seen == pytest.approx([index * 12 for index in range(20)], abs=4)
    assert facts(tmp_path / "out.mp4")["times"] == [Fraction(index, 25) for index in range(20)]


def test_a_video_that_was_cut_off_is_said_to_end_early(data_dir: Path, tmp_path: Path) -> None:
    whole = remuxed(data_dir / "videos" / "bunny_480p_audio.mp4", tmp_path / "whole.mkv")
    data = whole.read_bytes()
    for share, said in ((1.0, False), (0.6, True)):
        source, listener = tmp_path / "in.mkv", Listener()
        source.write_bytes(data[: int(len(data) * share)])
        assert translated(source, tmp_path / "out.mp4", listener, force=True).failed == []
        assert any("it was cut off" in text for text in listener.said) == said


def test_damaged_sound_is_an_error_or_left_out(data_dir: Path, tmp_path: Path) -> None:
    """Packets of a broadcast that did not arrive."""
    whole = remuxed(data_dir / "videos" / "bunny_480p_audio.mp4", tmp_path / "whole.ts")
    data = whole.read_bytes()
    packets = [data[start : start + 188] for start in range(0, len(data), 188)]
    sound = [
        index for index, packet in enumerate(packets) if packet[1] & 0x5F == 1 and packet[2] == 1
    ]  # PID 0x101
    lost = set(sound[len(sound) // 2 :][:3])
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(packet for index, packet in enumerate(packets) if index not in lost))
    model, listener = Identity(), Listener()
    ((_, reason),) = translatekit.translate(source, model, tmp_path / "no.mp4").failed
    assert "pass --skip-damaged" in reason
    assert "audio is damaged at 2." in reason
    assert model.batches == []
    assert translated(source, tmp_path / "out.mp4", listener, skip_damaged=True).failed == []
    assert any("damaged packets of audio" in text for text in listener.said)
    times = [facts(path)["times"] for path in (whole, tmp_path / "out.mp4")]
    since = [[float(time - each[0]) for time in each] for each in times]
    assert since[1] == pytest.approx(since[0], abs=1e-4)
