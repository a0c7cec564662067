"""The images that a compiled model is checked on: of whatever kind it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.compile.images import sample_images

from translatekit.config import RunConfig
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, levels_spec
from translatekit.model_info import ModelInfo
from translatekit.registry import registry

MR = ImageSpec(channels=("gray",), meaning="values", dtype="float32").with_range(0, 1200)
CT = ImageSpec(channels=("gray",), meaning="values", dtype="float32").with_range(-1024, 3071, unit="HU")
SLICES = ImageSpec(channels=("CT",) * 3, meaning="values", slices=3).with_range(-1024, 3071)
CITY = labels_spec([0, 7, 255], edges=True)


def model(spec: ImageSpec, **info: Any) -> ModelInfo:
    return ModelInfo(method="pix2pix", generator="unet", input=spec, size=16, size_multiple=8, **info)


@pytest.mark.parametrize(
    ("spec", "dtype", "what"),
    [
        (RGB, "uint8", "facades"),
        (RGB, "float32", "facades"),
        (levels_spec(5, "uint16"), "float32", "values"),
        (CT, "float32", "values"),
        (SLICES, "float32", "values"),
        (CITY, "uint8", "class maps"),
    ],
)
def test_images_are_drawn_over_the_range_of_the_spec(spec: ImageSpec, dtype: str, what: str) -> None:
    images, origin = sample_images(None, Path("nowhere/model.safetensors"), model(spec), 3, None, dtype)
    assert origin.startswith(f"drawn {what}, since")
    low, high = (0, 255) if dtype == "uint8" else spec.span
    for image in images:
        assert (image.shape, image.dtype) == ((16, 16, spec.count), dtype)
        assert low <= image.min() < image.max() <= high
        assert image.std() > (high - low) / 50
    if spec is CITY:
        assert {int(number) for image in images for number in np.unique(image[:, :, 0])} == {0, 7, 255}


def test_a_runs_values_are_those_it_was_trained_on(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for folder in ("mr", "ct"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            np.save(tmp_path / folder / f"{number}.npy", random.uniform(0, 1000, (16, 16)).astype(np.float32))
    (tmp_path / "config.toml").write_text(
        f'method = "pix2pix"\ndata = {str(tmp_path / "mr")!r}\n'
        f'[options]\ncrop_size = 16\nrange = "A=0..1200,B=-1024..3071"\n'
        f"[options.dataset_options]\nb = {str(tmp_path / 'ct')!r}\n"
    )
    info = model(MR, output=CT, data={"dataset": "aligned", "input": "input", "target": "target"})
    images, origin = sample_images(None, tmp_path / "model.safetensors", info, 3, None, "float32")
    assert origin == "the run's own images"
    files = sorted(float(np.load(file).max()) for file in (tmp_path / "mr").iterdir())
    np.testing.assert_allclose(sorted(float(image.max()) for image in images), files, atol=1200 / 65535)


@pytest.mark.parametrize(("total", "count"), [(5, 3), (6, 3), (2, 3), (1, 3)])
def test_images_are_of_the_whole_folder(total: int, count: int, tmp_path: Path) -> None:
    for number in range(total):
        np.save(tmp_path / f"{number}.npy", np.full((16, 16), 100 * number, np.float32))
    images, _ = sample_images(str(tmp_path), Path("model.safetensors"), model(MR), count, None, "float32")
    levels = [round(float(image.mean())) for image in images]
    assert len(levels) == min(total, count)
    assert levels[0] == 0
    assert levels[-1] >= 100 * (total - 1) - 100 * total / count
    assert levels == sorted(set(levels))


def test_a_folder_of_images_is_converted_to_what_the_model_takes(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.linspace(-1024, 3071, 256, dtype=np.float32).reshape(16, 16))
    (image,), origin = sample_images(str(tmp_path), Path("model.safetensors"), model(CT), 3, None, "float32")
    assert origin == str(tmp_path)
    np.testing.assert_allclose(image.flatten(), np.linspace(-1024, 3071, 256), atol=1e-3)
    (image,), _ = sample_images(str(tmp_path), Path("model.safetensors"), model(SLICES), 3, None, "float32")
    assert image.shape == (16, 16, 3)
    from PIL import Image

    Image.new("RGB", (16, 16), (200, 200, 200)).save(tmp_path / "photo.png")
    (tmp_path / "scan.npy").unlink()
    (image,), _ = sample_images(str(tmp_path), Path("model.safetensors"), model(GRAY), 3, None, "uint8")
    assert (image.dtype, set(image.flatten())) == (np.uint8, {200})


def test_images_that_any_dataset_draws_are_those_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = registry("dataset")
    demo = datasets.entry("demo")
    monkeypatch.setitem(datasets._claims, "drawn", [replace(demo, spec=replace(demo.spec, name="drawn"))])
    config = RunConfig.resolve("pix2pix", None, {"dataset": "drawn", "crop_size": 32, "load_size": 32})
    (tmp_path / "config.toml").write_text(config.to_toml())
    info = ModelInfo(
        method="pix2pix",
        generator="resnet",
        generator_options={},
        size=32,
        size_multiple=4,
        data={"input": "input", "target": "target"},
    )
    found, origin = sample_images(None, tmp_path / "model.safetensors", info, 2, None, "uint8")
    assert (origin, len(found)) == ("the run's own images", 2)
