"""What a user can do with a video: parts of it, its frames, going on, less flicker, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from translatekit_tools.bulk.video import pipeline
from translatekit_tools.bulk.video.encoding import open_encoder, write_segment
from translatekit_tools.bulk.video.flow import Smoother, warp_error
from translatekit_tools.bulk.video.muxing import Muxer
from translatekit_tools.bulk.video.segments import Segments

import translatekit
from translatekit.errors import OptionError
from translatekit.images import read_levels

from .conftest import Identity, make_animation, make_video


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(container.streams.video[0])]


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def test_a_part_of_a_video(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=50)
    translatekit.translate(source, Identity(), tmp_path / "out.mp4", start=0.4, end=1.2)
    assert times(tmp_path / "out.mp4") == [Fraction(index, 25) for index in range(20)]


def test_every_nth_frame_keeps_its_time(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=10)
    translatekit.translate(source, Identity(), tmp_path / "out.mp4", every=4)
    assert times(tmp_path / "out.mp4") == [Fraction(0), Fraction(4, 25), Fraction(8, 25)]


def test_the_sound_of_a_part_begins_with_it(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "videos" / "bunny_480p_audio.mp4"
    translatekit.translate(source, Identity(), tmp_path / "out.mp4", start=1.0, end=2.0, size=32)
    with av.open(str(tmp_path / "out.mp4")) as container:
        sound = [packet for packet in container.demux(container.streams.audio[0]) if packet.size]
        first, last = (float(packet.pts * packet.time_base) for packet in (sound[0], sound[-1]))
    assert 0 <= first < 0.05
    assert 0.9 < last < 1.05


def test_frames_as_images(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=10)
    summary = translatekit.translate(source, Identity(), frames=str(tmp_path / "frames"), every=5)
    files = sorted((tmp_path / "frames" / "in").glob("*.png"))
    assert [file.name for file in files] == ["000000.png", "000005.png"]
    assert read_levels(files[0]).pixels.shape == (48, 64, 3)
    assert summary.frames == 2


def test_frames_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=4)
    small_model(tmp_path / "model.safetensors")
    folder = tmp_path / "frames" / "in"
    for _ in range(2):
        summary = translatekit.translate(
            source, tmp_path / "model.safetensors", frames=str(tmp_path / "frames")
        )
        assert summary.frames == 4
        written = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.png")}
        (folder / "000002.png").unlink(missing_ok=True)
    summary = translatekit.translate(source, tmp_path / "model.safetensors", frames=str(tmp_path / "frames"))
    again = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.png")}
    assert [name for name in written if written[name] != again[name]] == ["000002.png"]


def test_an_image_of_the_users_is_not_taken_for_a_frame(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2)
    (tmp_path / "frames" / "in").mkdir(parents=True)
    (tmp_path / "frames" / "in" / "000001.png").write_bytes(b"mine")
    (failure,) = translatekit.translate(source, Identity(), frames=str(tmp_path / "frames")).failed
    assert "000001.png exists and is not what an earlier run wrote there" in failure[1]
    assert (tmp_path / "frames" / "in" / "000001.png").read_bytes() == b"mine"


def test_two_videos_of_one_name_do_not_share_their_frames(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("clip.mp4", "clip.mov"):
        make_video(tmp_path / "in" / name, frames=2)
    summary = translatekit.translate(tmp_path / "in", Identity(), frames=str(tmp_path / "frames"))
    assert summary.translated == 1
    assert "its frames would go where those of" in summary.failed[0][1]


def test_frames_of_an_animation(tmp_path: Path) -> None:
    source = make_animation(tmp_path / "in.gif", [100, 100, 100])
    summary = translatekit.translate(source, Identity(), frames=str(tmp_path / "frames"))
    assert summary.frames == 3
    assert len(list((tmp_path / "frames" / "in").glob("*.png"))) == 3


def test_side_by_side(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    translatekit.translate(
        source, Identity(lambda batch: 255 - batch), tmp_path / "out.mp4", side_by_side=True
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert image.shape == (48, 128, 3)
    assert abs(255 - image[:, :64] - image[:, 64:]).mean() < 5


def test_the_codec_is_the_users(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=5)
    translatekit.translate(
        source, Identity(), tmp_path / "out.mp4", codec="libx265", crf=30, preset="ultrafast"
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"


def test_an_encoder_that_the_hardware_lacks_is_replaced_and_said(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=5)
    model = tmp_path / "model.safetensors"
    small_model(model)
    arguments = command(source, model, tmp_path / "out.mp4", "--codec", "h264_nvenc", "--preset", "p4")
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0
    assert "libx264 is used instead" in done.stderr


@pytest.mark.parametrize(
    ("out", "options", "sentence"),
    [
        ("out.webm", {"codec": "libx264"}, "a .webm file cannot hold what libx264 writes"),
        ("out.mp4", {"codec": "mpeg4", "crf": 20}, "it has no crf"),
        ("out.mp4", {"preset": "quickest"}, "the encoder libx264 does not take 64x48 pixels"),
        ("out.mp4", {"pix_fmt": "nonsense"}, "nonsense"),
    ],
)
def test_what_cannot_be_encoded_is_said_before_anything_is_translated(
    tmp_path: Path, out: str, options: dict[str, object], sentence: str
) -> None:
    model = Identity()
    summary = translatekit.translate(make_video(tmp_path / "in.mp4"), model, tmp_path / out, **options)
    assert sentence in summary.failed[0][1]
    assert model.batches == []
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".mp4"]


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libsvtav1", ".mp4"), ("libx265", ".mov"), ("prores_ks", ".mov"), ("ffv1", ".mkv")]
)
@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
def test_every_encoder_finds_a_pixel_format(
    tmp_path: Path, codec: str, suffix: str, size: tuple[int, int]
) -> None:
    source = make_video(tmp_path / "in.mkv", frames=130, size=size, codec="ffv1", pix_fmt="bgr0")
    out = tmp_path / f"out{suffix}"
    assert translatekit.translate(source, Identity(), out, codec=codec).failed == []
    assert times(out) == times(source)
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert (frame.height, frame.width) == size


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not Path("/proc/self/task").is_dir(),
    reason="only root's threads become real-time ones, on Linux",
)
def test_an_encoder_leaves_the_process_scheduled_as_it_was(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=8)
    assert translatekit.translate(source, Identity(), tmp_path / "out.mp4", codec="libsvtav1").failed == []
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    context: Any = av.CodecContext.create("libsvtav1", "w")
    context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
    context.framerate, context.time_base = 25, Fraction(1, 25)
    open_encoder(context)
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}


def test_an_encoder_that_there_is_not_is_refused(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2)
    (failure,) = translatekit.translate(source, Identity(), tmp_path / "out.mp4", codec="nonsense").failed
    assert "the encoder nonsense does not take" in failure[1]
    assert not (tmp_path / "out.mp4").exists()


def test_a_rerun_has_nothing_to_do(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=4)
    small_model(tmp_path / "model.safetensors")
    for outcome in ("translated", "skipped"):
        summary = translatekit.translate(source, tmp_path / "model.safetensors", tmp_path / "out.mp4")
        assert getattr(summary, outcome) == 1


def command(source: Path, model: Path, out: Path, *options: str) -> list[str]:
    parts = [sys.executable, "-m", "translatekit", "run", source, "--model", model, "-o", out, *options]
    return [str(part) for part in parts]


def stopped_run(arguments: list[str], folder: Path, how: signal.Signals) -> int:
    """Run until the first segment is finished; the exit status."""
    with (folder.parent / "stderr").open("wb") as stderr:
        process = subprocess.Popen(arguments, stderr=stderr)
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None and not is_begun(folder):
        time.sleep(0.005)
    process.send_signal(how)
    return process.wait(timeout=120)


def is_begun(folder: Path) -> bool:
    return any(len(path.read_bytes().splitlines()) > 1 for path in folder.glob(".*.video/segments.jsonl"))


@pytest.mark.parametrize(
    ("how", "status", "smooth"), [(signal.SIGTERM, 143, 0.0), (signal.SIGKILL, -signal.SIGKILL, 0.5)]
)
def test_a_run_that_was_stopped_goes_on_and_gives_the_same_video(
    tmp_path: Path, how: signal.Signals, status: int, smooth: float
) -> None:
    source, model = make_video(tmp_path / "in.mp4", frames=300), tmp_path / "model.safetensors"
    small_model(model)
    options = ("--batch-size", "7", *(("--smooth", str(smooth)) if smooth else ()))
    stopped, whole = tmp_path / "stopped" / "out.mp4", tmp_path / "whole" / "out.mp4"
    assert stopped_run(command(source, model, stopped, *options), stopped.parent, how) == status
    said = (tmp_path / "stderr").read_text()
    assert ("To go on: " in said and str(stopped) in said.split("To go on: ")[1]) == (how == signal.SIGTERM)
    assert not stopped.exists()
    (work,) = stopped.parent.glob(".*.video")
    first = (work / "000000.segment").stat()
    again = subprocess.Popen(command(source, model, stopped, *options), stderr=subprocess.DEVNULL)
    while again.poll() is None and work.exists():
        kept = next(iter(work.glob("000000.segment")), None)
        assert kept is None or kept.stat().st_mtime_ns == first.st_mtime_ns
        time.sleep(0.01)
    assert again.wait() == 0
    settings = {"batch_size": 7, "smooth": smooth}
    summary = translatekit.translate(source, model, whole, **settings)
    assert packets(stopped) == packets(whole)
    assert times(stopped) == times(source)
    assert [path.name for path in stopped.parent.iterdir() if path.name.startswith(".")] == [
        ".translatekit-manifest.jsonl"
    ]
    assert bool(summary.flicker) == bool(smooth)


def test_a_segment_that_was_torn_is_made_again(tmp_path: Path) -> None:
    source, model = make_video(tmp_path / "in.mp4", frames=300), tmp_path / "model.safetensors"
    small_model(model)
    stopped, whole = tmp_path / "stopped" / "out.mp4", tmp_path / "whole" / "out.mp4"
    stopped_run(command(source, model, stopped), stopped.parent, signal.SIGKILL)
    (segment,) = stopped.parent.glob(".*.video/000000.segment")
    segment.write_bytes(segment.read_bytes()[:-100])
    for out in (stopped, whole):
        assert translatekit.translate(source, model, out).frames == 300
    assert packets(stopped) == packets(whole)


def test_a_video_is_translated_by_one_run_at_a_time(tmp_path: Path) -> None:
    """The other would go on with the segments that the first one is writing."""
    source, out = make_video(tmp_path / "in.mp4", frames=130), tmp_path / "out.mp4"
    others: list[Any] = []

    def beside(batch: np.ndarray) -> np.ndarray:
        if not others:
            others.append(None)
            others[0] = translatekit.translate(source, Identity(), out)
        return batch

    assert translatekit.translate(source, Identity(beside), out).frames == 130
    ((_, reason),) = others[0].failed
    assert reason == "another process translates it at this moment: wait for its end, or stop it first"
    assert times(out) == times(source)


def test_a_line_that_was_cut_off_costs_no_other_segment(tmp_path: Path) -> None:
    def write(path: Path) -> int:
        path.write_bytes(b"frames")
        return 120

    def state() -> dict[str, np.ndarray]:
        return {"before": np.zeros(2)}

    segments = Segments(tmp_path, {"encoding": "any"})
    segments.add(write, state)
    kept = (tmp_path / "segments.jsonl").read_bytes()
    segments.add(write, state)
    (tmp_path / "segments.jsonl").write_bytes(kept + b'{"name": "000001.seg')
    np.savez(tmp_path / "000000.npz", allow_pickle=False, **state())
    again = Segments(tmp_path, {"encoding": "any"})
    assert (again.frames, again.state is not None) == (120, True)
    again.add(write, state)
    assert Segments(tmp_path, {"encoding": "any"}).frames == 240


def test_a_stopped_run_of_a_translator_that_came_from_no_file_begins_again(tmp_path: Path) -> None:
    """Nobody can know whether it is the same one."""
    source = make_video(tmp_path / "in.mp4", frames=200)
    calls = 0

    def stop(batch: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise KeyboardInterrupt
        return batch

    with pytest.raises(KeyboardInterrupt):
        translatekit.translate(source, Identity(stop), tmp_path / "out.mp4")
    assert list(tmp_path.glob(".*.video/000000.segment"))
    model = Identity(lambda batch: 255 - batch)
    assert translatekit.translate(source, model, tmp_path / "out.mp4").frames == 200
    assert sum(model.batches) == 200


def small_model(path: Path) -> None:
    import torch

    from translatekit.model_file import save_model
    from translatekit.model_info import ModelInfo
    from translatekit.networks.resnet import ResNet

    torch.manual_seed(0)
    network = ResNet(3, 3, blocks=1, width=4)
    options = {"in_channels": 3, "out_channels": 3, "blocks": 1, "width": 4}
    info = ModelInfo(method="pix2pix", generator="resnet", generator_options=options, size_multiple=4)
    save_model(path, network.state_dict(), info)


def scene(count: int) -> list[np.ndarray]:
    """A texture that moves two pixels a frame."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (12, 40), dtype=np.uint8)
    texture = np.kron(coarse, np.ones((8, 8), np.uint8))
    return [np.repeat(texture[:, 2 * i : 2 * i + 160, None], 3, axis=2) for i in range(count)]


def test_flicker_has_a_number_and_smoothing_lowers_it() -> None:
    images = scene(12)
    rng = np.random.default_rng(1)
    steady = [image // 2 + 60 for image in images]
    flickering = [np.clip(image + rng.integers(-25, 25), 0, 255).astype(np.uint8) for image in steady]
    assert warp_error(images, flickering) > 5 * warp_error(images, steady)
    smoother = Smoother(0.6)
    smoothed = [smoother(image, output) for image, output in zip(images, flickering, strict=True)]
    assert warp_error(images, smoothed) < 0.6 * warp_error(images, flickering)


def test_smoothing_follows_a_cut() -> None:
    """Nothing of the scene before is left where the picture has changed."""
    dark, bright = np.full((64, 64, 3), 20, np.uint8), np.full((64, 64, 3), 230, np.uint8)
    smoother = Smoother(0.6)
    smoother(dark, dark)
    assert np.abs(smoother(bright, bright).astype(int) - 230).max() <= 2


def test_the_summary_says_how_much_flicker_there_was(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=12)
    noise = iter(range(1000))
    model = Identity(
        lambda batch: np.clip(batch.astype(int) + 30 * (next(noise) % 2), 0, 255).astype(np.uint8)
    )
    summary = translatekit.translate(source, model, tmp_path / "out.mp4", smooth=0.6, batch_size=1)
    before, after = summary.flicker[source]
    assert 0 < after < before


@pytest.mark.parametrize("options", [{"size": 32}, {"fit": "crop"}, {"side_by_side": True}])
def test_smoothing_goes_with_every_size(tmp_path: Path, options: dict[str, object]) -> None:
    source = make_video(tmp_path / "in.mp4", frames=4, size=(50, 70))
    assert translatekit.translate(source, Identity(), tmp_path / "out.mp4", smooth=0.5, **options).frames == 4


def test_a_smoother_goes_on_where_another_stopped() -> None:
    images = scene(6)
    rng = np.random.default_rng(2)
    outputs = [np.clip(image + rng.integers(-25, 25), 0, 255).astype(np.uint8) for image in images]
    whole, first = Smoother(0.5), Smoother(0.5)
    expected = [whole(image, output) for image, output in zip(images, outputs, strict=True)]
    for image, output in zip(images[:3], outputs[:3], strict=True):
        first(image, output)
    second = Smoother(0.5, first.state)
    for image, output, frame in zip(images[3:], outputs[3:], expected[3:], strict=True):
        assert np.array_equal(second(image, output), frame)
    assert second.flicker == whole.flicker


def test_the_time_of_each_stage_is_counted(tmp_path: Path) -> None:
    def slow(batch: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        return batch

    stats = translatekit.translate(
        make_video(tmp_path / "in.mp4"), Identity(slow), tmp_path / "out.mp4"
    ).stats
    assert stats is not None
    assert all(stats.seconds[stage] > 0 for stage in ("decode", "translate", "encode", "write"))
    assert stats.bottleneck == "translate"


def test_a_video_that_is_damaged_leaves_nothing_behind(tmp_path: Path) -> None:
    data = bytearray(make_video(tmp_path / "in.mp4", frames=300).read_bytes())
    place = data.index(b"mdat") + 2500
    data[place : place + 800] = bytes(value ^ 0x5A for value in data[place : place + 800])
    (tmp_path / "in.mp4").write_bytes(data)
    (failure,) = translatekit.translate(tmp_path / "in.mp4", Identity(), tmp_path / "out" / "out.mp4").failed
    assert "damaged" in failure[1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == []


def test_what_was_translated_before_a_damaged_spot_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_model(tmp_path / "model.safetensors")
    whole = make_video(tmp_path / "whole.mp4", frames=300)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    start, size = places[200]
    assert start is not None
    data[start + 4 : start + size] = bytes(value ^ 0x5A for value in data[start + 4 : start + size])
    source, out = tmp_path / "in.mp4", tmp_path / "out" / "out.mp4"
    source.write_bytes(data)
    ((_, reason),) = translatekit.translate(source, tmp_path / "model.safetensors", out).failed
    assert "pass --skip-damaged" in reason
    assert "120 frames" in reason
    written = segments_written(monkeypatch)
    summary = translatekit.translate(source, tmp_path / "model.safetensors", out, skip_damaged=True)
    assert written == [120, summary.frames - 240]
    assert 295 <= summary.frames < 300
    assert set(times(out)) < set(times(whole))


def segments_written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the segments that are encoded from now on."""
    lengths: list[int] = []

    def write(*args: Any, **kwargs: Any) -> int:
        lengths.append(write_segment(*args, **kwargs))
        return lengths[-1]

    monkeypatch.setattr(pipeline, "write_segment", write)
    return lengths


def test_tracks_that_are_left_out_later_do_not_cost_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_model(tmp_path / "model.safetensors")
    source, out = make_video(tmp_path / "in.mp4", frames=300), tmp_path / "stopped" / "out.mp4"
    stopped_run(command(source, tmp_path / "model.safetensors", out), out.parent, signal.SIGKILL)
    written = segments_written(monkeypatch)
    translatekit.translate(source, tmp_path / "model.safetensors", out, audio=False)
    assert sum(written) <= 180


def test_frames_outlive_an_output_that_cannot_be_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no trial at the start has found."""
    small_model(tmp_path / "model.safetensors")
    source, out = make_video(tmp_path / "in.mp4", frames=130), tmp_path / "out.mp4"
    with monkeypatch.context() as patched:
        mux = Muxer._mux_segments

        def fail(self: Muxer, *args: Any, **kwargs: Any) -> None:
            mux(self, *args, **kwargs)
            if args[4] is None:
                raise av.error.ArgumentError(22, "Invalid argument")

        patched.setattr(Muxer, "_mux_segments", fail)
        ((_, reason),) = translatekit.translate(source, tmp_path / "model.safetensors", out).failed
    assert "(the 130 frames that are translated are kept)" in reason
    written = segments_written(monkeypatch)
    assert translatekit.translate(source, tmp_path / "model.safetensors", out).failed == []
    assert written == []
    assert times(out) == times(source)


def test_the_frames_of_a_video_are_reported_as_their_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in" / "clip.mp4", frames=2)
    small_model(tmp_path / "model.safetensors")
    arguments = [
        sys.executable,
        "-m",
        "translatekit",
        "run",
        "in",
        "-m",
        "model.safetensors",
        "--frames",
        "frames",
    ]
    done = subprocess.run([*arguments, "--dry-run"], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["frames/clip"], done.stderr
    done = subprocess.run([*arguments, "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert json.loads(done.stdout)["outputs"] == ["frames/clip"]
    assert (tmp_path / "frames" / "clip" / "000001.png").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "in", "model.safetensors"]


def test_hostile_videos_on_the_command_line(data_dir: Path, tmp_path: Path) -> None:
    small_model(tmp_path / "model.safetensors")
    arguments = command(data_dir / "hostile_videos", tmp_path / "model.safetensors", tmp_path / "out")
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "replace or remove it" in line]
    assert len(lines) == len(HOSTILE)
    assert "Traceback" not in done.stderr
    assert "4 failed" in done.stderr


HOSTILE = ("WrongFile.mp4", "corrupted.mp4", "empty.mp4", "zero-frame.ts")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_video_is_one_sentence(name: str, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "hostile_videos" / name
    summary = translatekit.translate([source], Identity(), tmp_path / "out")
    ((path, reason),) = summary.failed
    assert path == source
    assert "replace or remove it" in reason
    assert "\n" not in reason
    assert [file.name for file in (tmp_path / "out").iterdir() if file.suffix in (".mp4", ".ts")] == []


def test_every_hostile_video_is_tested(data_dir: Path) -> None:
    assert {path.name for path in (data_dir / "hostile_videos").iterdir()} == set(HOSTILE)


def test_a_video_cannot_become_an_image(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=2)
    with pytest.raises(OptionError, match=r"videos cannot be written as '\.png'"):
        translatekit.translate(source, Identity(), tmp_path / "out.png")


def test_an_end_before_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--end must come after --start"):
        translatekit.translate(tmp_path, Identity(), start=2.0, end=1.0)
