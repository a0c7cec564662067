"""What a user can do with a video: parts of it, its frames, going on, less flicker, and what goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from translatekit_tools.bulk.video.flow import Smoother, warp_error

import translatekit
from translatekit.errors import OptionError
from translatekit.images import read_picture

from .conftest import Identity, make_video


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
    files = sorted((tmp_path / "frames" / "in").iterdir())
    assert [file.name for file in files] == ["000000.png", "000005.png"]
    assert read_picture(files[0]).pixels.shape == (48, 64, 3)
    assert summary.frames == 2


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
    command = [
        sys.executable,
        "-m",
        "translatekit",
        "run",
        source,
        "--model",
        model,
        "-o",
        tmp_path / "out.mp4",
    ]
    done = subprocess.run([*map(str, command), "--codec", "h264_nvenc"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "libx264 is used instead" in done.stderr


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


@pytest.mark.parametrize("smooth", [0.0, 0.5])
def test_a_run_that_was_killed_goes_on_and_gives_the_same_video(tmp_path: Path, smooth: float) -> None:
    source = make_video(tmp_path / "in.mp4", frames=300)
    small_model(tmp_path / "model.safetensors")
    command = [
        sys.executable,
        "-m",
        "translatekit",
        "run",
        str(source),
        "--model",
        str(tmp_path / "model.safetensors"),
    ]
    command += ["--smooth", str(smooth)] if smooth else []
    folder = tmp_path / "killed"
    process = subprocess.Popen([*command, "-o", str(folder / "out.mp4")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(
        folder.glob(".*.video/000000.n*" if not smooth else ".*.video/*.npz")
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "out.mp4").exists()
    segments = list(folder.glob(".*.video/*.nut"))
    assert segments
    subprocess.run([*command, "-o", str(folder / "out.mp4")], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(
        [*command, "-o", str(tmp_path / "whole" / "out.mp4")], check=True, stderr=subprocess.DEVNULL
    )
    assert packets(folder / "out.mp4") == packets(tmp_path / "whole" / "out.mp4")
    assert times(folder / "out.mp4") == times(source)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [
        ".translatekit-manifest.jsonl"
    ]


def small_model(path: Path) -> None:
    import torch

    from translatekit.model_file import ModelInfo, save_model
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


HOSTILE = ("WrongFile.mp4", "corrupted.mp4", "empty.mp4", "zero-frame.ts")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_video_is_one_sentence(name: str, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "hostile_videos" / name
    summary = translatekit.translate([source], Identity(), tmp_path / "out")
    ((path, reason),) = summary.failed
    assert path == source
    assert str(source) in reason
    assert ": replace or remove it" in reason
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
