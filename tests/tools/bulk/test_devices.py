"""Several processes of one machine are one run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from translatekit_tools.bulk import Result, devices, translate
from translatekit_tools.bulk.devices import devices_of
from translatekit_tools.bulk.options import Memory, RunOptions

from tests.programs import NAME
from tests.tools.bulk.models import inverting_model
from translatekit.errors import OptionError
from translatekit.storage import hash_file

COUNT = 240


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inverting_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (96, 128, 3), np.uint8)).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def expected(model: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("whole")
    translate(photos, model, out, device="cpu")
    return hashes(out)


def workers_of(process: int) -> list[psutil.Process]:
    """The processes that one has started; what it was forked with, in tests, is none of them."""
    return [child for child in psutil.Process(process).children() if child.name() != NAME]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in folder.glob("*.png")}


def started(photos: Path, model: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "translatekit", "run", str(photos), "-m", str(model), "-o", str(out)]
    return subprocess.Popen(
        [*command, "--devices", "cpu,cpu", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def test_two_processes_make_what_one_makes(
    model: Path, photos: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for path in photos.iterdir():
        os.link(path, tmp_path / "in" / path.name)
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    frames = [Image.new("RGB", (16, 16), (level,) * 3) for level in (0, 200)]
    frames[0].save(tmp_path / "in/moving.gif", save_all=True, append_images=frames[1:])
    process = started(tmp_path / "in", model, tmp_path / "out", "--json")
    out, err = process.communicate()
    assert process.returncode == 1, err
    summary = json.loads(out)
    assert (summary["translated"], summary["skipped"]) == (COUNT + 1, 0)
    assert [Path(each["path"]).name for each in summary["failed"]] == ["broken.png"]
    assert hashes(tmp_path / "out") == expected
    assert summary["frames"] == 2
    assert summary["stats"]["threads"] > 1
    manifests = sorted(path.name for path in (tmp_path / "out").glob(".translatekit-*"))
    assert manifests == [f".translatekit-manifest-device-{number}.jsonl" for number in (0, 1)]
    summary = translate(tmp_path / "in", model, tmp_path / "out", device="cpu")  # by one process
    assert (summary.translated, summary.skipped) == (0, COUNT + 1)


def test_what_a_dead_process_was_at_is_done_by_the_others(
    model: Path, photos: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    process = started(photos, model, tmp_path / "out", "--json")
    wait_for(lambda: len(hashes(tmp_path / "out")) > 10)
    children = workers_of(process.pid)
    assert len(children) == 2
    children[0].kill()
    out, err = process.communicate()
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["translated"] + summary["skipped"] == COUNT
    assert "the process of cpu has ended abruptly: the others do the" in err
    assert hashes(tmp_path / "out") == expected


def test_where_all_die_it_says_so_and_a_second_run_goes_on(
    model: Path, photos: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    process = started(photos, model, tmp_path / "out")
    wait_for(lambda: len(hashes(tmp_path / "out")) > 10)
    for child in workers_of(process.pid):
        child.kill()
    _, err = process.communicate()
    assert process.returncode == 1
    assert "all 2 processes have ended abruptly" in err
    assert "Traceback" not in err
    process = started(photos, model, tmp_path / "out", "--json")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert hashes(tmp_path / "out") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_when_it_is_stopped_no_process_is_left_and_all_files_are_whole(
    model: Path, photos: Path, expected: dict[str, str], tmp_path: Path, number: int
) -> None:
    process = started(photos, model, tmp_path / "out")
    wait_for(lambda: len(hashes(tmp_path / "out")) > 10)
    children = workers_of(process.pid)
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    wait_for(lambda: not any(child.is_running() for child in children))
    assert hashes(tmp_path / "out").items() <= expected.items()


def test_what_is_wrong_with_a_model_or_device_is_one_sentence(
    photos: Path, model: Path, tmp_path: Path
) -> None:
    process = started(photos, model, tmp_path / "out", "--direction", "BtoA")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "--direction" in err


def test_a_process_that_does_nothing_is_ended_and_named(
    model: Path, photos: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_HUNG", 4.0)
    monkeypatch.setattr(devices, "_AWAKE", 0.01)

    class Said:
        said: list[str] = []
        is_stopped = False

        def say(self, sentence: str) -> None:
            self.said.append(sentence)

        def __call__(self, _: Result) -> None:
            if not self.is_stopped:
                self.is_stopped = True
                children = psutil.Process().children()
                next(child for child in children if "bulk.devices" in " ".join(child.cmdline())).suspend()

    summary = translate(photos, model, tmp_path / "out", progress=Said(), devices="cpu,cpu")
    assert summary.translated + summary.skipped == COUNT
    assert hashes(tmp_path / "out") == expected
    (sentence,) = (each for each in Said.said if "did nothing for" in each)
    assert sentence.startswith(
        "the process of cpu did nothing for 0.067 minutes and was ended: the others do"
    )


def test_what_cannot_be_read_in_another_process_is_an_error_there(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    process = started(photos, model, tmp_path / "out")
    assert process.wait(60) == 0
    (manifest,) = (tmp_path / "out").glob(".translatekit-manifest-device-0.jsonl")
    manifest.unlink()
    manifest.mkdir()  # nothing can be appended to it
    process = started(photos, model, tmp_path / "out", "--force")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert ".translatekit-manifest-device-0.jsonl" in err


def test_what_holds_for_many_images_is_said_once_in_all(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    frames = [Image.new("RGB", (16, 16), (level,) * 3) for level in (0, 200)]
    for number in range(24):
        frames[0].save(tmp_path / f"in/{number:02}.tif", save_all=True, append_images=frames[1:])
    process = started(tmp_path / "in", model, tmp_path / "out", "--format", "jpg")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count("only the first frame or page of") == 1


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU")
def test_a_gpu_that_is_not_there_is_named(model: Path, photos: Path, tmp_path: Path) -> None:
    process = started(photos, model, tmp_path / "out", "--devices", "0,1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "cuda:" in err


@pytest.mark.parametrize(
    ("memory", "each"), [(Memory(None, 0.7), Memory(None, 0.35)), (Memory(8 * 10**9), Memory(4 * 10**9, 0.5))]
)
def test_memory_is_that_of_all_processes(
    monkeypatch: pytest.MonkeyPatch, model: Path, memory: Memory, each: Memory
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(devices._Process, "send", lambda self, message: sent.append(message))
    devices.Devices(["cpu", "cpu"], RunOptions(memory=memory, devices="cpu,cpu"), model, None).close()
    assert [options.memory for options, *_ in sent[:2]] == [each, each]


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices_of("0, 1,cpu,mps") == ["cuda:0", "cuda:1", "cpu", "mps"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert devices_of("auto") == ["cuda:0", "cuda:1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices_of("auto") == ["cpu"]
    with pytest.raises(OptionError, match="--devices takes devices such as"):
        devices_of("0,,1")
    with pytest.raises(OptionError, match="leave out --device"):
        translate("in", "model.onnx", "out", devices="cpu,cpu", device="cpu")
