"""Formats that are read by their own libraries."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from translatekit.images import UnreadableImageError, image_suffixes, read_levels, read_size

SMOOTH = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)).resize((80, 60))
)


def heic(pixels: np.ndarray, deep: bool = False, **settings: object) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    mode = "RGB;16" if deep else "RGB"
    file = heif.from_bytes(mode, (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    buffer = io.BytesIO()
    file.save(buffer, quality=-1, **settings)
    return buffer.getvalue()


def test_heic_is_read() -> None:
    data = heic(SMOOTH)
    picture = read_levels(data)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - SMOOTH).mean() < 3
    assert read_size(data) == (60, 80)


def test_heic_of_10_bits_keeps_them() -> None:
    values = (SMOOTH.astype(np.uint16) * 257) & 0xFFC0
    picture = read_levels(heic(values, deep=True))
    assert picture.pixels.dtype == np.float32
    assert np.abs(picture.pixels - values / 0xFFC0).mean() < 0.01
    assert np.unique(picture.pixels).size > 256


def test_heic_is_turned_as_the_phone_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = heic(SMOOTH, exif=exif.tobytes())
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    with Image.open(io.BytesIO(data)) as image:
        wanted = np.asarray(image.convert("RGB"))
    assert read_levels(data).pixels.shape == wanted.shape
    assert read_size(data) == wanted.shape[:2]


def test_without_pillow_heif_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(SMOOTH)
    real = builtins.__import__

    def missing(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    for read in (read_levels, read_size):
        with pytest.raises(UnreadableImageError, match=r"HEIC.*pip install 'translatekit\[heif\]'"):
            read(data)


@pytest.mark.parametrize("suffix", [".j2k", ".j2c", ".jpc", ".jpx", ".jp2"])
def test_bare_and_boxed_jpeg_2000_are_read(tmp_path: Path, suffix: str) -> None:
    assert suffix in image_suffixes()
    kind = "j2k" if suffix in (".j2k", ".j2c", ".jpc") else "jp2"
    path = tmp_path / f"image{suffix}"
    path.write_bytes(imagecodecs.jpeg2k_encode(SMOOTH, level=0, codecformat=kind))
    np.testing.assert_array_equal(read_levels(path).pixels, SMOOTH)
    deep = SMOOTH.astype(np.uint16) * 201
    path.write_bytes(imagecodecs.jpeg2k_encode(deep, level=0, codecformat=kind))
    np.testing.assert_allclose(read_levels(path).pixels, deep / 65535, rtol=0, atol=1e-7)


def test_of_an_icon_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "icon.ico"
    Image.fromarray(SMOOTH[:48, :48]).save(path, sizes=[(16, 16), (48, 48), (32, 32)])
    assert read_size(path) == (48, 48)
    np.testing.assert_array_equal(read_levels(path, 3).pixels, SMOOTH[:48, :48])
