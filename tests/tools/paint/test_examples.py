"""Examples to start from, out of the data of a run, and the models of its directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.paint.examples import Examples
from translatekit_tools.paint.models import find_directions

from tests.tools.test_run import save
from translatekit.config import RunConfig
from translatekit.datasets.facades import PALETTE
from translatekit.datasets.palette import Palette, find_palette
from translatekit.errors import DataError
from translatekit.image_spec import GRAY
from translatekit.images import read_levels
from translatekit.model_file import read_info
from translatekit.model_info import ModelInfo


def pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    return read_levels(png, 3, deep=False).pixels


def unpaired(root: Path) -> Path:
    """Red images in A, blue ones in B."""
    for split in ("train", "val"):
        for side, color in (("A", (200, 0, 0)), ("B", (0, 0, 200))):
            (root / f"{split}{side}").mkdir(parents=True)
            for number in range(3):
                image = Image.new("RGB", (32, 32), color)
                image.putpixel((number, 0), (255, 255, 255))
                image.save(root / f"{split}{side}" / f"{number}.png")
    return root


def test_a_model_of_the_demo_needs_no_run_to_have_examples() -> None:
    info = ModelInfo(method="test", generator="unet", size=64, data={"dataset": "demo"})
    examples = Examples(info, None)
    first, second = pixels(examples.example(0)), pixels(examples.example(1))
    assert first.shape == (64, 64, 3)
    assert {tuple(color) for color in first.reshape(-1, 3)} <= set(PALETTE.values())
    assert (first != second).any()
    surprise = pixels(examples.surprise(3))
    assert {tuple(color) for color in surprise.reshape(-1, 3)} <= set(PALETTE.values())
    np.testing.assert_array_equal(surprise, pixels(examples.surprise(3)))
    assert any((surprise != pixels(examples.surprise(seed))).any() for seed in range(4))


def test_each_direction_of_a_run_has_its_file_and_its_side_of_the_data(tmp_path: Path) -> None:
    run, data = tmp_path / "run", unpaired(tmp_path / "data")
    for name, direction in (("model", "AtoB"), ("model-BtoA", "BtoA")):
        save(run / f"{name}.safetensors", direction=direction, size=32)
    (run / "config.toml").write_text(
        f'method = "cyclegan"\ndata = "{data}"\n[options]\ndataset = "unaligned"\n'
    )
    assert list(find_directions(run, RunOptions())) == ["AtoB", "BtoA"]
    assert list(find_directions(run, RunOptions(direction="BtoA"))) == ["BtoA", "AtoB"]
    assert list(find_directions(run / "model-BtoA.safetensors", RunOptions()).values()) == [
        run / "model-BtoA.safetensors"
    ]
    for file, channel in (("model", 0), ("model-BtoA", 2)):
        path = run / f"{file}.safetensors"
        example = pixels(Examples(read_info(path), RunConfig.of_model(path)).example(0))
        assert example[10, 10, channel] == 200
        assert example[10, 10].sum() == 200


def test_a_copy_beside_a_runs_model_is_not_served_in_its_place(tmp_path: Path) -> None:
    for name in ("model", "model-before", "model2"):
        save(tmp_path / f"{name}.safetensors", direction="AtoB", size=32)
    assert find_directions(tmp_path, RunOptions()) == {"AtoB": tmp_path / "model.safetensors"}


@pytest.mark.parametrize("data", [{}, {"dataset": "aligned"}, {"dataset": "of a plugin that is gone"}])
def test_where_the_data_are_not_known_there_are_none(data: dict[str, str]) -> None:
    examples = Examples(ModelInfo(method="test", generator="unet", data=data), None)
    assert examples.example(0) is None
    assert examples.surprise(0) is None


def test_data_that_are_gone_or_of_other_channels_give_none(tmp_path: Path) -> None:
    save(tmp_path / "run/model.safetensors")
    (tmp_path / "run/config.toml").write_text('method = "pix2pix"\ndata = "/nowhere"\n')
    path = tmp_path / "run/model.safetensors"
    assert Examples(read_info(path), RunConfig.of_model(path)).example(0) is None
    gray = ModelInfo(method="test", generator="unet", input=GRAY, data={"dataset": "demo"})
    assert Examples(gray, None).example(0) is None


def test_a_palette_of_one_colour_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "palette.json"
    path.write_text(Palette(("wall", "sky"), ((1, 2, 3), (1, 2, 3))).to_json())
    with pytest.raises(DataError, match="has one colour"):
        find_palette(tmp_path / "model.onnx", ModelInfo(method="test", generator="unet"), path)
