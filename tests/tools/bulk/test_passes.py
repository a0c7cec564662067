"""A model of several passes makes as many as are asked for, whatever is translated and whoever shares the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import translate

import translatekit
from tests.tools.bulk.models import bridge_model
from tests.tools.video.conftest import make_video

STEPS, SEED = 3, 7


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bridge_model(tmp_path_factory.mktemp("model") / "bridge.safetensors", STEPS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of two sizes, neither of which the network takes as it is."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(12):
        height, width = ((30, 46), (50, 38))[number % 2]
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{number:02}.png")
    return folder


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def expected(model: Path, image: np.ndarray, passes: int | None) -> np.ndarray:
    predictor = translatekit.open(model, device="cpu", precision="fp32", passes=passes)
    translator = predictor.translator
    translator.set_noise(SEED)  # type: ignore[attr-defined]
    output: np.ndarray = predictor.translate(image)
    return output


def distance(one: np.ndarray, other: np.ndarray) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def check(model: Path, photos: Path, out: Path, passes: int) -> None:
    """All of a folder are outputs of so many passes, and of no other number."""
    for path in sorted(photos.glob("*.png")):
        made = pixels_of(out / path.name)
        assert distance(made, expected(model, pixels_of(path), passes)) <= 1, path.name
        assert distance(made, expected(model, pixels_of(path), passes % STEPS + 1)) > 8, path.name


def run(*arguments: object) -> dict[str, int]:
    command = [sys.executable, "-m", "translatekit", "run", *map(str, arguments), "--noise", str(SEED)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, int] = json.loads(done.stdout)
    return summary


def test_several_processes_make_so_many_passes(model: Path, photos: Path, tmp_path: Path) -> None:
    common = (photos, "-m", model, "-o", tmp_path, "--devices", "cpu,cpu")
    assert run(*common, "--passes", 2)["translated"] == 12
    check(model, photos, tmp_path, 2)
    assert run(*common, "--passes", 2)["skipped"] == 12
    assert run(*common)["translated"] == 12
    check(model, photos, tmp_path, STEPS)


def test_parts_of_several_machines_make_so_many_passes(model: Path, photos: Path, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        translate(photos, model, tmp_path, shard=shard, passes=2, noise=SEED, device="cpu", precision="fp32")
    check(model, photos, tmp_path, 2)


@pytest.mark.parametrize("passes", [1, 2, None])
def test_each_frame_of_a_video_takes_so_many_passes(model: Path, tmp_path: Path, passes: int | None) -> None:
    film = make_video(tmp_path / "film.mp4", 5, size=(32, 48))
    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    options = {"passes": passes, "noise": SEED, "device": "cpu", "precision": "fp32"}
    summary = translate(film, model, tmp_path / "out", frames=str(tmp_path / "frames"), **options)
    assert not summary.failed
    made = sorted((tmp_path / "frames").rglob("*.png"))
    assert len(made) == len(frames) == 5
    for path, frame in zip(made, frames, strict=True):
        assert distance(pixels_of(path), expected(model, frame, passes)) <= 1

    assert not translate(film, model, tmp_path / "video", **options).failed
    with av.open(str(tmp_path / "video/film.mp4")) as container:
        coded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(coded) == 5
    for frame, taken in zip(coded, frames, strict=True):
        errors = [
            np.abs(frame.astype(float) - expected(model, taken, count)).mean()
            for count in range(1, STEPS + 1)
        ]
        assert int(np.argmin(errors)) + 1 == (passes or STEPS)


def test_each_pass_of_a_large_image_is_made_in_tiles(model: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 256, (100, 76, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "large.png")
    for passes in (1, 2, 3):
        summary = translate(
            tmp_path / "large.png", model, tmp_path / f"{passes}", passes=passes, noise=SEED,
            tile=64, overlap=56, device="cpu", precision="fp32",
        )  # fmt: skip
        assert not summary.failed
        made = pixels_of(tmp_path / f"{passes}/large.png")
        errors = [
            np.abs(made.astype(float) - expected(model, image, count)).mean() for count in range(1, STEPS + 1)
        ]
        assert int(np.argmin(errors)) + 1 == passes
        assert min(errors) < 0.25 * sorted(errors)[1]
