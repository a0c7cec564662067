"""The demo and the page it makes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image
from translatekit_tools.demo import FULL, HELD_OUT, QUICK, run_demo, train_command
from translatekit_tools.gallery import GalleryRow, write_gallery

from tests.pages import HOSTILE, PHONE, ParsedPage, assert_harmless, opened
from translatekit.cli.train import train
from translatekit.config import RunConfig
from translatekit.datasets.facades import PALETTE
from translatekit.errors import OptionError, TranslatekitError


def translatekit(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "translatekit", *words], cwd=cwd, capture_output=True, text=True, check=False
    )


def targets(page: Path, attribute: str) -> list[Path]:
    """What a page links to, as paths."""
    found = re.findall(rf'{attribute}="([^"]+)"', page.read_text(encoding="utf-8"))
    return [page.parent / unquote(unescape(link)) for link in found]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A quick demo by the command line, in a folder with nothing else in it."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, translatekit("demo", "--quick", cwd=folder)


# --- the demo


def test_the_demo_ends_by_naming_its_page(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = finished
    assert process.returncode == 0, process.stderr
    assert process.stdout == "runs/demo/index.html\n"
    assert [path.name for path in folder.iterdir()] == ["runs"]
    assert "on held-out facades L1 0." in process.stderr
    assert not re.search(
        r"warn|\[W:|site-packages", process.stderr, re.IGNORECASE
    )  # nothing of a library's own
    assert "translatekit paint runs/demo/run" in process.stderr
    assert (folder / "runs/demo/model.onnx").is_file()
    assert len(list((folder / "runs/demo/prepared/train/A").iterdir())) == HELD_OUT


def test_the_page_shows_each_held_out_facade_beside_its_target(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    page = folder / "runs" / "demo" / "index.html"
    images = targets(page, "src")
    assert len(images) == 3 * HELD_OUT
    for row in range(HELD_OUT):
        trio = images[3 * row : 3 * row + 3]
        assert [path.parent.name for path in trio] == ["input", "output", "target"]
        assert len({path.name for path in trio}) == 1
        assert {Image.open(path).size for path in trio} == {(64, 64)}
    assert all(path.is_file() for path in targets(page, "href"))


def test_the_evaluation_shows_the_best_and_worst_as_the_link_says(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    page = (folder / "runs/demo/evaluation.html").read_text(encoding="utf-8")
    assert "<h2>Best</h2>" in page
    assert (
        page.count('src="data:image/png') == 4 * 2 * 4
    )  # input, output, error and target of 4 best and 4 worst


def test_the_trained_model_knows_the_classes_by_name(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    for model in ("run/model.safetensors", "model.onnx"):
        content = json.loads(translatekit("info", f"runs/demo/{model}", "--json", cwd=folder).stdout)
        assert [item["name"] for item in content["data"]["palette"]] == list(PALETTE)


def test_the_figures_say_that_outputs_resemble_their_targets(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, process = finished
    psnr = float(re.search(r"PSNR ([\d.]+) dB", process.stderr).group(1))  # type: ignore[union-attr]
    assert psnr > 15  # an untrained network gives 8


def test_the_commands_it_shows_do_what_it_did(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, process = finished
    shown = [shlex.split(line[2:]) for line in process.stderr.splitlines() if line.startswith("$ ")]
    assert [words[1] for words in shown] == ["prepare", "train", "evaluate", "compile", "run"]
    (train, translate) = (words for words in shown if words[1] in ("train", "run"))
    saved = RunConfig.from_toml(folder / "runs" / "demo" / "run" / "config.toml")
    assert str(saved.options.output) == train[-1]
    repeated = translatekit(*translate[1:], "--dry-run", cwd=folder)
    assert repeated.returncode == 0, repeated.stderr
    assert f"kipped {HELD_OUT} done before" in repeated.stderr


@pytest.mark.parametrize("settings", [FULL, QUICK])
def test_the_shown_training_command_means_the_settings(settings: dict[str, object]) -> None:
    words = shlex.split(train_command(settings, Path("a folder/run")))
    assert words[:3] == ["translatekit", "train", "pix2pix"]
    command = train.get_command(train.make_context("train", ["pix2pix"]), "pix2pix")
    assert command is not None
    params = command.make_context("pix2pix", words[3:]).params
    from translatekit.cli.options import collect
    from translatekit.config import TrainOptions

    by_hand = RunConfig.resolve("pix2pix", None, collect(TrainOptions, params))
    by_api = RunConfig.resolve("pix2pix", None, {**settings, "output": "a folder/run"})
    for options in (by_hand.options, by_api.options):  # the networks convert their own options' texts
        for name in ("generator_options", "discriminator_options", "dataset_options"):
            setattr(options, name, {key: str(value) for key, value in getattr(options, name).items()})
    assert by_hand == by_api


def test_the_page_names_commands_that_go_on_from_here(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = finished
    text = (folder / "runs" / "demo" / "index.html").read_text(encoding="utf-8")
    commands = [shlex.split(unescape(command)) for command in re.findall(r"<pre[^>]*>(.*?)</pre>", text)]
    (resume,) = (words for words in commands if "--resume" in words)
    process = translatekit(*resume[1:], "--max-steps", "82", cwd=folder)
    assert process.returncode == 0, process.stderr
    assert process.stdout == "runs/demo/run\n"
    (info,) = (words for words in commands if words[1] == "info")
    assert info == ["translatekit", "info", "runs/demo/run"]


def test_a_second_demo_gets_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    (tmp_path / "runs" / "demo" / "mine.txt").write_text("mine")
    started = []

    def stop_at_training(command: str) -> None:
        if command.startswith("translatekit train"):
            started.append(command)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(quick=True, say=stop_at_training)
    assert started[0].endswith("-o runs/demo-2/run")
    assert (tmp_path / "runs" / "demo" / "mine.txt").read_text() == "mine"


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="exists already and nothing in it will be overwritten"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# --- its page


def test_a_gallery_links_images_wherever_they_are_and_escapes_names(tmp_path: Path) -> None:
    image = tmp_path / "other place" / "a&b #1 <x>.png"
    image.parent.mkdir()
    Image.new("RGB", (4, 4)).save(image)
    page = tmp_path / "pages" / "index.html"
    page.parent.mkdir()
    row = GalleryRow(name="<b>name</b>", images={"in & out": image}, figures={"L1": "<0.1"})
    write_gallery(page, [row], "A <title>", {"L1": "0.1"}, commands={"Do & go": "echo '<hi>'"})
    text = page.read_text(encoding="utf-8")
    assert [path.resolve() for path in targets(page, "src")] == [image]
    for raw in ("<b>name</b>", "<title>A <", "<0.1", "<hi>"):
        assert raw not in text
    for escaped in ("&lt;b&gt;name&lt;/b&gt;", "A &lt;title&gt;", "&lt;0.1", "in &amp; out", "Do &amp; go"):
        assert escaped in text


def test_hostile_names_in_a_gallery_stay_text(tmp_path: Path) -> None:
    image = tmp_path / "a'b\"<img src=x onerror=hacked=1>.png"
    row = GalleryRow(name=HOSTILE, images={HOSTILE: image}, figures={HOSTILE: HOSTILE})
    write_gallery(
        tmp_path / "index.html",
        [row],
        HOSTILE,
        {HOSTILE: HOSTILE},
        summary=HOSTILE,
        links={HOSTILE: image},
        commands={HOSTILE: HOSTILE},
    )
    page = ParsedPage((tmp_path / "index.html").read_text(encoding="utf-8"))
    # title, heading, summary, figure's label, column, caption, figures (two), link, purpose and command
    assert_harmless(page, shown=11)
    assert [attributes["alt"] for attributes in page.all("img")] == [f"{HOSTILE}: {HOSTILE}"]


def test_the_images_of_a_gallery_enlarge(browser: Any, tmp_path: Path) -> None:
    images = {column: tmp_path / f"{column}.png" for column in ("input", "output")}
    for path in images.values():
        Image.new("RGB", (32, 32)).save(path)
    write_gallery(tmp_path / "index.html", [GalleryRow(name="one", images=images)], "title", {})
    with opened(browser, (tmp_path / "index.html").as_uri(), PHONE) as page:
        page.get_by_role("button", name="Enlarge one: output").press("Enter")
        dialog = page.get_by_role("dialog")
        width = "document.querySelector('dialog img').getBoundingClientRect().width"
        page.wait_for_function(f"{width} === {32 * 12}")  # the whole factors that fit into 390
        page.keyboard.press("ArrowLeft")
        assert dialog.get_by_role("status").inner_text() == "one: input"


def test_a_page_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TranslatekitError, match="was not written"):
        write_gallery(tmp_path / "missing" / "index.html", [], "title", {})
