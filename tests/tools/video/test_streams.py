"""Videos in pipes, over HTTP, and as numbered images."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from translatekit_tools.bulk.addresses import parse_rate, sequence_files
from translatekit_tools.bulk.tracks import moved_timecode
from translatekit_tools.cli.run import run as run_command

import translatekit
from translatekit.errors import DataError, OptionError, StorageError

from .conftest import Identity, Listener, make_video
from .test_round_trip import facts, write_deep
from .test_video import small_model, times


class Pipe:
    """A file of Python's that is one end of a pipe."""

    def __init__(self, file: Any) -> None:
        self.buffer = file

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that translates with bytes on standard input, and returns those on standard output."""

    def translate(source: Any, data: bytes, out: Any, **options: Any) -> tuple[Any, bytes]:
        came, feed = os.pipe()
        drain, went = os.pipe()
        received = io.BytesIO()

        def write() -> None:
            with os.fdopen(feed, "wb") as file:
                file.write(data)

        def read() -> None:
            with os.fdopen(drain, "rb") as file:
                received.write(file.read())

        threads = [threading.Thread(target=work) for work in (write, read)]
        for thread in threads:
            thread.start()
        with os.fdopen(came, "rb") as stdin, os.fdopen(went, "wb") as stdout:
            monkeypatch.setattr(sys, "stdin", Pipe(stdin))
            monkeypatch.setattr(sys, "stdout", Pipe(stdout))
            try:
                summary = translatekit.translate(source, options.pop("model", Identity()), out, **options)
            finally:
                monkeypatch.undo()
        for thread in threads:
            thread.join(timeout=30)
        return summary, received.getvalue()

    return translate


@pytest.mark.parametrize("container", ["mkv", "nut", "ts", "mp4", "mov", "y4m"])
def test_a_video_goes_into_a_pipe_and_comes_out_of_one(tmp_path: Path, piped: Any, container: str) -> None:
    source = make_video(tmp_path / "in.mp4", frames=30)
    summary, data = piped(source, b"", "-", container=container)
    assert summary.failed == []
    assert summary.frames == 30
    summary, _ = piped("-", data, tmp_path / "out.mp4")
    assert summary.failed == []
    assert times(tmp_path / "out.mp4") == times(source)
    before, after = facts(source), facts(tmp_path / "out.mp4")
    assert np.abs(after["upright"] - before["upright"]).mean() < 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".translatekit-manifest.jsonl",
        "in.mp4",
        "out.mp4",
    ]


def test_sound_goes_through_pipes(data_dir: Path, tmp_path: Path, piped: Any) -> None:
    source = data_dir / "videos" / "bunny_480p_audio.mp4"
    summary, data = piped(source, b"", "-", container="mov", size=32)
    assert summary.failed == []
    summary, _ = piped("-", data, tmp_path / "out.mp4")
    assert summary.failed == []
    before, after = facts(source), facts(tmp_path / "out.mp4")
    assert after["times"] == before["times"]
    (packets,), (expected,) = after["packets"], before["packets"]
    assert [data for _, data in packets] == [data for _, data in expected]
    late = [float(b - a) for (a, _), (b, _) in zip(expected, packets, strict=True)]
    assert max(late) - min(late) < 1e-4
    assert abs(late[0]) < 1e-4


@pytest.mark.parametrize("container", ["mkv", "mp4", "ts"])
def test_sound_that_a_pipe_cannot_hold_is_not_blamed_on_the_encoder(
    data_dir: Path, tmp_path: Path, piped: Any, container: Any
) -> None:
    """AAC of MPEG-TS says in each packet what other formats say once, at the beginning."""
    original = data_dir / "videos" / "bunny_480p_audio.mp4"
    summary = translatekit.translate(original, Identity(), tmp_path / "in.ts", size=32, end=1.0)
    assert summary.failed == []
    summary, _ = piped(tmp_path / "in.ts", b"", "-", container=container)
    if container == "ts":
        assert summary.failed == []
    else:
        ((_, reason),) = summary.failed
        assert "tracks of the input" in reason
        assert "--no-audio" in reason


def test_raw_frames_in_and_out(tmp_path: Path, piped: Any) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 37, 51, 3), np.uint8)
    model = Identity(lambda batch: 255 - batch, size_multiple=1)
    options = {"raw": "51x37", "fps": "10"}
    summary, data = piped("-", frames.tobytes(), "-", model=model, container="raw", **options)
    assert summary.failed == []
    assert data == (255 - frames).tobytes()
    summary, _ = piped("-", frames.tobytes(), tmp_path / "out.mkv", codec="ffv1", pix_fmt="bgr0", **options)
    assert times(tmp_path / "out.mkv") == [Fraction(index, 10) for index in range(5)]
    gray = np.arange(4 * 6 * 8, dtype=np.uint8)
    options = {"raw": "8x6:gray", "fps": "10", "pix_fmt": "gray"}
    _, data = piped("-", gray.tobytes(), "-", container="raw", **options)
    assert np.abs(np.frombuffer(data, np.uint8).astype(int) - gray).max() <= 2


def test_ten_bits_of_y4m(tmp_path: Path, piped: Any) -> None:
    source = write_deep(tmp_path / "in.mp4")
    _, data = piped(source, b"", "-", container="y4m")
    assert data.startswith(b"YUV4MPEG2 W128 H96 F25:1 Ip A1:1 C420p10 XCOLORRANGE=LIMITED\nFRAME\n")
    assert len(data) == len(data.split(b"\n")[0]) + 1 + 10 * (6 + 128 * 96 * 3)
    (tmp_path / "back.y4m").write_bytes(data)
    assert facts(tmp_path / "back.y4m")["depth"] == 10


def test_a_varying_rate_is_made_even_where_frames_have_no_times(data_dir: Path, piped: Any) -> None:
    source, listener = data_dir / "videos" / "variable frame rate.mov", Listener()
    _, data = piped(source, b"", "-", container="y4m", size=32, progress=listener)
    with av.open(io.BytesIO(data)) as container:
        rate = container.streams.video[0].average_rate
        count = sum(1 for _ in container.decode(video=0))
    assert rate is not None
    # The last frame is shown once.
    assert abs(count / rate - (times(source)[-1] - times(source)[0])) < Fraction(3, 2) / rate
    assert any("frame rate of the video varies" in text for text in listener.said)


def test_what_does_not_fit_a_pipe_is_said(tmp_path: Path, piped: Any) -> None:
    source = make_video(tmp_path / "in.mp4", frames=3)
    ((_, reason),) = piped("-", b"not a video" * 100, tmp_path / "out.mp4")[0].failed
    assert "standard input cannot be read as a video" in reason
    with pytest.raises(OptionError, match="not written to standard output"):
        translatekit.translate(source, Identity(), "-", container="avi")
    with pytest.raises(OptionError, match="a stream is translated by itself, got 2 inputs"):
        translatekit.translate([source, "-"], Identity(), tmp_path / "out")
    with pytest.raises(OptionError, match="has no name: pass -o"):
        translatekit.translate("-", Identity())
    with pytest.raises(OptionError, match="pass --fps with it"):
        translatekit.translate("-", Identity(), tmp_path / "x.mp4", raw="64x48")
    for given, frames in (("-", {}), (source, {}), (tmp_path, {}), (source, {"raw": "64x48"})):
        with pytest.raises(
            OptionError, match="--raw says what" if frames else "--fps says how long .* leave it out"
        ):
            translatekit.translate(given, Identity(), tmp_path / "x.mp4", fps="5", **frames)
    for given, out in (("-", "-"), ("-", tmp_path / "x.mp4"), (source, "-"), (source, tmp_path / "x.mp4")):
        with pytest.raises(
            OptionError, match=r"--frames writes images in place of a video, and .* unwritten"
        ):
            translatekit.translate(given, Identity(), out, frames=str(tmp_path / "frames"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(OptionError, match="-o - writes a video"):
        translatekit.translate(tmp_path / "a.png", Identity(), "-")
    assert not Path("-").exists()


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "translatekit", "run", *map(str, arguments)]


def test_the_program_in_a_line_of_programs(tmp_path: Path) -> None:
    source, model = make_video(tmp_path / "in.mp4", frames=12), tmp_path / "model.safetensors"
    small_model(model)
    first = subprocess.Popen(
        program(source, "-m", model, "-o", "-", "--container", "y4m"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    second = subprocess.run(
        program("-", "-m", model, "-o", tmp_path / "out.mp4", "--json"),
        stdin=first.stdout,
        capture_output=True,
        text=True,
    )
    assert first.stdout is not None
    first.stdout.close()
    _, errors = first.communicate(timeout=60)
    assert first.returncode == second.returncode == 0, (errors, second.stderr)
    assert json.loads(second.stdout)["frames"] == 12
    assert times(tmp_path / "out.mp4") == times(source)


def test_a_video_and_a_summary_do_not_share_standard_output(tmp_path: Path) -> None:
    result = CliRunner().invoke(run_command, ["in.mp4", "-m", "x.safetensors", "-o", "-", "--json"])
    assert isinstance(result.exception, OptionError)
    assert "both want standard output" in str(result.exception)


def test_a_reader_that_ends_early_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_video(tmp_path / "in.mp4", frames=100)
    for container in ("raw", "mkv"):
        drain, went = os.pipe()
        thread = threading.Thread(target=lambda end: (os.read(end, 1000), os.close(end)), args=(drain,))
        thread.start()
        with os.fdopen(went, "wb") as stdout, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", Pipe(stdout))
            summary = translatekit.translate(
                source,
                Identity(),
                "-",
                container=container,
                codec="ffv1",
                pix_fmt="bgr0" if container == "mkv" else "rgb24",
            )
        thread.join(timeout=30)
        ((_, reason),) = summary.failed
        assert "whoever reads standard output has ended" in reason


class Handler(SimpleHTTPRequestHandler):
    """Serves parts of files, too, as web servers do."""

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # FFmpeg goes to another place
            self.wfile.write(data[start:])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_video_over_http(tmp_path: Path, server: str, data_dir: Path) -> None:
    name = "ntsc_2997_audio.mp4"
    (tmp_path / "served" / name).write_bytes((data_dir / "videos" / name).read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    summary = translatekit.translate(f"{server}/{name}", Identity(), out, size=32)
    assert summary.failed == []
    assert summary.outputs == [out / name]
    before, after = facts(data_dir / "videos" / name), facts(out / name)
    assert after["times"] == before["times"]
    assert after["packets"] == before["packets"]
    (failure,) = translatekit.translate(f"{server}/nothing.mp4", Identity(), out).failed
    assert "check the address" in failure[1]
    assert "404" in failure[1]
    assert "secret" not in str(failure)
    Image.new("RGB", (32, 24)).save(tmp_path / "served" / "a.png")
    assert translatekit.translate(f"{server}/a.png", Identity(), out).outputs == [out / "a.png"]
    with pytest.raises(StorageError, match=r"there is no .*/b\.png: check the address"):
        translatekit.translate(f"{server}/b.png", Identity(), out)
    with pytest.raises(DataError, match="only http and https are"):
        translatekit.translate("rtmp://127.0.0.1/x", Identity(), out)


def write_images(folder: Path, numbers: list[int], kind: str = "frame_%04d.png", deep: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        if deep:
            Image.fromarray(np.full((24, 32), number * 1000, np.uint16)).save(folder / (kind % number))
        else:
            Image.new("RGB", (32, 24), (number * 20 % 256, 60, 90)).save(folder / (kind % number))
    return folder / kind


def test_numbered_images_become_a_video(tmp_path: Path) -> None:
    pattern = write_images(tmp_path / "in", [*range(5, 12)])
    small_model(tmp_path / "model.safetensors")
    out = tmp_path / "out.mp4"
    for outcome in ("translated", "skipped"):
        summary = translatekit.translate(pattern, tmp_path / "model.safetensors", out, fps="29.97")
        assert summary.failed == []
        assert getattr(summary, outcome) == 1
    assert times(out) == [Fraction(index * 1001, 30000) for index in range(7)]
    Image.new("RGB", (32, 24)).save(tmp_path / "in" / "frame_0007.png")
    assert translatekit.translate(pattern, tmp_path / "model.safetensors", out, fps="29.97").translated == 1
    translatekit.translate(pattern, Identity(), tmp_path / "out.mkv", fps="5", codec="ffv1", pix_fmt="bgr0")
    with av.open(str(tmp_path / "out.mkv")) as container:
        first, *_ = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
    assert first[0, 0].tolist() == [100, 60, 90]


def test_what_is_wrong_with_numbered_images_is_said(tmp_path: Path) -> None:
    pattern = write_images(tmp_path / "in", [1, 2, 4])
    ((_, reason),) = translatekit.translate(pattern, Identity(), tmp_path / "out.mp4", fps="10").failed
    assert "frame_0003.png is missing" in reason
    summary = translatekit.translate(pattern, Identity(), tmp_path / "out.mp4", fps="10", skip_damaged=True)
    assert summary.failed == []
    assert times(tmp_path / "out.mp4") == [Fraction(0), Fraction(1, 10), Fraction(3, 10)]
    ((_, reason),) = translatekit.translate(pattern, Identity(), tmp_path / "no.mp4").failed
    assert "pass --fps" in reason
    Image.new("RGB", (16, 24)).save(tmp_path / "in" / "frame_0003.png")
    ((_, reason),) = translatekit.translate(pattern, Identity(), tmp_path / "no.mp4", fps="10").failed
    assert "frame_0003.png has 16x24 pixels" in reason
    with pytest.raises(DataError, match="no image is named like"):
        sequence_files(tmp_path / "other_%d.png")


def test_numbered_images_of_sixteen_bits_stay_deep(tmp_path: Path) -> None:
    pattern = write_images(tmp_path / "in", [1, 2, 3], "%d.png", deep=True)
    assert translatekit.translate(pattern, Identity(), tmp_path / "out.mp4", fps="25").failed == []
    assert facts(tmp_path / "out.mp4")["depth"] == 10


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("25", Fraction(25)),
        ("29.97", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("12.5", Fraction(25, 2)),
        ("0.5", Fraction(1, 2)),
    ],
)
def test_rates(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "-1", "nan", "1/0", "25fps", "1e9", "100000", ""])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(OptionError, match="--fps takes frames a second"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "frames", "rate", "later"),
    [
        ("01:00:00:00", 25, Fraction(25), "01:00:01:00"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", 1, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 17982, Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", 107892, Fraction(30000, 1001), "01:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("some text", 5, Fraction(25), "some text"),
    ],
)
def test_time_codes(text: str, frames: int, rate: Fraction, later: str) -> None:
    """The numbers of SMPTE ST 12-1: 17982 frames are ten minutes of 29.97 a second."""
    assert moved_timecode(text, frames, rate) == later
