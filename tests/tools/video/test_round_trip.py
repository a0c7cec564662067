"""What a video has, its translation has too: looked at with PyAV alone."""

from __future__ import annotations

import io
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image
from translatekit_tools.bulk.video.reader import VideoReader

import translatekit
from translatekit.errors import OptionError
from translatekit.image_spec import GRAY, levels_spec
from translatekit.inference.inputs import cut_to_8_bits
from translatekit.model_info import ModelInfo

from .conftest import Identity, Listener, make_animation, make_video

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


def test_every_video_is_tested(data_dir: Path) -> None:
    names = {path.name for path in (data_dir / "videos").iterdir() if path.suffix != ".gif"}
    assert names == set(NAMES)


def length(path: Path) -> Fraction:
    """When the last frame ends."""
    with av.open(str(path)) as container:
        *_, last = container.decode(video=0)
        return (last.pts + last.duration) * last.time_base


def test_the_last_frame_is_shown_as_long(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mp4", frames=4, times=[0, 100, 2000, 2010])
    translatekit.translate(source, Identity(), tmp_path / "out.mp4")
    assert length(tmp_path / "out.mp4") == length(source)
    translatekit.translate(source, Identity(), tmp_path / "half.mp4", every=2)
    assert length(tmp_path / "half.mp4") == length(source)
    translatekit.translate(source, Identity(), tmp_path / "part.mp4", start=0.1, end=2.005)
    assert length(tmp_path / "part.mp4") == Fraction(1905, 1000)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), "top left"),
        ((-1, 0, 0, 1), "top right"),
        ((-1, 0, 0, -1), "bottom right"),
        ((1, 0, 0, -1), "bottom left"),
        ((0, 1, -1, 0), "top right"),
        ((0, -1, 1, 0), "bottom left"),
        ((0, 1, 1, 0), "top left"),
        ((0, -1, -1, 0), "bottom right"),
    ],
)
def test_the_model_sees_upright_frames(tmp_path: Path, matrix: tuple[int, int, int, int], shown: str) -> None:
    """All eight ways to turn and to mirror a picture; x' = ax + cy, y' = bx + dy."""
    a, b, c, d = (value * 65536 for value in matrix)

    def turn(container: Any, stream: Any) -> None:
        stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])

    model = Identity()
    source = make_video(tmp_path / "in.mp4", frames=2, size=(48, 64), prepare=turn)
    translatekit.translate(source, model, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        written = next(container.decode(video=0))
        pictures = [model.first, written.to_ndarray(format="rgb24")]
    assert written.rotation == 0
    corners = {"top left": (4, 4), "top right": (4, -5), "bottom left": (-5, 4), "bottom right": (-5, -5)}
    for picture in pictures:
        assert picture is not None
        assert picture.shape[:2] == ((48, 64) if matrix[0] else (64, 48))
        assert {name for name, place in corners.items() if picture[place][0] > 150} == {shown}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize(
    ("matrix", "kr", "kb"),
    [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (7, 0.212, 0.087), (9, 0.2627, 0.0593)],
)
def test_the_model_sees_the_colours_that_are_shown(
    tmp_path: Path, matrix: int, kr: float, kb: float, pix_fmt: str, full: bool
) -> None:
    """Samples computed as in ITU-R BT.601, BT.709, SMPTE 240M and BT.2020, encoded without loss."""
    red, green, blue = color = np.array([0.8, 0.3, 0.15])
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / 2 / (1 - kb), (red - luma) / 2 / (1 - kr)
    deep = pix_fmt.endswith("10le")
    step, most = (4, 1023) if deep else (1, 255)
    if full:
        samples = [luma * most, *(value * most + 128 * step for value in chroma)]
    else:
        samples = [step * (16 + 219 * luma), *(step * (128 + 224 * value) for value in chroma)]
    frame = av.VideoFrame(64, 48, pix_fmt)
    kind = np.uint16 if deep else np.uint8
    for plane, value in zip(frame.planes, samples, strict=True):
        plane.update(np.full(plane.buffer_size // kind().itemsize, round(value), kind).tobytes())
    frame.pts, frame.colorspace, frame.color_range = 0, matrix, 2 if full else 1
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    model = Identity()
    translatekit.translate(tmp_path / "in.mkv", model, tmp_path / "out.mkv", codec="ffv1")
    assert model.first is not None
    assert model.first.dtype == (np.float32 if deep else np.uint8)
    seen = model.first if deep else model.first / 255
    assert np.abs(seen - color).max() < 0.01
    with av.open(str(tmp_path / "out.mkv")) as container:
        back = next(container.decode(video=0))
        assert (back.colorspace, back.color_range) == (matrix, 2 if full else 1)
        assert max(component.bits for component in back.format.components) == (10 if deep else 8)
        first = np.frombuffer(bytes(back.planes[0]), kind)[0]
    assert abs(int(first) - samples[0]) <= 2 * step


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("out.mp4", "mpeg4"), ("out.avi", "mjpeg"), ("out.mkv", "mjpeg"), ("out.webm", "libvpx")),
        *(
            ("out.mpg", None),
            ("out.wmv", None),
            ("out.y4m", None),
            ("out.nut", "huffyuv"),
            ("out.mkv", "mpeg4"),
        ),
    ],
)
@pytest.mark.parametrize(("matrix", "full"), [(1, False), (6, True)])
def test_streams_that_do_not_say_their_colours_are_shown_in_the_same_ones(
    tmp_path: Path, name: str, codec: str | None, matrix: int, full: bool
) -> None:
    size, color = (64, 48) if full else (1280, 720), (200, 60, 40)
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        frame = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), color, np.uint8), format="rgb24")
        frame = frame.reformat(
            format="yuv444p",
            dst_colorspace=Colorspace.ITU709 if matrix == 1 else Colorspace.ITU601,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        )
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    summary = translatekit.translate(
        tmp_path / "in.mkv", Identity(), tmp_path / name, codec=codec, size="64x48"
    )
    assert summary.failed == []
    with closing(VideoReader(tmp_path / name)) as reader:
        shown = next(reader.frames())
    assert shown is not None
    assert np.abs(shown.pixels.mean(axis=(0, 1)) - color).max() < 5


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("rgb.mp4", "libx264rgb", "rgb24"), ("full.avi", "mjpeg", "yuvj420p"), ("gray.mkv", "ffv1", "gray")],
)
def test_other_samples_than_the_usual_ones(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    source = make_video(tmp_path / name, frames=3, codec=codec, pix_fmt=pix_fmt)
    assert translatekit.translate(source, Identity(), tmp_path / "out.mp4").failed == []
    before, after = facts(source), facts(tmp_path / "out.mp4")
    assert np.abs(before["upright"] - after["upright"]).mean() < 3
    assert after["colour"][3] != 0  # no decoder takes YUV for RGB


def test_the_pixel_aspect_survives_cropping(tmp_path: Path) -> None:
    def wide(container: Any, stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = make_video(tmp_path / "in.mp4", frames=2, size=(50, 70), prepare=wide)
    translatekit.translate(source, Identity(size_multiple=32), tmp_path / "out.mp4", fit="crop")
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.sample_aspect_ratio) == (64, 32, Fraction(4, 3))


def test_chapters_and_tags_survive(tmp_path: Path) -> None:
    def describe(container: Any, stream: Any) -> None:
        base = Fraction(1, 1000)
        names = ((1, 0, 200, "one"), (2, 200, 480, "two"))
        container.set_chapters(
            [
                {"id": i, "start": a, "end": b, "time_base": base, "metadata": {"title": title}}
                for i, a, b, title in names
            ]
        )
        container.metadata.update(title="A title", artist="Somebody")

    source = make_video(tmp_path / "in.mp4", frames=12, prepare=describe)
    translatekit.translate(source, Identity(), tmp_path / "out.mp4")

    def said(path: Path) -> tuple[Any, ...]:
        with av.open(str(path)) as container:
            chapters = [
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
                for c in container.chapters()
            ]
            return chapters, container.metadata["title"], container.metadata["artist"]

    assert said(tmp_path / "out.mp4") == said(source)
    assert len(said(source)[0]) == 2


@pytest.mark.parametrize("options", [{}, {"start": 0.08}])
def test_the_cover_of_a_file_is_not_its_video(tmp_path: Path, options: dict[str, float]) -> None:
    make_video(tmp_path / "plain.mp4", frames=5)
    data = io.BytesIO()
    Image.new("RGB", (40, 40), (0, 255, 0)).save(data, "JPEG")
    with av.open(str(tmp_path / "plain.mp4")) as plain, av.open(str(tmp_path / "in.mp4"), "w") as container:
        video = container.add_stream_from_template(plain.streams.video[0])
        cover: Any = container.add_stream("mjpeg")
        cover.width = cover.height = 40
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(data.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 90000)
        container.mux(packet)
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
    summary = translatekit.translate(tmp_path / "in.mp4", Identity(), tmp_path / "out.mp4", **options)
    assert summary.frames == (3 if options else 5)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[1]
        assert stream.disposition == av.stream.Disposition.attached_pic
        assert bytes(next(container.demux(stream))) == data.getvalue()


def test_a_size_that_changes_on_the_way(tmp_path: Path) -> None:
    """What is shown keeps the size that it had first."""
    make_video(tmp_path / "a.ts", frames=5, size=(48, 64))
    make_video(tmp_path / "b.ts", frames=5, size=(96, 128), times=[400, 440, 480, 520, 560])
    both = tmp_path / "in.ts"
    both.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    assert translatekit.translate(both, Identity(), tmp_path / "out.mp4").failed == []
    assert facts(tmp_path / "out.mp4")["upright"].shape == (48, 64, 3)


def test_a_model_of_gray_images(tmp_path: Path) -> None:
    model = Identity(input=GRAY, output=GRAY)
    translatekit.translate(make_video(tmp_path / "in.mp4", frames=3), model, tmp_path / "out.mp4")
    assert model.first is not None
    assert model.first.shape[2] == 1
    picture = facts(tmp_path / "out.mp4")["upright"]
    assert np.abs(picture[:, :, 0] - picture[:, :, 2]).max() < 6


def test_transparency_of_a_quicktime_file_stays(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mov"), "w") as container:
        stream: Any = container.add_stream("qtrle", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "argb"
        image = np.full((48, 64, 4), 200, np.uint8)
        image[:, :32, 3], image[:, 32:, 3] = 0, 255
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba")))
        container.mux(stream.encode(None))
    translatekit.translate(tmp_path / "in.mov", Identity(), tmp_path / "out.mov")
    with av.open(str(tmp_path / "out.mov")) as container:
        alpha = next(container.decode(video=0)).to_ndarray(format="rgba")[:, :, 3]
    assert alpha[:, :30].max() < 10
    assert alpha[:, 34:].min() > 245


def animation(path: Path) -> tuple[list[int], Any]:
    with Image.open(path) as image:
        durations = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
        return durations, image.info.get("loop")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_parts_of_an_animation(tmp_path: Path, suffix: str) -> None:
    source = make_animation(tmp_path / f"in{suffix}", [50, 70, 200, 90, 100], loop=3)
    out = tmp_path / f"out{suffix}"
    translatekit.translate(source, Identity(), out, every=2)
    assert animation(out) == ([120, 290, 100], 3)
    translatekit.translate(source, Identity(), out, start=0.05, end=0.4, force=True)
    assert animation(out) == ([70, 200, 80], 3)
    translatekit.translate(source, Identity(), out, side_by_side=True, force=True)
    with Image.open(out) as image:
        assert image.size == (64, 24)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_transparency_of_an_animation_survives_a_resize(tmp_path: Path, suffix: str) -> None:
    source = make_animation(tmp_path / f"in{suffix}", [50, 70, 200], transparent=True)
    out = tmp_path / f"out{suffix}"
    translatekit.translate(source, Identity(), out, size="64x48")
    with Image.open(out) as image:
        for index in range(3):
            image.seek(index)
            alpha = np.asarray(image.convert("RGBA"))[:, :, 3]
            assert alpha[4, 4] == 0
            assert alpha[40, 60] == 255


def test_an_animation_becomes_another_or_a_video(tmp_path: Path) -> None:
    source = make_animation(tmp_path / "in.webp", [33, 33, 34, 100], loop=1)
    translatekit.translate(source, Identity(), tmp_path / "out.gif")
    assert animation(tmp_path / "out.gif")[0] == [30, 40, 30, 100]
    translatekit.translate(source, Identity(), tmp_path / "out.mp4")
    assert facts(tmp_path / "out.mp4")["times"] == [Fraction(t, 1000) for t in (0, 33, 66, 100)]
    assert length(tmp_path / "out.mp4") == Fraction(1, 5)


def sound_of(path: Path, stream: Any, count: int) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams[stream]) if packet.size][:count]


def write_sounding(path: Path, codec: str, sound: str, layout: str) -> None:
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = container.add_stream(sound, rate=48000, layout="stereo", bit_rate=128000)
        for index in range(20):
            picture = np.full((48, 64, 3), index * 9, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            shape, kind = ((1, 4096), np.int16) if layout == "s16" else ((2, 2048), np.float32)
            samples = av.AudioFrame.from_ndarray(np.zeros(shape, kind), format=layout, layout="stereo")
            samples.sample_rate, samples.pts = 48000, index * 2048
            container.mux(audio.encode(samples))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def test_a_video_of_a_kind_that_is_only_read_becomes_an_mp4(tmp_path: Path) -> None:
    write_sounding(tmp_path / "in.avi", "mpeg4", "pcm_s16le", "s16")
    summary = translatekit.translate(tmp_path / "in.avi", Identity())
    assert summary.failed == []
    (out,) = summary.outputs
    assert out.suffix == ".mp4"
    assert times_of(out) == times_of(tmp_path / "in.avi")
    assert b"".join(sound_of(out, 1, 9999)) == b"".join(sound_of(tmp_path / "in.avi", 1, 9999))


def test_sound_that_no_output_can_hold_is_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    write_sounding(tmp_path / "in.wmv", "wmv2", "wmav2", "fltp")
    ((_, reason),) = translatekit.translate(tmp_path / "in.wmv", Identity()).failed
    assert "a .mp4 file cannot hold the input's audio as it is" in reason
    assert "let the output end in .wmv, or leave tracks out with --no-audio" in reason
    for name, options in (("out.wmv", {}), ("out.mp4", {"audio": False})):
        assert (
            translatekit.translate(tmp_path / "in.wmv", Identity(), tmp_path / name, **options).failed == []
        )
    assert sound_of(tmp_path / "out.wmv", 1, 9) == sound_of(tmp_path / "in.wmv", 1, 9)


def times_of(path: Path) -> list[Fraction]:
    times = facts(path)["times"]
    return [round((time - times[0]) * 1000) for time in times]


def test_subtitles_and_their_fonts_stay_in_an_mkv(tmp_path: Path) -> None:
    (tmp_path / "in.srt").write_text("1\n00:00:00,100 --> 00:00:00,400\nhello\n")
    make_video(tmp_path / "plain.mkv", frames=12)
    source = tmp_path / "in.mkv"
    with (
        av.open(str(tmp_path / "plain.mkv")) as plain,
        av.open(str(tmp_path / "in.srt")) as text,
        av.open(str(source), "w") as container,
    ):
        video = container.add_stream_from_template(plain.streams.video[0])
        subtitle = container.add_stream_from_template(text.streams[0])
        subtitle.metadata["language"] = "fra"
        subtitle.disposition = av.stream.Disposition.forced
        container.add_attachment("font.ttf", "font/ttf", b"a font")
        for stream, packets in ((video, plain.demux(video=0)), (subtitle, text.demux())):
            for packet in packets:
                if packet.size:
                    packet.stream = stream
                    container.mux(packet)
    assert translatekit.translate(source, Identity(), tmp_path / "out.mkv").failed == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        subtitle, font = container.streams.subtitles[0], container.streams[2]
        assert (subtitle.language, subtitle.disposition) == ("fra", av.stream.Disposition.forced)
        assert (font.name, font.data) == ("font.ttf", b"a font")
    assert sound_of(tmp_path / "out.mkv", 1, 9) == sound_of(source, 1, 9) == [b"hello"]
    model = Identity()
    (failure,) = translatekit.translate(source, model, tmp_path / "out.mp4").failed
    assert "a .mp4 file cannot hold the input's subtitle as it is" in failure[1]
    assert model.batches == []


def test_lost_transparency_is_said(data_dir: Path, tmp_path: Path) -> None:
    listener = Listener()
    source = data_dir / "videos" / "transparent.webm"
    translatekit.translate(source, Identity(), tmp_path / "out.mp4", progress=listener, end=0.2)
    (said,) = listener.said
    assert "has no transparency" in said


def write_deep(path: Path, codec: str = "libx265", hdr: bool = False, **options: str) -> Path:
    """Ten frames of 10 bits: a ramp that 8 bits do not hold; of HDR as it is broadcast, on request."""
    ramp = np.indices((96, 128)).sum(0)[:, :, None].repeat(3, 2).astype(np.uint16) * 290
    params = "log-level=error"
    if hdr:
        params += ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
        params += ":max-cll=1000,400"
    with av.open(str(path), "w") as container:
        settings = {"x265-params": params, "preset": "ultrafast"} if codec == "libx265" else {}
        stream: Any = container.add_stream(codec, rate=25, options={**settings, **options})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p10le"
        context = stream.codec_context
        if hdr:
            context.color_primaries, context.color_trc, context.colorspace = 9, 16, 9
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(ramp, format="rgb48le").reformat(format="yuv420p10le")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            if hdr:
                frame.color_primaries, frame.color_trc, frame.colorspace = 9, 16, 9
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_ten_bits_stay_in_webm(tmp_path: Path) -> None:
    listener = Listener()
    source, out = write_deep(tmp_path / "in.mkv"), tmp_path / "out.webm"
    assert translatekit.translate(source, Identity(), out, progress=listener).failed == []
    assert facts(out)["depth"] == 10
    assert listener.said == []
    translatekit.translate(source, Identity(), tmp_path / "8.webm", codec="vp8", progress=listener)
    assert "has 8 bits a channel, and the input more" in listener.said[0]


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("out.mp4", None, True),
        ("out.mkv", None, True),
        ("out.mp4", "libx264", True),
        ("out.webm", None, True),
        ("out.mov", "prores_ks", False),
    ],
)
def test_hdr_says_what_screen_it_was_made_on(
    tmp_path: Path, name: str, codec: str | None, kept: bool
) -> None:
    source, listener = write_deep(tmp_path / "in.mp4", hdr=True), Listener()
    options = {} if codec is None else {"codec": codec}
    summary = translatekit.translate(source, Identity(), tmp_path / name, progress=listener, **options)
    assert summary.failed == []
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
    if codec is None and name != "out.webm":
        assert (stream.codec_context.name, stream.codec_context.profile) == ("hevc", "Main 10")
    assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, 16, 9)
    data = {side.type.name: bytes(side) for side in frame.side_data}
    assert any("mastering display" in text for text in listener.said) == (not kept)
    if kept:
        mastering = np.frombuffer(data["MASTERING_DISPLAY_METADATA"], np.int32)[:20].reshape(10, 2)
        expected = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.005, 1000]
        assert (mastering[:, 0] / mastering[:, 1]).tolist() == pytest.approx(expected, abs=1e-4)
        assert np.frombuffer(data["CONTENT_LIGHT_LEVEL"], np.int32).tolist() == [1000, 400]


@pytest.mark.parametrize("hdr", [False, True])
def test_ten_bits_pass_through_a_float_graph(
    tmp_path: Path, hdr: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real ONNX file of float32, whose network changes nothing: what is lost around it shows."""
    pytest.importorskip("onnxruntime")
    import torch
    from translatekit_tools.graphs import export

    spec = levels_spec(3, "uint16")
    info = ModelInfo(method="test", generator="none", input=spec, output=spec, size_multiple=8, size=32)
    monkeypatch.setattr(export, "load_network", lambda path: (torch.nn.Identity(), info))
    model = tmp_path / "same.onnx"
    assert export.export_onnx(tmp_path / "x.safetensors", model, "float32").compiled["dtype"] == "float32"
    source, out, listener = write_deep(tmp_path / "in.mp4", hdr=hdr), tmp_path / "out.mp4", Listener()
    summary = translatekit.translate(source, model, out, progress=listener, quality=100)
    assert summary.failed == []
    before, after = facts(source), facts(out)
    assert (before["depth"], after["depth"]) == (10, 10)
    assert after["colour"][1:] == before["colour"][1:] == ((9, 16, 9) if hdr else (2, 2, 2))
    assert after["colour"][0] in (0, before["colour"][0])  # nothing said stands for limited, as in the source
    assert after["times"] == before["times"]
    lumas = []
    for path in (source, out):
        with av.open(str(path)) as container:
            lumas.append(next(container.decode(video=0)).to_ndarray(format="yuv420p10le")[:96].astype(int))
    assert len(np.unique(lumas[0] >> 2)) < len(np.unique(lumas[1]))  # more levels than 8 bits have
    assert np.abs(lumas[1] - lumas[0]).mean() < 2  # of 1,023
    assert len(listener.said) == hdr  # that the model sees it as it is


def test_a_model_of_eight_bits_is_said_to_be_one(tmp_path: Path) -> None:
    listener = Listener()
    model = Identity(lambda batch: np.rint(batch * 255).astype(np.float32) / np.float32(255))
    model.dtypes = ("uint8",)
    translatekit.translate(write_deep(tmp_path / "in.mp4"), model, tmp_path / "out.mp4", progress=listener)
    assert listener.said.count(cut_to_8_bits(str(tmp_path / "in.mp4"))) == 1


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_the_frame_rate_is_written(tmp_path: Path, suffix: str) -> None:
    source, out = make_video(tmp_path / "in.mp4", frames=10), tmp_path / f"out{suffix}"
    for every in (1, 2):
        translatekit.translate(source, Identity(), out, every=every, force=True)
        with av.open(str(out)) as container:
            assert container.streams.video[0].average_rate == Fraction(25, every)


def write_interlaced(path: Path) -> Path:
    """A bar that moves between the two fields of a frame."""
    with av.open(str(path), "w") as container:
        options = {"x264-params": "tff=1", "crf": "5"}
        stream: Any = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for index in range(12):
            image = np.full((96, 128, 3), 40, np.uint8)
            image[0::2, index * 8 : index * 8 + 16] = 220
            image[1::2, index * 8 + 8 : index * 8 + 24] = 220
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("deinterlace", [True, False])
def test_interlaced_frames_are_made_whole_and_it_is_said(tmp_path: Path, deinterlace: bool) -> None:
    def combed(frame: np.ndarray) -> bool:
        rows = frame[:, :, 0].astype(float)
        return bool(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).max() > 100)

    seen: list[np.ndarray] = []
    source, listener = write_interlaced(tmp_path / "in.ts"), Listener()
    model = Identity(lambda batch: seen.extend(batch) or batch)
    summary = translatekit.translate(
        source, model, tmp_path / "out.mp4", progress=listener, deinterlace=deinterlace
    )
    assert summary.frames == len(seen) == 12
    assert combed(seen[5]) == (not deinterlace)
    (said,) = listener.said
    assert "the video is interlaced" in said
    assert times_of(tmp_path / "out.mp4") == times_of(source)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not next(container.decode(video=0)).interlaced_frame


@pytest.mark.parametrize(
    "suffix",
    [".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".mxf", ".flv", ".wmv", ".3gp", ".nut", ".y4m"],
)
def test_every_ending_that_can_be_written_can_be_read(tmp_path: Path, suffix: str) -> None:
    source = make_video(tmp_path / "in.mp4", frames=130)
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.mp4"
    assert translatekit.translate(source, Identity(), there).failed == []
    assert translatekit.translate(there, Identity(), back).failed == []
    before, after = facts(source), facts(back)
    assert times_of(back) == times_of(source)
    assert np.abs(after["upright"] - before["upright"]).mean() < 4


def test_a_varying_frame_rate_does_not_go_where_frames_are_counted(data_dir: Path, tmp_path: Path) -> None:
    model = Identity()
    source = data_dir / "videos" / "variable frame rate.mov"
    ((_, reason),) = translatekit.translate(source, model, tmp_path / "out.avi", audio=False).failed
    assert "the frame rate of the video varies" in reason
    assert model.batches == []


def test_neither_does_an_animation_whose_durations_vary(tmp_path: Path) -> None:
    model = Identity()
    source = make_animation(tmp_path / "in.gif", [100, 250, 40, 500, 70])
    ((_, reason),) = translatekit.translate(source, model, tmp_path / "out.avi").failed
    assert "the frame rate of the video varies" in reason
    assert model.batches == []
    source = make_animation(tmp_path / "even.gif", [100, 100, 100, 900])
    assert translatekit.translate(source, model, tmp_path / "even.avi").failed == []
    with av.open(str(tmp_path / "even.avi")) as container:
        assert container.streams.video[0].average_rate == 10
        assert len(list(container.decode(video=0))) == 4


def test_tracks_are_chosen(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "videos" / "two_audio_tracks_subtitles.mp4"

    def tracks(**options: Any) -> list[tuple[str, str | None]]:
        out = tmp_path / "out.mp4"
        summary = translatekit.translate(source, Identity(), out, size=32, end=0.3, force=True, **options)
        assert summary.failed == []
        with av.open(str(out)) as container:
            return [(stream.type, stream.language) for stream in container.streams]

    everything = tracks()
    kinds = [kind for kind, _ in everything]
    assert (kinds.count("audio"), kinds.count("subtitle")) == (2, 2)
    assert [kind for kind, _ in tracks(audio=False)] == [kind for kind in kinds if kind != "audio"]
    languages = [language for kind, language in everything if kind == "audio"]
    assert tracks(map="a:1")[1:] == [("audio", languages[1])]
    assert [kind for kind, _ in tracks(map="v:0,s")] == ["video", "subtitle", "subtitle"]
    ((_, reason),) = translatekit.translate(source, Identity(), tmp_path / "no.mp4", map="a:7").failed
    assert "--map a:7 names a track that is not there: it has v:0" in reason
    with pytest.raises(OptionError, match="--map takes tracks such as"):
        translatekit.translate(source, Identity(), tmp_path / "no.mp4", map="sound")


def test_another_picture_track_is_translated(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "videos" / "two_audio_tracks_subtitles.mp4"
    with av.open(str(source)) as container:
        second = container.streams.video[1]
        size = second.width, second.height
        count = sum(packet.size > 0 for packet in container.demux(second))
    summary = translatekit.translate(source, Identity(), tmp_path / "out.mp4", map="v:1")
    assert summary.frames == count
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert (container.streams.video[0].width, container.streams.video[0].height) == size


def test_odd_sides_become_even_on_request(tmp_path: Path) -> None:
    source = make_video(tmp_path / "in.mkv", frames=3, size=(37, 51), codec="ffv1", pix_fmt="bgr0")
    assert translatekit.translate(source, Identity(), tmp_path / "out.mp4", even=True).failed == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (52, 38, "yuv420p")
        image = next(container.decode(stream)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(image[:, -1] - image[:, -2]).max() < 30
