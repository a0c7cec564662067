"""The page of a run, as the file that it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.pages import HOSTILE, ParsedPage, assert_harmless, train_line
from translatekit.errors import TranslatekitError
from translatekit.training.report import page as pages
from translatekit.training.report.charts import POINTS_A_CURVE
from translatekit.training.report.page import render, write_index


def parsed_run(
    folder: Path, lines: Iterable[Mapping[str, Any]], tail: str = "", config: str = ""
) -> ParsedPage:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    if config:
        (folder / "config.toml").write_text(config)
    write_index(folder)
    return ParsedPage((folder / "index.html").read_text(encoding="utf-8"))


def test_the_page_shows_curves_figures_samples_events_and_options(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    for step in (100, 200):
        Image.new("RGB", (8, 8)).save(run / f"samples/step-{step:08d}.png")
    lines: list[Mapping[str, Any]] = [train_line(step) for step in range(10, 201, 10)]
    lines.append(
        {"kind": "validation", "step": 200, "epoch": 1, "metrics": {"l1": 0.25, "psnr": 14.5, "ssim": 0.5}}
    )
    lines.append({"kind": "event", "step": 200, "epoch": 2, "text": "finished: model.safetensors"})
    page = parsed_run(
        run,
        lines,
        config='method = "pix2pix"\ndata = "/photos/facades"\n[options]\nepochs = 1\nepochs_decay = 1\n',
    )
    for text in (
        "pix2pix on facades",
        "step 200, epoch 2 of 2 · finished: model.safetensors",
        "Losses",
        "G_L1",
        "Discriminator accuracy",
        "Images a second",
        "14.5",
        "epochs_decay = 1",
    ):
        assert text in page.text
    assert len(page.data) == 1 + 7  # the samples, and a chart each
    assert [image["src"] for image in page.all("img")] == [
        f"samples/step-{step:08d}.png" for step in (200, 200, 100)
    ]


def test_a_run_that_was_gone_on_with_is_not_called_stopped(tmp_path: Path) -> None:
    stopped = {"kind": "event", "step": 20, "epoch": 0, "text": "stopped and saved at step 20"}
    assert "step 20, epoch 1 · stopped" in parsed_run(tmp_path / "run", [train_line(20), stopped]).text
    page = parsed_run(tmp_path / "run", [train_line(20), stopped, train_line(30)])
    assert "step 30, epoch 1 ·" not in page.text
    assert "stopped and saved at step 20" in page.text, "among its events"


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = parsed_run(tmp_path / "run", [train_line(1)])
    assert not page.all("link")
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert "//" not in (attributes.get(name) or "")
    assert "url(" not in (tmp_path / "run" / "index.html").read_text(encoding="utf-8")


def test_names_and_texts_cannot_become_markup(tmp_path: Path) -> None:
    lines: list[Mapping[str, Any]] = [train_line(step, **{HOSTILE: 1.0 * step}) for step in (1, 2)]
    lines.append({"kind": "validation", "step": 2, "epoch": 0, "metrics": {HOSTILE: 1.0}})
    lines.append({"kind": "samples", "step": 2, "epoch": 0, "diversity": {HOSTILE: 0.0}})
    lines.append({"kind": "event", "step": 2, "epoch": 0, "text": HOSTILE})
    page = parsed_run(tmp_path / "run", lines, config=f"method = '''{HOSTILE}'''\n")
    # title, heading, state, figure, chart's heading, legends, event and options
    assert_harmless(page, shown=10)
    assert any(series["name"] == HOSTILE for chart in page.data for series in chart["series"])
    quoted = [attributes["data-series"] for attributes in page.all("button") if "data-series" in attributes]
    assert HOSTILE in quoted


def test_a_template_that_is_given_too_little_is_an_error() -> None:
    with pytest.raises(Exception, match="'title' is undefined"):
        render("report/run.html")


def test_without_the_chart_library_the_remedy_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise pages.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(pages.metadata, "distribution", missing)
    pages._chart_library.cache_clear()
    with pytest.raises(TranslatekitError, match=r"uPlot.* pip install 'translatekit"):
        write_index(tmp_path)


@pytest.mark.parametrize(
    "tail", ['{"kind": "tra', "\x00\x00", '[1, 2]\n"text"\n{"kind": "train"}\n{"step": 3}\n']
)
def test_a_torn_or_foreign_line_leaves_the_rest(tmp_path: Path, tail: str) -> None:
    page = parsed_run(tmp_path / "run", [train_line(1), train_line(2)], tail)
    assert page.data[0]["series"][0]["points"] == [[1, 1.0], [2, 1.0]]


def test_losses_that_are_not_numbers_are_left_out_of_the_curves(tmp_path: Path) -> None:
    lines = [
        train_line(1, G=1.0),
        train_line(2, G=float("nan")),
        train_line(3, G=float("inf")),
        train_line(4, G=2.0),
    ]
    page = parsed_run(tmp_path / "run", lines)
    assert [point[0] for point in page.data[0]["series"][0]["points"]] == [1, 4]


def test_an_empty_folder_has_a_page_too(tmp_path: Path) -> None:
    write_index(tmp_path)
    page = ParsedPage((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "no step logged yet" in page.text
    assert page.data == []


def test_a_long_run_gives_a_small_page_soon(tmp_path: Path) -> None:
    lines = [train_line(step, G=1 + step % 7, D=1.0) for step in range(1, 100_001)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = time.process_time()
    write_index(tmp_path)
    assert time.process_time() - start < 15
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(text) < 400_000
    points = ParsedPage(text).data[0]["series"][0]["points"]
    assert len(points) <= POINTS_A_CURVE
    assert points[-1][0] == 100_000


def test_the_page_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    parsed_run(tmp_path / "run", [train_line(1)])
    parsed_run(tmp_path / "run", [train_line(1), train_line(2)])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["index.html", "metrics.jsonl"]


def test_figures_in_the_unit_of_the_images_say_so(tmp_path: Path) -> None:
    line = {"kind": "validation", "step": 10, "epoch": 0, "metrics": {"l1": 81.5, "psnr": 30.0}, "unit": "HU"}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<dt>Best validation L1</dt><dd>81.5 <small>HU</small></dd>" in page
    assert "L1 (HU)" in page
    assert "PSNR (HU)" not in page
