"""Grids of sample images."""

from __future__ import annotations

import pytest
import torch

from translatekit.training.samples import sample_grid


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
