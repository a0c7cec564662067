"""Images in pipes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from translatekit_tools.bulk.pipes import _suffix

from translatekit.images import image_suffixes
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = make_generator("unet", {"depth": 3, "width": 2, "norm": "none"}, in_channels=3, out_channels=3)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    info = ModelInfo(
        method="test",
        generator="unet",
        generator_options=network.arguments,  # type: ignore[arg-type]
        size_multiple=8,
    )
    save_model(path, network.state_dict(), info)
    return path


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "translatekit", "run", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=240, check=False)


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((40, 24), 60).convert("RGB").save(buffer, form)
    return buffer.getvalue()


def test_an_image_goes_through_as_through_files(model: Path, tmp_path: Path) -> None:
    data = encoded("PNG")
    (tmp_path / "in.png").write_bytes(data)
    piped = run("-", "-m", model, "-o", "-", stdin=data)
    assert piped.returncode == 0, piped.stderr
    with Image.open(io.BytesIO(piped.stdout)) as image:
        assert (image.format, image.size) == ("PNG", (40, 24))
    assert b"Translated 1" in piped.stderr
    to_pipe = run(tmp_path / "in.png", "-m", model, "-o", "-", "--format", "jpg")
    assert to_pipe.stdout.startswith(b"\xff\xd8\xff"), to_pipe.stderr
    from_pipe = run("-", "-m", model, "-o", tmp_path / "out.png", stdin=data)
    assert from_pipe.stdout == os.fsencode(tmp_path / "out.png") + b"\n"
    assert (tmp_path / "out.png").read_bytes() == piped.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == [
        ".translatekit-manifest.jsonl",
        "in.png",
        "out.png",
    ]


def test_what_fails_in_a_pipe_writes_nothing(model: Path, tmp_path: Path) -> None:
    torn = run("-", "-m", model, "-o", "-", stdin=encoded("JPEG")[:300])
    assert (torn.returncode, torn.stdout) == (1, b"")
    assert b"stdin.jpg: the image cannot be read" in torn.stderr
    assert b"Traceback" not in torn.stderr
    nameless = run("-", "-m", model, stdin=encoded("PNG"))
    assert b"an image from standard input has no name: pass -o" in nameless.stderr
    folder = run(tmp_path, "-m", model, "-o", "-")
    assert b"-o - takes one image or video" in folder.stderr


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000"])
def test_images_are_told_by_their_first_bytes(form: str) -> None:
    suffix = _suffix(encoded(form)[:16])
    assert suffix in image_suffixes()
    assert Image.registered_extensions()[suffix] == form
    assert _suffix(b"YUV4MPEG2 W4 H4 ") is None
    assert _suffix(b"\0\0\0\x20ftypisom\0\0\2\0") is None
    assert _suffix(b"") is None
