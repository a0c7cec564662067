"""What is refused leaves nothing behind: every command that writes a folder checks before it makes one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import run_here
from translatekit.images import encode_image, image_of

MODEL = Path(__file__).parent / "backends/litert/unet.safetensors"
"""Sides are multiples of 8."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, a model, and what is neither."""
    folder = tmp_path_factory.mktemp("given")
    for name in ("photos", "empty", "labels"):
        (folder / name).mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    for name in ("photos/a.png", "labels/other.png"):
        (folder / name).write_bytes(encode_image(image_of(pixels), ".png"))
    shutil.copy(MODEL, folder / "model.safetensors")
    (folder / "notes.safetensors").write_text("no model")
    (folder / "notes.onnx").write_text("no model")
    (folder / "notes.tgz").write_text("no archive")
    (folder / "run").mkdir()
    (folder / "run/notes.txt").write_text("no run")
    return folder


OUT = "new/folder/out"
REFUSED = [
    "run photos --model notes.safetensors -o OUT",
    "run photos --model notes.onnx -o OUT",
    "run photos --model notes.onnx -o OUT --devices cpu,cpu",
    "run photos --model missing.safetensors -o OUT",
    "run photos --model model.safetensors --backend onnxruntime -o OUT",
    "run photos --model model.safetensors --backend nothing -o OUT",
    "run photos --model model.safetensors --device nowhere -o OUT",
    "run photos --model model.safetensors --precision int8 -o OUT",
    "run photos --model model.safetensors --direction BtoA -o OUT",
    "run empty --model model.safetensors -o OUT",
    "run missing --model model.safetensors -o OUT",
    "run photos/a.png --model notes.onnx -o OUT.png",
    "evaluate notes.safetensors photos --report OUT/page.html",
    "compile notes.safetensors -o OUT.onnx",
    "compile model.safetensors -o OUT.onnx --check missing",
    "compile model.safetensors -o OUT.onnx --precision int8",
    "compile model.safetensors -o OUT.mlpackage --precision bf16",
    "publish notes.safetensors -o OUT",
    "publish model.safetensors --web-runtime notes.tgz -o OUT",
    "publish model.safetensors --web-runtime notes.tgz --single -o OUT.html",
    "publish model.safetensors --web-runtime notes.tgz --palette missing.json -o OUT",
    "publish model.safetensors --as hub --figures notes.onnx -o OUT",
    "publish model.safetensors --as hub --samples empty -o OUT",
    "publish model.safetensors --as triton --for litert -o OUT",
    "publish model.safetensors --as docker --for coreml -o OUT",
    "distill notes.safetensors photos -o OUT",
    "distill model.safetensors missing -o OUT",
    "distill model.safetensors photos --for nothing -o OUT",
    "train pix2pix missing -o OUT",
    "train pix2pix empty -o OUT",
    "train pix2pix photos -o OUT",
    "train pix2pix --generator nothing -o OUT",
    "train pix2pix -G nothing=1 -o OUT",
    "train pix2pix --crop-size 17 -o OUT",
    "train pix2pix --device nowhere -o OUT",
    "train cyclegan photos -o OUT",
    "import notes.onnx -o OUT.safetensors",
    "prepare pairs photos labels -o OUT",
    "prepare pairs missing photos -o OUT",
    "prepare pairs empty empty -o OUT",
    "prepare crop empty -o OUT --box 0,0,8,8",
    "prepare crop photos -o OUT --box 0,0",
    "prepare segment empty -o OUT -k 4",
    "prepare tiles empty -o OUT",
    "data get nothing -o OUT",
    "plugins new 0 -o OUT",
]


@pytest.mark.parametrize("command", REFUSED)
def test_nothing_is_made_before_the_checks(
    command: str,
    given: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(given)
    before = sorted(given.rglob("*"))
    words = [word.replace("OUT", str(tmp_path / OUT)) for word in command.split()]
    assert run_here(*words) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert sorted(given.rglob("*")) == before
