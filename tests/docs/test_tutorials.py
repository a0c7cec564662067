"""Each tutorial's commands, at a small size, in the order in which a reader gives them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import run_here

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
SERVERS = {"paint"}

# What makes each command quick; appended, since the last of an option counts.
QUICK = {
    "pix2pix": "--max-steps 2 --load-size 72 --crop-size 64 -G depth=6 -G width=8 -D width=8 --workers 0",
    "cyclegan": "--max-steps 1 --load-size 36 --crop-size 32 -G blocks=1 -G width=8 -D layers=1 -D width=8 --workers 0",
    "resnet": "--max-steps 2 --load-size 36 --crop-size 32 -G blocks=1 -G width=4 -D layers=1 -D width=8 --workers 0",
    "cgan": "--max-steps 2 --batch-size 8 --log-every 1 --workers 0",
}


def facades(folder: Path, data: Path) -> None:
    for split, count in (("train", 4), ("val", 3)):
        copy_some(data / "facades" / split, folder / "data" / "facades" / split, count)
    labels = folder / "labels"
    labels.mkdir()
    from PIL import Image

    for file in sorted((folder / "data/facades/val").iterdir()):
        with Image.open(file) as pair:
            pair.crop((256, 0, 512, 256)).resize((64, 64)).save(labels / f"{file.stem}.png")


def seasons(folder: Path, data: Path) -> None:
    for season, side in (("summer", "A"), ("winter", "B")):
        copy_some(data / "monet2photo" / f"train{side}", folder / "data" / "seasons" / f"train{side}", 3)
        copy_some(data / "monet2photo" / f"test{side}", folder / "photos" / season, 2)


def digits(folder: Path, data: Path) -> None:
    shutil.copytree(data / "mnist", folder / "data" / "mnist")


def color(folder: Path, data: Path) -> None:
    copy_some(data / "monet2photo" / "trainB", folder / "photos", 10)
    copy_some(data / "monet2photo" / "testB", folder / "old", 2)
    for split in ("train", "val"):
        copy_some(data / "monet2photo" / "testB", folder / "data" / "photos" / split, 4)


def video(folder: Path, data: Path) -> None:
    facades(folder, data)
    train = "train pix2pix data/facades --direction BtoA -o runs/facades"
    assert run_here(*train.split(), *QUICK["pix2pix"].split()) == 0
    shutil.copy(data / "videos" / "h265_video.mp4", folder / "clip.mp4")


PREPARE: dict[str, Callable[[Path, Path], None]] = {
    function.__name__: function for function in (facades, seasons, digits, color, video)
}
DRAWN = {"microscopy", "page", "satellite", "volumes"}  # Pages that draw their data themselves.


def copy_some(source: Path, target: Path, count: int) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir())[:count]:
        shutil.copy(file, target / file.name)


def steps_of(page: Path) -> list[str | list[str]]:
    """The Python blocks (as they are) and the words of the commands of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    steps: list[str | list[str]] = []
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language == "python":
            steps.append(block)
            continue
        lines = block.replace("\\\n", " ").splitlines()
        steps += [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("translatekit ")]
    return steps


def serves(words: list[str]) -> None:
    """A server starts, says where it is, and ends cleanly when it is interrupted."""
    command = [sys.executable, "-m", "translatekit", *words, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if "http://" in line:
                break
        assert "http://" in said, said
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_every_tutorial_is_tested() -> None:
    assert {page.stem for page in TUTORIALS.glob("*.md")} == set(PREPARE) | DRAWN


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PREPARE))
def test_the_commands_of_a_tutorial_work(
    name: str,
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    PREPARE[name](tmp_path, data_dir)
    follow(TUTORIALS / f"{name}.md", capfd)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_tutorial_that_draws_its_data_works_in_an_empty_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    follow(TUTORIALS / f"{name}.md", capfd)


def follow(page: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Does all that a page says; its Python blocks share their names, as in one session."""
    steps = steps_of(page)
    assert sum(isinstance(step, list) for step in steps) >= 3
    session: dict[str, object] = {}
    for step in steps:
        if isinstance(step, str):
            exec(compile(step, str(page), "exec"), session)
            continue
        if step[0] in SERVERS:
            serves(step)
            continue
        quick: list[str] = []
        if step[0] == "train":
            quick = shlex.split(QUICK["resnet" if "resnet" in step else step[1]])
        elif step[0] == "publish":
            runtime = os.environ.get("TRANSLATEKIT_TEST_WEB_RUNTIME")
            if runtime is None:
                continue
            quick = ["--web-runtime", runtime, "--check", "no"]
        assert run_here(*step, *quick) == 0, f"{shlex.join(step)}\n{capfd.readouterr()}"


EXTRAS = {
    "train": r"translatekit (train|evaluate|sample) ",
    "prepare": r"translatekit prepare ",
    "compile": r"translatekit compile ",
    "openvino": r"\.xml\b",
    "onnx": r"\.onnx\b",
    "paint": r"translatekit paint ",
    "video": r"\.mp4\b",
    "medical": r"\.nii\b",
    "geo": r"\brasterio\b",
}


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.md")), ids=lambda path: path.stem)
def test_each_tutorial_says_what_to_install(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (installed,) = re.findall(r"pip install 'translatekit\[([a-z,]+)\]'", text)
    commands = "\n".join(re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL))
    needed = {extra for extra, sign in EXTRAS.items() if re.search(sign, commands)}
    assert set(installed.split(",")) >= needed
