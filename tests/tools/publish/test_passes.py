"""Published models of several passes run as many as they were trained for, or as are asked for."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import translate

import translatekit
from tests.stores import free_port
from tests.tools.bulk.models import bridge_model
from tests.tools.publish.conftest import Publish, png
from tests.tools.publish.test_docker import WITHOUT_TORCH, instructions

STEPS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bridge_model(tmp_path_factory.mktemp("model") / "bridge.safetensors", STEPS)


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def expected(model: Path, image: np.ndarray, passes: int) -> np.ndarray:
    output: np.ndarray = translatekit.open(model, device="cpu", precision="fp32", passes=passes).translate(
        image
    )
    return output


def passes_of(model: Path, image: np.ndarray, output: np.ndarray) -> int:
    """How many passes have made this output of an image."""
    (found,) = (
        passes
        for passes in range(1, STEPS + 1)
        if np.abs(expected(model, image, passes).astype(int) - output.astype(int)).max() <= 1
    )
    return found


def test_a_folder_for_a_hub_runs_all_passes_or_as_many_as_asked_for(
    published: Publish, model: Path, pictures: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    options = {"runtimes": ("onnxruntime",), "samples": str(pictures), "licence": "cc0-1.0"}
    folder = Path(published("hub", model, **options).path)
    card = (folder / "README.md").read_text()
    assert "| takes | RGB" in card
    assert "| passes | 3 for an image" in card
    assert "time" not in re.search(r"that makes .*", card)[0]  # type: ignore[index]
    image = pixels_of(png(1))
    shown = pixels_of((folder / "samples/1.png").read_bytes())
    made = shown[:, -image.shape[1] :]
    assert passes_of(model, image, made) == STEPS
    (tmp_path / "in.png").write_bytes(png(1))
    for name in ("model.safetensors", "model.onnx"):
        for passes in (2, None):
            out = tmp_path / f"{passes}-of-{Path(name).suffix[1:]}"
            translate(tmp_path / "in.png", folder / name, out, passes=passes, device="cpu", precision="fp32")
            assert passes_of(model, image, pixels_of((out / "in.png").read_bytes())) == (passes or STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("passes", [None, 2])
def test_a_container_runs_all_passes_or_as_many_as_asked_for(
    published: Publish, model: Path, tmp_path: Path, passes: int | None
) -> None:
    pytest.importorskip("hatchling")
    pytest.importorskip("onnxscript")
    port = free_port()
    context = Path(published("docker", model, port=port).path)
    steps = dict(instructions((context / "Dockerfile").read_text()))
    words = json.loads(steps["ENTRYPOINT"]) + json.loads(steps["CMD"])
    words[2] = str(context / "model" / Path(words[2]).name)
    words += [] if passes is None else ["--passes", str(passes)]
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TORCH, *words[1:]],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        process.stdout.readline()  # it listens
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/translate", png(5, 33, 50), 60) as response:
            output = pixels_of(response.read())
        assert passes_of(model, pixels_of(png(5, 33, 50)), output) == (passes or STEPS)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
