"""Pixels without a value, and those that a mask leaves out, count in no figure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from translatekit_tools.evaluate import evaluate
from translatekit_tools.evaluate.page import error_map

import translatekit
from tests.fakes import run_here
from tests.training.conftest import TINY
from translatekit.errors import DataError, OptionError
from translatekit.images import read_image

SIDE = 32


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Values of -1000 to 3000, whose targets have none in their upper half, where float TIFF says NaN."""
    root = tmp_path_factory.mktemp("values")
    random = np.random.default_rng(0)
    for split, side in ((split, side) for split in ("train", "val") for side in "AB"):
        (root / split / side).mkdir(parents=True)
        for number in range(3):
            values = random.uniform(-1000, 3000, (SIDE, SIDE)).astype(np.float32)
            if side == "B":
                values[: SIDE // 2] = np.nan
            tifffile.imwrite(root / split / side / f"{number}.tif", values)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    options = {**TINY, "load_size": SIDE, "max_steps": 2, "range": "-1000..3000", "unit": "HU"}
    return translatekit.train("pix2pix", data, output=str(folder), **options)


def mean_errors(data: Path, run: Path, out: Path, counts: np.ndarray) -> list[float]:
    """Of each image, by its files: that which `run` writes, and the target."""
    assert not translatekit.translate(data / "val" / "A", run, out).failed
    pairs = [
        [read_image(folder / f"{n}.tif").pixels for folder in (out, data / "val" / "B")] for n in range(3)
    ]
    return [float(np.abs(made - wanted)[counts].mean()) for made, wanted in pairs]


def test_errors_in_the_unit_are_those_where_the_files_have_values(
    data: Path, run: Path, tmp_path: Path
) -> None:
    counts = np.arange(SIDE) >= SIDE // 2
    expected = mean_errors(data, run, tmp_path / "out", counts)
    evaluation = evaluate(run, data, metrics=("l1", "ssim"))
    assert evaluation.models[0].metrics["l1"].value == pytest.approx(np.mean(expected), rel=1e-4)
    assert any("50.0% of the pixels count in no figure" in note for note in evaluation.notes)
    validated = (run / "metrics.jsonl").read_text().splitlines()
    assert all("NaN" not in line for line in validated)


def test_figures_without_a_value_are_null_in_json(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(3):
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(masks / f"{number}.png")
    arguments = ("evaluate", str(run), str(data), "--metrics", "l1", "--mask", str(masks))
    assert run_here(*arguments, "--json") == 0
    text = capsys.readouterr().out
    assert "NaN" not in text
    assert json.loads(text)["models"][0]["metrics"]["l1"]["value"] is None
    (tmp_path / "earlier.json").write_text(text)
    assert run_here(*arguments, "--compare", str(tmp_path / "earlier.json")) == 0


def test_masks_lie_beside_the_images(data: Path, run: Path, tmp_path: Path) -> None:
    counts = np.zeros((SIDE, SIDE), bool)
    counts[20:, 5:9] = True
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(3):
        drawn = counts.copy()
        drawn[:4] = True  # where the target has no value
        Image.fromarray(drawn.astype(np.uint8)).save(masks / f"{number}.png")
    expected = mean_errors(data, run, tmp_path / "out", counts)
    evaluation = evaluate(run, data, metrics=("l1",), mask=str(masks), report=str(tmp_path / "page.html"))
    assert evaluation.models[0].metrics["l1"].value == pytest.approx(np.mean(expected), rel=1e-4)
    assert (tmp_path / "page.html").is_file()

    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(masks / "1.png")
    evaluation = evaluate(run, data, metrics=("l1", "psnr"), mask=str(masks))
    assert evaluation.models[0].metrics["l1"].value == pytest.approx(np.mean(expected[::2]), rel=1e-4)
    assert any("1 of 3 images have no pixel that counts" in note for note in evaluation.notes)


def test_masks_that_do_not_belong_are_refused(data: Path, run: Path, tmp_path: Path, unpaired: Path) -> None:
    masks = tmp_path / "masks"
    with pytest.raises(DataError, match="there is no folder"):
        evaluate(run, data, mask=str(masks))
    masks.mkdir()
    with pytest.raises(DataError, match="holds no images"):
        evaluate(run, data, mask=str(masks))
    for number in range(3):
        Image.fromarray(np.ones((SIDE, SIDE + 1), np.uint8)).save(masks / f"{number}.png")
    with pytest.raises(DataError, match="33x32 pixels and its image"):
        evaluate(run, data, mask=str(masks))
    for path in masks.iterdir():
        path.unlink()
    shutil.copy(data / "val" / "A" / "0.tif", masks)
    with pytest.raises(DataError, match="has no mask in"):
        evaluate(run, data, mask=str(masks), metrics=("l1",))
    with pytest.raises(OptionError, match="paired data"):
        evaluate(run, unpaired, dataset="unaligned", mask=str(masks))


def test_an_error_map_is_gray_where_pixels_do_not_count() -> None:
    image, other = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    drawn = error_map(image, other, np.array([[True, False], [True, True]]))
    assert (drawn[0, 1] == 96).all()
    assert (drawn[0, 0] != 96).any()
