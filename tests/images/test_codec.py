"""Values of images, those of a network, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, levels_spec, specs_of_8_bits
from translatekit.images.codec import ValueCodec

HOUNSFIELD = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")
BANDS = ImageSpec(channels=("B02", "B03"), meaning="values", dtype="uint16").with_range((0, 10), (4000, 5000))


def back(spec: ImageSpec, batch: np.ndarray) -> np.ndarray:
    codec = ValueCodec(spec)
    values = codec.encode(torch.from_numpy(batch))
    assert values.dtype == torch.float32
    assert values.shape == (len(batch), spec.network_channels, *batch.shape[1:3])
    return codec.decode(values, values, torch.from_numpy(batch).dtype).numpy()


@pytest.mark.parametrize("spec", [RGB, GRAY, levels_spec(5)])
def test_levels_come_back_as_they_were(spec: ImageSpec) -> None:
    batch = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(spec.count, axis=3)
    assert np.array_equal(back(spec, batch), batch)
    deep = (np.arange(65536, dtype=np.float32) / 65535).reshape(1, 256, 256, 1).repeat(spec.count, axis=3)
    assert np.abs(back(spec, deep) - deep).max() < 0.5 / 65535


def test_values_come_back_in_their_unit() -> None:
    batch = np.arange(-1024, 3072, dtype=np.float32).reshape(1, 64, 64, 1)
    assert np.abs(back(HOUNSFIELD, batch) - batch).max() < 4095 * 0.5 / 65535
    values = ValueCodec(HOUNSFIELD).encode(torch.from_numpy(batch))
    assert (values.min().item(), values.max().item()) == (-1, 1)


def test_each_channel_has_its_range() -> None:
    batch = np.array([[0, 10], [4000, 5000]], np.float32).reshape(1, 2, 1, 2)
    values = ValueCodec(BANDS).encode(torch.from_numpy(batch))
    assert values.flatten().tolist() == [-1, 1, -1, 1]
    assert np.array_equal(back(BANDS, batch), batch)


def test_values_beyond_the_range_are_drawn_to_it() -> None:
    batch = np.array([-3000, 9000], np.float32).reshape(1, 2, 1, 1)
    assert back(HOUNSFIELD, batch).flatten().tolist() == [-1024, 3071]


def test_classes_become_channels() -> None:
    codec = ValueCodec(labels_spec([0, 7, 255], edges=True))
    batch = np.array([[0, 0], [7, 1], [255, 0], [9, 1]], np.uint8).reshape(1, 2, 2, 2)
    values = codec.encode(torch.from_numpy(batch))
    assert values.permute(0, 2, 3, 1).reshape(4, 4).tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 1],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


def test_the_largest_channel_is_the_class() -> None:
    codec = ValueCodec(labels_spec([0, 7, 255]))
    values = torch.tensor([[0.2, 0.9, -1.0], [-0.5, -0.9, -0.6], [-1.0, 0.1, 0.3]]).T.reshape(1, 3, 1, 3)
    for dtype in (torch.uint8, torch.float32):
        images = codec.decode(values, values, dtype)
        assert (images.dtype, images.flatten().tolist()) == (torch.uint8, [7, 0, 255])
    edges = labels_spec([0, 7, 255], edges=True)
    batch = np.array([[0, 0], [7, 1], [255, 0], [7, 0]], np.uint8).reshape(1, 2, 2, 2)
    assert np.array_equal(back(edges, batch), batch)


def test_lightness_comes_back_as_gray() -> None:
    gray, _ = specs_of_8_bits("lab", 1, 2)
    batch = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.abs(back(gray, batch).astype(int) - batch).max() <= 1


def test_of_several_slices_that_a_network_makes_the_middle_one_is_the_image() -> None:
    spec = ImageSpec(channels=("a", "b"), meaning="values", network_slices=3).with_range(0, 10)
    assert spec.network_channels == 6
    values = torch.linspace(-1, 1, 6).reshape(1, 6, 1, 1)
    (image,) = ValueCodec(spec).decode(values, values, torch.float32)
    assert image.flatten().tolist() == pytest.approx([4, 6])
    with pytest.raises(ValueError, match="the middle one"):
        ImageSpec(channels=("a", "b"), meaning="values", slices=2, network_slices=3).check()
