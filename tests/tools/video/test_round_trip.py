"""What a video has, its translation has too: looked at with PyAV alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import translatekit

from .conftest import Identity, make_video

NAMES = (
    "bunny_480p_audio.mp4",
    "h264_10bit.mp4",
    "h265_video.mp4",
    "non_square_pixels.mp4",
    "ntsc_2997_audio.mp4",
    "phone_portrait.MOV",
    "rotated_180.mov",
    "rotated_90.mov",
    "transparent.webm",
    "two_audio_tracks_subtitles.mp4",
    "variable frame rate.mov",
)


def facts(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        turned = round(first.rotation / 90) % 2
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        shape = (first.width * aspect, first.height)
        result = {
            "times": [frame.pts * frame.time_base for frame in frames],
            "shape": shape[::-1] if turned else shape,
            "upright": np.rot90(first.to_ndarray(format="rgb24"), round(first.rotation / 90) % 4).astype(
                float
            ),
            "colour": (first.color_range, first.color_primaries, first.color_trc, first.colorspace),
            "depth": max(component.bits for component in first.format.components),
            "metadata": {
                k: v for k, v in container.metadata.items() if k.startswith(("com.", "creation", "title"))
            },
        }
    with av.open(str(path)) as container:
        tracks = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
        packets: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in tracks}
        for packet in container.demux(tracks) if tracks else ():
            if packet.size:
                packets[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
        result["packets"] = list(packets.values())
        result["languages"] = [stream.language or "und" for stream in tracks]
    return result


@pytest.mark.parametrize("name", NAMES)
def test_everything_but_the_pixels_is_as_it_was(name: str, data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "videos" / name
    out = tmp_path / f"out{source.suffix}"
    summary = translatekit.translate(source, Identity(), out)
    assert summary.failed == []
    before, after = facts(source), facts(out)
    assert summary.frames == len(before["times"]) == len(after["times"])
    assert after["times"] == before["times"]
    assert after["packets"] == before["packets"]
    assert after["languages"] == before["languages"]
    assert after["depth"] == before["depth"]
    ratios = [float(shape[0] / shape[1]) for shape in (before["shape"], after["shape"])]
    assert ratios[1] == pytest.approx(ratios[0], rel=0.001)
    assert before["metadata"].items() <= after["metadata"].items()
    assert after["upright"].shape == before["upright"].shape
    assert np.abs(after["upright"] - before["upright"]).mean() < 4
    for name, got, wanted in zip(
        ("range", "primaries", "transfer", "matrix"), after["colour"], before["colour"], strict=True
    ):
        unsaid = {"range": (0, 1)}.get(name, (2,))  # what is not said means a range of 16 to 235
        assert got == wanted or {got, wanted} <= set(unsaid), name


def test_the_frames_are_translated_by_the_model(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4")
    model = Identity(lambda batch: 255 - batch)
    assert translatekit.translate(source, model, tmp_path / "out.mp4").frames == 30
    before, after = facts(source)["upright"], facts(tmp_path / "out.mp4")["upright"]
    assert np.abs(255 - before - after).mean() < 4
    assert max(model.batches) > 1


def test_times_need_not_be_even(tmp_path: Path) -> None:
    times = [0, 7, 300, 301, 420, 1000, 1003, 2500]
    source = make_video(tmp_path / "in.mp4", frames=8, times=times)
    translatekit.translate(source, Identity(), tmp_path / "out.mov")
    assert facts(tmp_path / "out.mov")["times"] == [Fraction(time, 1000) for time in times]


def test_odd_sides_stay_odd(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 51, 37, "yuv444p"
        for _ in range(3):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((37, 51, 3), 90, np.uint8), format="rgb24"))
            )
        container.mux(stream.encode(None))
    translatekit.translate(tmp_path / "in.mkv", Identity(), tmp_path / "out.mp4")
    assert facts(tmp_path / "out.mp4")["upright"].shape == (37, 51, 3)


def test_transparency_stays(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.webm"
    translatekit.translate(data_dir / "videos" / "transparent.webm", Identity(), out)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert {key.lower(): value for key, value in stream.metadata.items()}["alpha_mode"] == "1"
        decoder = av.CodecContext.create("libvpx-vp9", "r")
        packet = next(container.demux(stream))
        frame = decoder.decode(packet)[0]
        alpha = frame.to_ndarray(format="rgba")[:, :, 3]
    assert alpha.min() < 10 < 245 < alpha.max()


def test_an_animated_gif_keeps_its_durations(data_dir: Path, tmp_path: Path) -> None:
    source, out = data_dir / "videos" / "pigs_in_a_polka.gif", tmp_path / "out.gif"
    assert translatekit.translate(source, Identity(), out).failed == []
    seen = []
    for path in (source, out):
        with Image.open(path) as image:
            durations = []
            for index in range(image.n_frames):
                image.seek(index)
                durations.append(image.info["duration"])
            seen.append((image.size, durations, image.info.get("loop")))
    assert seen[0] == seen[1]


def test_an_animated_webp_too(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 24), (index * 60, 90, 20)) for index in range(4)]
    frames[0].save(
        tmp_path / "in.webp", save_all=True, append_images=frames[1:], duration=[50, 70, 200, 90], loop=3
    )
    translatekit.translate(tmp_path / "in.webp", Identity(), tmp_path / "out.webp")
    with Image.open(tmp_path / "out.webp") as image:
        durations = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
        assert durations == [50, 70, 200, 90]
        assert image.info["loop"] == 3


def test_a_folder_of_images_and_videos(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=5)
    Image.new("RGB", (16, 16)).save(folder / "b.png")
    summary = translatekit.translate(folder, Identity(), tmp_path / "out")
    assert summary.failed == []
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".translatekit-manifest.jsonl", "a.mp4", "b.png"]
