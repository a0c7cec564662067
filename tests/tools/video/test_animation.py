"""Animations frame by frame, against another library's decoder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk.video.animation import AnimationReader
from translatekit_tools.bulk.video.containers import read_png
from translatekit_tools.bulk.video.reader import UnreadableVideoError

import translatekit
from tests.fakes import Told
from translatekit.inference.inputs import cut_to_8_bits

from .conftest import Identity

SIDES = (24, 32)
EXACT = (".png", ".apng", ".gif")
LOSSY = (".webp", ".avif")
KINDS = {".png": "PNG", ".apng": "PNG", ".gif": "GIF", ".webp": "WEBP", ".avif": "AVIF"}


def frames(count: int, alpha: bool = False, seed: int = 0) -> list[np.ndarray]:
    """A square that moves over flat colours; with alpha, over nothing."""
    made = []
    for index in range(count):
        image = np.zeros((*SIDES, 4), np.uint8)
        image[:, :] = (30, 90, 200, 0 if alpha else 255)
        image[4:14, 2 + index : 14 + index] = (220, 40 * index % 256, 20, 255)
        made.append(image if alpha else image[:, :, :3])
    return made


def write(path: Path, images: list[np.ndarray], durations: list[float], loop: int | None = 0) -> Path:
    """By Pillow, of frames that differ."""
    pictures = [Image.fromarray(image) for image in images]
    settings: dict[str, object] = {} if loop is None else {"loop": loop}
    if path.suffix in LOSSY:
        settings |= {"quality": 100}
    if path.suffix == ".avif":
        settings |= {"subsampling": "4:4:4"}
    if path.suffix == ".webp":
        settings |= {"lossless": True}
    if path.suffix == ".gif":
        settings |= {"disposal": 2}
    pictures[0].save(
        path, KINDS[path.suffix], save_all=True, append_images=pictures[1:], duration=durations, **settings
    )
    return path


def decoded(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """Frames as RGBA or RGB, and their durations in milliseconds, by OpenCV."""
    done, animation = cv2.imreadanimation(str(path))
    assert done, path
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    return [frame[:, :, order[frame.shape[2]]] for frame in animation.frames], list(animation.durations)


def pillow(path: Path) -> tuple[int, list[float], object]:
    with Image.open(path) as image:
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            durations.append(image.info.get("duration"))
        return image.n_frames, durations, image.info.get("loop")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("suffix", [*EXACT, *LOSSY])
def test_every_frame_and_duration_is_kept(tmp_path: Path, suffix: str, alpha: bool) -> None:
    durations = [100, 250, 40, 500, 70]
    source = write(tmp_path / f"in{suffix}", frames(5, alpha), durations)
    out = tmp_path / f"out{suffix}"
    summary = translatekit.translate(source, Identity(), out)
    assert summary.frames == 5
    got, times = decoded(out)
    assert times == durations
    assert len(got) == 5
    for image, wanted in zip(got, frames(5, alpha), strict=True):
        seen = wanted[:, :, 3] > 0 if alpha else np.ones(SIDES, bool)
        difference = np.abs(image[:, :, :3].astype(int) - wanted[:, :, :3])[seen]
        assert difference.max() == 0 if suffix in EXACT else difference.mean() < 12
        if alpha:
            assert (image[:, :, 3] > 127).tolist() == (wanted[:, :, 3] > 127).tolist()


@pytest.mark.parametrize("suffix", [*EXACT, *LOSSY])
def test_equal_frames_stay_as_many(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / f"in{suffix}", frames(7), [100] * 7, loop=None if suffix == ".avif" else 3)
    out = tmp_path / f"out{suffix}"
    gray = Identity(lambda batch: np.full_like(batch, 127))  # what comes out is the same for all
    translatekit.translate(source, gray, out)
    got, times = decoded(out)
    assert len(got) == 7
    assert times == [100] * 7
    assert all(abs(int(frame[:, :, :3].mean()) - 127) <= 1 for frame in got)
    assert pillow(out)[2] == (None if suffix == ".avif" else 3)


@pytest.mark.parametrize(
    ("suffix", "loop"), [(".gif", None), (".gif", 0), (".gif", 4), (".webp", 5), (".png", 5)]
)
def test_it_is_shown_as_often_in_every_format(tmp_path: Path, suffix: str, loop: int | None) -> None:
    source = write(tmp_path / f"in{suffix}", frames(3), [100] * 3, loop)
    plays = {None: 1, 0: 0}.get(loop, loop + (suffix == ".gif") if loop else 0)
    for other in (".gif", ".webp", ".png"):
        out = tmp_path / f"out{other}"
        translatekit.translate(source, Identity(), out, force=True)
        assert AnimationReader(out).plays == plays
    gif = None if plays == 1 else max(0, plays - 1)
    assert pillow(tmp_path / "out.gif")[2] == gif


def test_fractions_of_a_second_of_a_png_are_exact(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", frames(4), [1000 / 30, 1000 / 30, 1000 / 24, 20])
    translatekit.translate(source, Identity(), tmp_path / "out.png")
    assert pillow(tmp_path / "out.png")[1] == pillow(source)[1]
    translatekit.translate(source, Identity(), tmp_path / "out.gif")
    assert pillow(tmp_path / "out.gif")[1] == [30, 40, 40, 20]  # they end at 33, 67, 108 and 128 ms


def test_frames_of_a_png_are_compressed_as_asked(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", frames(4), [100] * 4)
    sizes = []
    for compression in (0, 9):
        translatekit.translate(source, Identity(), tmp_path / "out.png", compression=compression, force=True)
        sizes.append((tmp_path / "out.png").stat().st_size)
    assert sizes[0] > sizes[1]


def test_a_png_without_its_fallback(tmp_path: Path) -> None:
    """The first image is for programs that show no animations, and is none of its frames."""
    pictures = [Image.fromarray(image) for image in frames(4)]
    pictures[0].save(
        tmp_path / "in.png", save_all=True, append_images=pictures[1:], duration=100, default_image=True
    )
    translatekit.translate(tmp_path / "in.png", Identity(), tmp_path / "out.png")
    got, _ = decoded(tmp_path / "out.png")
    assert len(got) == 3
    np.testing.assert_array_equal(got[0][:, :, :3], frames(4)[1])


def test_frames_beyond_a_gifs_screen_are_cut(tmp_path: Path) -> None:
    source = write(tmp_path / "in.gif", frames(3), [100] * 3)
    data = bytearray(source.read_bytes())
    data[6:10] = struct.pack("<HH", 20, 18)  # the screen
    # The first frame must not reach beyond it: browsers, too, enlarge the screen for the first.
    first = data.index(b",\0\0\0\0" + struct.pack("<HH", SIDES[1], SIDES[0]))
    small = Image.new("P", (20, 18))
    small.putpalette([1, 2, 3] * 256)
    small.save(tmp_path / "small.gif")
    still = (tmp_path / "small.gif").read_bytes()
    descriptor = still.index(b",\0\0\0\0" + struct.pack("<HH", 20, 18))
    end = data.index(b"!\xf9", first)
    data[first:end] = still[descriptor:-1]
    source.write_bytes(data)
    out = tmp_path / "out.gif"
    translatekit.translate(source, Identity(), out)
    with Image.open(out) as image:
        assert image.n_frames == 3
        assert image.size == (20, 18)
        image.seek(2)
        assert image.size == (20, 18)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), frames(3)[2][:18, :20])


def test_an_animated_png_of_16_bits_keeps_them(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "images" / "apng_mode_16bit.png"
    translatekit.translate(source, Identity(), tmp_path / "out.png")
    before, after = AnimationReader(source), AnimationReader(tmp_path / "out.png")
    assert before.info.deep
    assert after.info.deep
    assert before.info.frames == after.info.frames > 1
    for a, b in zip(before.frames(), after.frames(), strict=True):
        assert a is not None
        assert b is not None
        np.testing.assert_allclose(a.pixels, b.pixels, rtol=0, atol=1e-6)


def test_a_model_of_8_bits_makes_an_animation_of_8_bits_and_says_so(tmp_path: Path, data_dir: Path) -> None:
    model, told = Identity(), Told()
    model.dtypes = ("uint8",)  # type: ignore[attr-defined]
    source = data_dir / "images" / "apng_mode_16bit.png"
    translatekit.translate(source, model, tmp_path / "out.png", progress=told)
    assert not AnimationReader(tmp_path / "out.png").info.deep
    assert told.said.count(cut_to_8_bits(str(source))) == 1


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("disposal", [0, 1, 2])
@pytest.mark.parametrize("blend", [0, 1])
def test_frames_of_a_png_are_laid_over_each_other_as_in_another_decoder(
    tmp_path: Path, alpha: bool, disposal: int, blend: int
) -> None:
    pictures = [Image.fromarray(image) for image in frames(5, alpha)]
    if alpha:
        pictures[2].putalpha(100)
    path = tmp_path / "in.png"
    settings = {"duration": 100, "disposal": disposal, "blend": blend}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **settings)
    theirs, _ = decoded(path)
    for ours, other in zip(read_png(path.read_bytes()), theirs, strict=True):
        assert ours.dtype == np.uint8
        if other.shape[2] == 4:
            np.testing.assert_allclose(ours[:, :, 3].astype(int), other[:, :, 3], atol=1)
        shown = ours[:, :, 3] > 0
        np.testing.assert_allclose(ours[shown][:, :3].astype(int), other[shown][:, :3], atol=2)


def test_a_deep_avif_says_that_it_becomes_8_bits(tmp_path: Path) -> None:
    stack = np.stack(frames(3)).astype(np.uint16) * 4
    source = tmp_path / "in.avif"
    source.write_bytes(imagecodecs.avif_encode(stack, bitspersample=10, level=90))
    assert AnimationReader(source).info.frames == 3
    told = Told()
    translatekit.translate(source, Identity(), tmp_path / "out.avif", progress=told)
    assert any("more than 8 bits" in text for text in told.said)


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    data, place, found = path.read_bytes(), 8, []
    while place < len(data):
        length = struct.unpack_from(">I", data, place)[0]
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        place += 12 + length
    return found


def test_a_png_is_put_together_as_the_specification_says(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", frames(4), [100] * 4, loop=2)
    translatekit.translate(source, Identity(), tmp_path / "out.png")
    parts = chunks(tmp_path / "out.png")
    names = [kind for kind, _ in parts]
    assert names[:3] == [b"IHDR", b"acTL", b"fcTL"]
    assert names.index(b"acTL") < names.index(b"IDAT") < names.index(b"fdAT")
    assert struct.unpack(">II", dict(parts)[b"acTL"]) == (4, 2)
    numbers = [struct.unpack(">I", body[:4])[0] for kind, body in parts if kind in (b"fcTL", b"fdAT")]
    assert numbers == list(range(len(numbers)))


def test_a_still_among_them_stays_a_still(tmp_path: Path) -> None:
    for suffix in (".png", ".webp", ".avif"):
        path = tmp_path / f"in{suffix}"
        Image.fromarray(frames(1)[0]).save(path, KINDS[suffix])
        translatekit.translate(path, Identity(), tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as image:
            assert getattr(image, "n_frames", 1) == 1


@pytest.mark.parametrize("suffix", [*EXACT, *LOSSY])
def test_a_damaged_animation_is_refused_as_such(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"in{suffix}", frames(5), [100] * 5)
    data = path.read_bytes()
    refused = 0
    for place in np.linspace(len(data) // 3, len(data) - 30, 12).astype(int):
        path.write_bytes(data[:place] + bytes(20) + data[place + 20 :])
        try:
            reader = AnimationReader(path)
            assert all(frame is not None for frame in reader.frames())
        except UnreadableVideoError:  # and nothing else
            refused += 1
    assert refused or suffix == ".gif"  # whose damaged pixels are pixels
