"""Videos of a high dynamic range: they are named, and shown to the model as they are or tone-mapped."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from translatekit_tools.prepare.frames import extract_frames
from translatekit_tools.prepare.options import FramesOptions

import translatekit
from translatekit.images import read_image
from translatekit.types import HdrHandling

from .conftest import Identity, Listener, make_video

PQ, HLG, BT709, BT2020 = 16, 18, 1, 9
NITS = (0, 1, 10, 100, 203, 1000)  # 203 is white on paper (ITU-R BT.2408)


def pq_code(nits: float) -> float:
    """The inverse of the electro-optical transfer function of SMPTE ST 2084."""
    power = (nits / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def write_hdr(path: Path, transfer: int = PQ, primaries: int = BT2020) -> Path:
    """Three frames of 10 bits: gray bars of the luminances `NITS`, as PQ codes them, 16 pixels each."""
    bars = np.repeat([pq_code(nits) for nits in NITS], 16)
    pixels = np.rint(np.broadcast_to(bars[None, :, None], (32, len(bars), 3)) * 65535).astype(np.uint16)
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=error:lossless=1", "preset": "ultrafast"}
        stream: Any = container.add_stream("libx265", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = pixels.shape[1], pixels.shape[0], "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = primaries, transfer, primaries
        context.color_range = 1
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le")
            frame = frame.reformat(
                format="yuv420p10le", src_colorspace=9, dst_colorspace=9, dst_color_range=1
            )
            frame.color_primaries, frame.color_trc, frame.colorspace = primaries, transfer, primaries
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def levels(image: np.ndarray) -> list[float]:
    """The middles of the bars, of values in [0, 1]."""
    return [float(value) for value in image[16, 8::16, 1]]


def description(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame.color_primaries, frame.color_trc, frame.colorspace


@pytest.mark.parametrize(
    ("transfer", "name"),
    [(PQ, "HDR (PQ, BT.2020)"), (HLG, "HDR (HLG, BT.2020)"), (14, "wide-gamut SDR (BT.2020)")],
)
def test_what_the_model_sees_is_said_once(tmp_path: Path, transfer: int, name: str) -> None:
    source, model, listener = write_hdr(tmp_path / "in.mp4", transfer), Identity(), Listener()
    summary = translatekit.translate(source, model, tmp_path / "out.mp4", progress=listener, quality=100)
    assert summary.failed == []
    (said,) = listener.said
    assert said.startswith(f"{source} is {name}: ")
    for words in ("as they are", "no tone mapping", "keeps its colour description", "--hdr sdr"):
        assert words in said
    assert summary.hdr == {f"{name}, values as they are": 1}
    assert summary.to_dict()["hdr"] == summary.hdr
    assert model.first is not None
    assert levels(model.first) == pytest.approx([pq_code(nits) for nits in NITS], abs=0.004)
    assert description(tmp_path / "out.mp4") == description(source) == (BT2020, transfer, BT2020)


def test_of_others_nothing_is_said(tmp_path: Path) -> None:
    listener = Listener()
    summary = translatekit.translate(
        make_video(tmp_path / "in.mp4", 3), Identity(), tmp_path / "out.mp4", progress=listener, hdr="sdr"
    )
    assert (listener.said, summary.hdr) == ([], {})


@pytest.mark.parametrize("out", ["out.y4m", "frames"])
def test_where_no_description_can_be_kept_that_is_said(tmp_path: Path, out: str) -> None:
    source, listener = write_hdr(tmp_path / "in.mp4"), Listener()
    place: dict[str, Any] = {"frames": str(tmp_path / out)} if out == "frames" else {}
    translatekit.translate(source, Identity(), None if place else tmp_path / out, progress=listener, **place)
    assert "does not say so" in listener.said[0]


def test_tone_mapping_makes_sdr_of_it(tmp_path: Path) -> None:
    source, model, listener = write_hdr(tmp_path / "in.mp4"), Identity(), Listener()
    out = tmp_path / "out.mp4"
    summary = translatekit.translate(source, model, out, progress=listener, hdr="sdr")
    assert summary.failed == []
    assert listener.said == []
    assert summary.hdr == {"HDR (PQ, BT.2020), tone-mapped to SDR": 1}
    assert description(out) == (BT709, BT709, BT709)
    assert model.first is not None
    seen = levels(model.first)
    assert seen == sorted(seen)
    assert seen[0] < 0.01
    assert 0.5 < seen[4] < 0.75  # white on paper leaves room for what is brighter
    assert seen[4] < seen[5] < 1
    assert seen[2] < pq_code(NITS[2])  # SDR is darker in its shadows than the codes of PQ are
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert max(component.bits for component in frame.format.components) == 10


@pytest.mark.parametrize("hdr", ["keep", pytest.param("sdr", marks=pytest.mark.slow)])
def test_frames_for_training_are_what_the_model_sees_in_a_run(tmp_path: Path, hdr: HdrHandling) -> None:
    source, model = write_hdr(tmp_path / "in.mp4"), Identity()
    translatekit.translate(source, model, tmp_path / "out.mp4", hdr=hdr)
    made = extract_frames([source], tmp_path / "frames", FramesOptions(hdr=hdr, every=3))
    pixels = read_image(made.written[0]).pixels
    assert pixels.dtype == np.uint16
    assert model.first is not None
    np.testing.assert_allclose(pixels / 65535, model.first, atol=1 / 65535)
    (note,) = made.notes
    assert note.startswith(f"{source} is HDR (PQ, BT.2020): ")


def test_frames_in_a_format_of_8_bits_are_said_to_be(tmp_path: Path) -> None:
    source = write_hdr(tmp_path / "in.mp4")
    made = extract_frames([source], tmp_path / "frames", FramesOptions(format="jpg"))
    assert read_image(made.written[0]).pixels.dtype == np.uint8
    assert any("8: pass --format png" in note for note in made.notes)
