"""What a run shows: sample grids and its page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from translatekit.training.report.page import POINTS_A_CURVE, write_index
from translatekit.training.samples import sample_grid


class Page(HTMLParser):
    """A page's elements and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.data: list[Any] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            if data.startswith(("{", "[")):
                self.data.append(json.loads(data))
        elif "style" not in self._open:
            self.text += data + "\n"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def train_line(step: int, **losses: float) -> dict[str, Any]:
    return {
        "kind": "train",
        "step": step,
        "epoch": step // 100,
        "losses": losses or {"G_GAN": 1.0, "G_L1": 30.0},
        "accuracy": {"real": 0.75, "fake": 0.5},
        "lr": 2e-4,
        "images_per_second": 12.5,
    }


def make_run(folder: Path, lines: Iterable[Mapping[str, Any]], tail: str = "", config: str = "") -> Page:
    folder.mkdir(exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    if config:
        (folder / "config.toml").write_text(config)
    write_index(folder)
    return Page((folder / "index.html").read_text(encoding="utf-8"))


# --- sample grids


def test_a_grid_has_a_column_a_title_and_a_row_an_image() -> None:
    colors = {"input": -1.0, "output": 0.0, "target": 1.0}
    grid = sample_grid({title: torch.full((2, 3, 128, 128), value) for title, value in colors.items()})
    assert grid.mode == "RGB"
    assert 3 * 128 < grid.width < 3.3 * 128
    assert 2 * 128 < grid.height < 2.5 * 128
    for row in (0.35, 0.85):
        seen = [grid.getpixel((int(grid.width * x), int(grid.height * row))) for x in (1 / 6, 1 / 2, 5 / 6)]
        assert seen == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


def test_captions_are_drawn_above_their_columns() -> None:
    images = torch.zeros(1, 1, 128, 128)
    one, other = sample_grid({"input": images}), sample_grid({"target": images})
    assert one.size == other.size
    assert one.tobytes() != other.tobytes()
    below = (0, one.height - 128, one.width, one.height)
    assert one.crop(below).tobytes() == other.crop(below).tobytes()


def test_small_images_are_enlarged_by_a_whole_factor() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., 16, 16] = 1
    grid = sample_grid({"a title longer than the image is wide": image})
    assert grid.width >= 128
    colors = {
        color: count for count, color in grid.crop((0, grid.height - 128, *grid.size)).getcolors() or []
    }
    assert colors[(255, 255, 255)] == 16


def test_gray_and_colour_columns_of_unlike_length_share_a_grid() -> None:
    grid = sample_grid({"gray": torch.zeros(1, 1, 128, 128), "colour": torch.ones(3, 3, 64, 64)})
    assert grid.height > 3 * 128
    assert grid.getpixel((grid.width * 3 // 4, grid.height - 60)) == (255, 255, 255)


def test_values_out_of_range_or_not_numbers_are_drawn_all_the_same() -> None:
    grid = sample_grid({"x": torch.tensor([float("nan"), float("inf"), -7.0, 7.0]).view(4, 1, 1, 1)})
    cell = (grid.height - 16) // 4
    assert grid.width >= 128
    assert cell > 100


def test_a_grid_of_nothing_or_of_two_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        sample_grid({})
    with pytest.raises(ValueError, match="got 2"):
        sample_grid({"ab": torch.zeros(1, 2, 8, 8)})


# --- the page of a run


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
    page = make_run(
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
    assert len(page.all("svg")) == 7
    assert [image["src"] for image in page.all("img")] == [
        f"samples/step-{step:08d}.png" for step in (200, 200, 100)
    ]


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = make_run(tmp_path / "run", [train_line(1)])
    assert not page.all("link")
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert "//" not in (attributes.get(name) or "")
    assert "url(" not in (tmp_path / "run" / "index.html").read_text(encoding="utf-8")


def test_names_and_texts_cannot_become_markup(tmp_path: Path) -> None:
    evil = "</script><b>bold & <!--"
    lines: list[Mapping[str, Any]] = [train_line(1, **{evil: 1.0}), train_line(2, **{evil: 2.0})]
    lines.append({"kind": "event", "step": 2, "epoch": 0, "text": evil})
    page = make_run(tmp_path / "run", lines, config=f"method = '{evil}'\n")
    assert page.text.count(evil) >= 4
    assert any(series["name"] == evil for chart in page.data for series in chart["series"])
    curves = sum(len(chart["series"]) for chart in page.data)
    assert len(page.all("b")) == curves  # the latest values in the legends, and nothing else


@pytest.mark.parametrize(
    "tail", ['{"kind": "tra', "\x00\x00", '[1, 2]\n"text"\n{"kind": "train"}\n{"step": 3}\n']
)
def test_a_torn_or_foreign_line_leaves_the_rest(tmp_path: Path, tail: str) -> None:
    page = make_run(tmp_path / "run", [train_line(1), train_line(2)], tail)
    assert page.data[0]["series"][0]["points"] == [[1, 1.0], [2, 1.0]]


def test_losses_that_are_not_numbers_are_left_out_of_the_curves(tmp_path: Path) -> None:
    lines = [
        train_line(1, G=1.0),
        train_line(2, G=float("nan")),
        train_line(3, G=float("inf")),
        train_line(4, G=2.0),
    ]
    page = make_run(tmp_path / "run", lines)
    assert [point[0] for point in page.data[0]["series"][0]["points"]] == [1, 4]


def test_an_empty_folder_has_a_page_too(tmp_path: Path) -> None:
    write_index(tmp_path)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "no step logged yet" in page.text
    assert not page.all("svg")


def test_a_long_run_gives_a_small_page_soon(tmp_path: Path) -> None:
    lines = [train_line(step, G=1 + step % 7, D=1.0) for step in range(1, 100_001)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = time.process_time()
    write_index(tmp_path)
    assert time.process_time() - start < 15
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(text) < 400_000
    points = Page(text).data[0]["series"][0]["points"]
    assert len(points) <= POINTS_A_CURVE
    assert points[-1][0] == 100_000


def test_the_page_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    make_run(tmp_path / "run", [train_line(1)])
    make_run(tmp_path / "run", [train_line(1), train_line(2)])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["index.html", "metrics.jsonl"]
