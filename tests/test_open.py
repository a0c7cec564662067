"""`translatekit.open`: a model file in, images of any size and kind through it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import translatekit
from tests.fakes import run_python
from translatekit.errors import ModelFileError, OptionError, PluginError
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    torch.manual_seed(0)
    options = {"depth": 3, "width": 4, "norm": "none"}
    network = make_generator("unet", options, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="pix2pix",
        generator="unet",
        generator_options={**options, "in_channels": 3, "out_channels": 3},
        size_multiple=8,
        size=32,
    )
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, network.state_dict(), info)
    return path


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def test_images_of_any_size_go_through_a_model_file(model: Path, tmp_path: Path) -> None:
    predictor = translatekit.open(model, "cpu")
    image = pixels(21, 30)
    output = predictor.translate(image)
    bare = translatekit.load(model, "cpu")(np.pad(image, [(1, 2), (1, 1), (0, 0)], mode="reflect")[None])[0]
    np.testing.assert_array_equal(output, bare[1:-2, 1:-1])
    Image.fromarray(image).save(tmp_path / "in.png")
    np.testing.assert_array_equal(predictor.translate(tmp_path / "in.png"), output)
    np.testing.assert_array_equal(np.asarray(predictor.translate(Image.fromarray(image))), output)


def test_it_is_what_run_makes_of_a_folder(model: Path, tmp_path: Path) -> None:
    for number in range(5):
        Image.fromarray(pixels(20 + number % 2, 30)).save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.glob("*.png"))
    summary = translatekit.translate(paths, model, tmp_path / "out", device="cpu", batch_size=2)
    outputs = list(translatekit.open(model, "cpu", batch_size=2).translate_many(paths))
    for path, output in zip(summary.outputs, outputs, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), output)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"fit": "stretch"}, r"open\(\).*fit.*stretch"),
        ({"tile": 0}, "tile"),
        ({"tile": 30}, "--tile must be a multiple of 8"),
        ({"batch_size": "many"}, "batch_size"),
        ({"size": "wide"}, "size"),
    ],
)
def test_options_that_do_not_fit_are_refused(model: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        translatekit.open(model, "cpu", **options)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nowhere"):
        translatekit.open(tmp_path / "nowhere.safetensors")
    (tmp_path / "model.bin").touch()
    with pytest.raises(PluginError, match=r"no installed backend runs '\.bin' files"):
        translatekit.open(tmp_path / "model.bin")


def test_a_backend_is_chosen_as_load_chooses_it(model: Path) -> None:
    assert translatekit.open(model, "cpu", backend="torch").translate(pixels(16, 16)).shape == (16, 16, 3)
    with pytest.raises(OptionError, match="openvino"):
        translatekit.open(model, "cpu", backend="openvino")


def test_a_size_is_width_before_height(model: Path) -> None:
    assert translatekit.open(model, "cpu", size="24x16").translate(pixels(40, 40)).shape == (16, 24, 3)
    assert translatekit.open(model, "cpu", size=(24, 16)).translate(pixels(40, 40)).shape == (16, 24, 3)


def test_information_is_read_of_any_model_file(model: Path) -> None:
    assert translatekit.read_info(model).generator == "unet"
    with pytest.raises(ModelFileError):
        translatekit.read_info(model.with_name("nowhere.onnx"))


WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "timm", "lightning_fabric", "safetensors"), None))
import numpy as np, translatekit
predictor = translatekit.open(sys.argv[1])
print(predictor.translate(np.zeros((21, 30, 3), np.uint8)).shape, predictor.info.generator)
print(translatekit.read_info(sys.argv[1]).generator)
"""


def test_a_compiled_model_is_opened_and_used_without_torch(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    report = translatekit.compile(model, tmp_path / "model.onnx")
    assert report.parity["psnr"] > 70
    done = run_python("-c", WITHOUT_TORCH, str(report.path))
    assert done.stdout.splitlines() == ["(21, 30, 3) unet", "unet"], done.stderr
