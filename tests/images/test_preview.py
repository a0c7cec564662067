"""What images of any kind look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec
from translatekit.images.preview import preview

RNG = np.random.default_rng(0)
HOUNSFIELD = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")


def test_photographs_look_as_they_are() -> None:
    rgb = RNG.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    assert np.array_equal(preview(rgb, RGB), rgb)
    assert np.array_equal(preview(rgb[:, :, :1], GRAY), rgb[:, :, :1].repeat(3, axis=2))
    assert np.array_equal(preview(rgb / np.float32(255), RGB), rgb)


def test_values_are_shown_by_their_range_or_a_window() -> None:
    image = np.array([-1024, 40, 3071, np.nan], np.float32).reshape(2, 2, 1)
    assert preview(image, HOUNSFIELD)[:, :, 0].flatten().tolist() == [0, 66, 255, 0]
    assert preview(image, HOUNSFIELD, window=(40, 400))[:, :, 0].flatten().tolist() == [0, 128, 255, 0]


def test_the_colours_of_bands_are_found_by_name() -> None:
    names = ("B02", "B03", "B04", "B08")
    bands = ImageSpec(channels=names, meaning="values").with_range(0, 255)
    image = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
    assert preview(image, bands).tolist() == [[[2, 1, 0]]]
    assert preview(image, replace(bands, channels=("a", "b", "c", "d"))).tolist() == [[[0, 1, 2]]]


def test_of_slices_the_middle_one_is_shown() -> None:
    stack = replace(HOUNSFIELD, channels=("CT -1", "CT", "CT +1"), slices=3)
    image = np.array([-1024, 3071, -1024], np.float32).reshape(1, 1, 3)
    assert preview(image, stack).tolist() == [[[255, 255, 255]]]


def test_classes_have_colours() -> None:
    spec = labels_spec([0, 7, 9])
    image = np.array([0, 7, 9], np.uint8).reshape(1, 3, 1)
    assert len({tuple(color) for color in preview(image, spec)[0]}) == 3
    named = replace(spec, palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert preview(image, named).tolist() == [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]
