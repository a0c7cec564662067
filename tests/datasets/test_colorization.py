from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from translatekit.datasets.colorization import Colorization
from translatekit.image_spec import GRAY, RGB
from translatekit.images import encode_image, image_of, to_gray
from translatekit.images.color import rgb_to_lab, scaled_ab, scaled_l
from translatekit.images.color_torch import gray_to_l, lab_to_rgb
from translatekit.interfaces import DataOptions


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0, 0)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    np.testing.assert_allclose(rgb_to_lab(np.array(rgb, np.uint8)), lab, atol=0.02)


def test_lab_and_back_gives_every_colour_again() -> None:
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    lab = torch.from_numpy(rgb_to_lab(rgb).transpose(2, 0, 1)[None])
    again = lab_to_rgb(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)
    np.testing.assert_allclose(again[0].numpy().transpose(1, 2, 0) * 255, rgb, atol=0.1)


def test_lightness_of_gray_agrees_between_arrays_and_tensors_and_lab() -> None:
    gray = np.arange(256, dtype=np.uint8)
    expected = rgb_to_lab(np.repeat(gray[:, None], 3, axis=1))[:, 0] / 50 - 1
    np.testing.assert_allclose(scaled_l(gray), expected, atol=1e-5)
    tensor = gray_to_l(torch.from_numpy(gray.astype(np.float32) / 255).reshape(1, 1, 16, 16))
    np.testing.assert_allclose(tensor.flatten().numpy(), expected, atol=1e-5)


def test_without_colour_gray_stays_gray() -> None:
    gray = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb = lab_to_rgb(gray_to_l(gray), torch.zeros(2, 2, 8, 8))
    torch.testing.assert_close(rgb, gray.expand(2, 3, 8, 8), rtol=0, atol=1e-4)


def test_gradients_are_finite_at_the_ends_of_the_range() -> None:
    l = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).requires_grad_()  # noqa: E741
    ab = torch.tensor([[-1.0, 1.0], [0.0, 0.0]]).reshape(2, 2, 1, 1).requires_grad_()
    lab_to_rgb(l, ab).sum().backward()
    assert l.grad is not None
    assert ab.grad is not None
    assert l.grad.isfinite().all()
    assert ab.grad.isfinite().all()


def test_colour_conversion_can_be_traced() -> None:
    l, ab = torch.rand(1, 1, 4, 4), torch.rand(1, 2, 4, 4)  # noqa: E741
    exported = torch.export.export(_LabToRGB(), (l, ab)).module()
    torch.testing.assert_close(exported(l, ab), lab_to_rgb(l, ab))


class _LabToRGB(torch.nn.Module):
    def forward(self, l: torch.Tensor, ab: torch.Tensor) -> torch.Tensor:  # noqa: E741
        return lab_to_rgb(l, ab)


@pytest.fixture
def picture(tmp_path: Path) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(encode_image(image_of(pixels), ".png"))
    return pixels


OPTIONS = DataOptions(load_size=16, crop_size=16, flip=False)


def test_rgb_mode_learns_colour_from_luma(tmp_path: Path, picture: np.ndarray) -> None:
    dataset = Colorization(tmp_path, OPTIONS)
    assert dataset.specs == {"input": GRAY, "target": RGB}
    item = dataset[0]
    np.testing.assert_allclose((item["target"].numpy().transpose(1, 2, 0) + 1) * 127.5, picture, atol=1e-4)
    np.testing.assert_allclose((item["input"][0].numpy() + 1) * 127.5, to_gray(picture)[:, :, 0], atol=1e-4)


def test_lab_mode_learns_ab_from_the_lightness_of_luma(tmp_path: Path, picture: np.ndarray) -> None:
    dataset = Colorization(tmp_path, OPTIONS, mode="lab")
    assert {key: spec.codec for key, spec in dataset.specs.items()} == {"input": "lab", "target": "lab"}
    assert [spec.network_channels for spec in dataset.specs.values()] == [1, 2]
    item = dataset[0]
    np.testing.assert_allclose(item["target"].numpy().transpose(1, 2, 0), scaled_ab(picture), atol=1e-6)
    gray = torch.from_numpy(to_gray(picture).astype(np.float32) / 255).permute(2, 0, 1)[None]
    torch.testing.assert_close(item["input"][None], gray_to_l(gray), rtol=0, atol=1e-5)
