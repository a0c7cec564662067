"""``run`` on a real cluster makes what it makes on one machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.scale.cluster import Cluster
from translatekit_tools.scale.options import ScaleOptions, Workers
from translatekit_tools.scale.run import translate_on

from tests.tools.bulk.models import bridge_model, inverting_model
from tests.tools.scale.work import Deadly
from tests.tools.test_bulk import identity
from tests.tools.test_run import command, save
from tests.tools.video.conftest import make_video
from translatekit.errors import DataError, OptionError
from translatekit.sizes import Size

ON_RAY = ScaleOptions(on="ray", workers=Workers(2, 2))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inverting_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 images in two folders, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    random = np.random.default_rng(0)
    for number in range(150):
        pixels = random.integers(1, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("below" if number % 3 else "") / f"{number:03}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one machine makes of them."""
    out = tmp_path_factory.mktemp("whole")
    assert translate(photos, model, out, device="cpu").translated == 150
    return files(out)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_cluster_makes_the_same_files_and_a_rerun_makes_none(
    cluster: Cluster, photos: Path, model: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    summary = translate_on([photos], model, out, RunOptions(device="cpu"), ON_RAY)
    assert (summary.translated, summary.skipped) == (150, 0)
    ((path, reason),) = summary.failed
    assert path == photos / "broken.png"
    assert "the image cannot be read" in reason
    assert files(out) == whole

    times = {name: (out / name).stat().st_mtime_ns for name in whole}
    (out / "000.png").unlink()
    again = translate_on([photos], model, out, RunOptions(device="cpu"), ON_RAY)
    assert (again.translated, again.skipped, len(again.failed)) == (1, 149, 1)
    assert files(out) == whole
    del times["000.png"]
    assert times == {name: (out / name).stat().st_mtime_ns for name in times}
    # One machine goes on with what a cluster has made, and the other way round.
    assert translate(photos, model, out, device="cpu").skipped == 150


@pytest.mark.slow
def test_a_model_as_it_comes_from_training(cluster: Cluster, photos: Path, tmp_path: Path) -> None:
    trained = save(tmp_path / "run" / "model.safetensors")
    options = RunOptions(device="cpu")
    summary = translate_on([photos / "below"], trained.parent, tmp_path / "out", options, ON_RAY)
    assert (summary.translated, len(summary.failed)) == (100, 0)
    translate(photos / "below", trained, tmp_path / "one", device="cpu")
    assert files(tmp_path / "out") == files(tmp_path / "one")


def test_workers_share_a_video_beside_images(
    cluster: Cluster, data_dir: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("two_audio_tracks_subtitles.mp4", "variable frame rate.mov", "rotated_90.mov"):
        shutil.copy(data_dir / "videos" / name, folder)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "a.png")
    told = Told()
    # libx264's threads do not make the same bytes of the same frames every time.
    options = RunOptions(device="cpu", size=Size(32, 32), codec="mjpeg")
    summary = translate_on([folder], model, tmp_path / "out", options, ON_RAY, told)
    assert (summary.translated, summary.failed) == (4, [])
    assert {(325, 325), (123, 123)} <= set(told.done)
    assert len(told.done) == 3 + 2  # segments, one a part
    whole = translate(folder, model, tmp_path / "whole", device="cpu", size=Size(32, 32), codec="mjpeg")
    assert (summary.frames, summary.hdr) == (whole.frames, whole.hdr)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert translate_on([folder], model, tmp_path / "out", options, ON_RAY).skipped == 4


@pytest.mark.slow
def test_a_worker_makes_so_many_passes_of_images_and_videos(cluster: Cluster, tmp_path: Path) -> None:
    model = bridge_model(tmp_path / "bridge.safetensors")
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/film.mp4", 8)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 46, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    given: dict[str, Any] = {
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 1,
        "codec": "mjpeg",
        "noise": 7,
    }
    on_ray = ScaleOptions(on="ray", workers=Workers(1, 1))
    summary = translate_on([tmp_path / "in"], model, tmp_path / "out", RunOptions(passes=2, **given), on_ray)
    assert (summary.translated, summary.failed) == (2, [])
    made = {}
    for passes in (2, None):
        translate(tmp_path / "in", model, tmp_path / f"{passes}", passes=passes, **given)
        made[passes] = files(tmp_path / f"{passes}")
    assert files(tmp_path / "out") == made[2]
    assert all(made[2][name] != made[None][name] for name in made[2])


class Told:
    """Keeps how far videos are."""

    def __init__(self) -> None:
        self.done: list[tuple[int, int]] = []

    def __call__(self, result: object) -> None: ...

    def frames(self, done: int, total: int) -> None:
        self.done.append((done, total))


def test_what_is_not_ours_is_not_overwritten(cluster: Cluster, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/000.png").write_bytes(b"mine")
    summary = translate_on([photos], identity(), tmp_path / "out", RunOptions(), ON_RAY)
    assert summary.translated == 149
    reasons = {path.name: reason for path, reason in summary.failed if isinstance(path, Path)}
    assert "exists and is not what an earlier run wrote there" in reasons["000.png"]
    assert (tmp_path / "out/000.png").read_bytes() == b"mine"


def test_an_image_that_kills_its_worker_is_named(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        Image.fromarray(np.full((8, 8, 3), number % 7 and 200, np.uint8)).save(folder / f"{number}.png")
    (folder / "0.png").unlink()
    deadly = Deadly(identity().info)
    summary = translate_on([folder], deadly, tmp_path / "out", RunOptions(batch_size=2), ON_RAY)
    assert summary.translated == 6
    ((path, reason),) = summary.failed
    assert path == folder / "7.png"
    assert reason.startswith("3 workers have died while it was in progress")
    assert reason.endswith("or run the same command to try again")
    assert sorted(files(tmp_path / "out")) == [f"{number}.png" for number in range(1, 7)]
    assert not list((tmp_path / "out").glob(".translatekit-unfinished*"))


def test_two_inputs_of_one_output_are_told(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.bmp", "a.png", "b.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / name)
    options = RunOptions(format="png")
    summary = translate_on([tmp_path / "in"], identity(), tmp_path / "out", options, ON_RAY)
    assert summary.translated == 2
    ((path, reason),) = summary.failed
    assert path == tmp_path / "in/a.bmp"
    assert "is already that of another" in reason


@pytest.mark.parametrize(
    "address",
    ["ray", *(pytest.param(each, marks=pytest.mark.slow) for each in ("CLIENT", "local"))],
)
def test_the_command_is_the_same_as_on_one_machine(
    nodes: Any, photos: Path, model: Path, whole: dict[str, bytes], tmp_path: Path, address: str
) -> None:
    on = os.environ.get(address, "ray")  # of the cluster's client server
    environment = {**os.environ, **({"RAY_ADDRESS": "local"} if address == "local" else {})}
    line = command(
        photos, "-m", model, "-o", tmp_path / "out", "--device", "cpu", "--on", on, "--workers", "1", "--json"
    )
    result = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert result.returncode == 1, result.stderr
    summary = json.loads(result.stdout)
    assert summary["translated"] == 150
    assert [Path(each["path"]).name for each in summary["failed"]] == ["broken.png"]
    assert "Translated 150, 1 failed" in result.stderr
    assert "raylet" not in result.stderr
    assert "Traceback" not in result.stderr
    assert files(tmp_path / "out") == whole
    shutil.rmtree(tmp_path / "out")


@pytest.mark.slow
def test_a_run_that_is_stopped_says_how_to_go_on_and_goes_on(nodes: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(4000):
        Image.fromarray(np.full((8, 8, 3), number % 256, np.uint8)).save(tmp_path / "in" / f"{number:04}.png")
    line = command(tmp_path / "in", "-m", model, "-o", tmp_path / "out", "--device", "cpu", "--on", "ray")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # the first file is written
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Stopped after" in said
    assert "To go on: " in said
    assert "Traceback" not in said
    there = len(files(tmp_path / "out"))
    assert 0 < there < 4000
    again = subprocess.run(line, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert f"Translated {4000 - there}, skipped {there} done before" in again.stderr


@pytest.mark.parametrize(
    ("inputs", "options", "kind", "said"),
    [
        (["nowhere"], {}, DataError, "there is no folder .*nowhere"),
        (["a", "b"], {}, OptionError, "one folder or address at a time, got 2 inputs"),
        (["s3://bucket/in"], {}, OptionError, "say with -o where outputs go"),
        (["."], {"dry_run": True}, OptionError, "leave out --on"),
        (["."], {"devices": "cpu,cpu"}, OptionError, "leave out --devices, and see --workers"),
        (["."], {"stats": True}, OptionError, "--stats tells of one machine's stages: leave it out"),
    ],
)
def test_what_a_cluster_cannot_is_refused_before_one_is_asked(
    inputs: list[str], options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        translate_on(inputs, identity(), None, RunOptions(**options), ON_RAY)
