"""Compiled models translate large images in tiles that agree, as the trained ones do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from translatekit_tools.compile import compile_model
from translatekit_tools.graphs.opset import constants_of

import translatekit
from translatekit.errors import OptionError
from translatekit.images import read_levels
from translatekit.inference.tiles import TiledTranslator

from .conftest import MODELS, Compiled

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

TILE, OVERLAP = 96, 32


def picture() -> np.ndarray:
    """(1, 160, 224, 3), of another brightness in each corner."""
    y, x = np.mgrid[0:1:160j, 0:1:224j]
    waves = [np.sin(9 * x + 5 * y) * y, np.cos(7 * y - 4 * x * y) * x, np.sin(12 * x * y)]
    return np.rint((np.stack(waves, -1) + 1) * 127.5).astype(np.uint8)[None]


@pytest.mark.parametrize(
    ("suffix", "backend"), [(".onnx", None), (".xml", None), (".onnx", "openvino")], ids=str
)
@pytest.mark.parametrize("name", MODELS)
def test_tiles_of_a_compiled_model_are_those_of_the_trained_one(
    name: str, suffix: str, backend: str | None, models: dict[str, Path], compiled: Compiled
) -> None:
    image = picture()
    trained = TiledTranslator(translatekit.load(models[name], "cpu"), TILE, OVERLAP)(image)
    translator = translatekit.load(compiled(name, suffix).path, backend=backend)
    before = translator(image)
    tiled = TiledTranslator(translator, TILE, OVERLAP)
    for _ in range(2):  # the second image finds the model open
        difference = np.abs(tiled(image).astype(int) - trained)
        assert difference.max() <= 3
        assert difference.mean() < 0.05
    np.testing.assert_array_equal(translator(image), before)


@pytest.mark.parametrize("name", ["unet per_image", "resnet instance"])
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_without_the_whole_images_statistics_they_would_not_be(
    name: str, suffix: str, models: dict[str, Path], compiled: Compiled
) -> None:
    image = picture()
    trained = TiledTranslator(translatekit.load(models[name], "cpu"), TILE, OVERLAP)(image)
    tiled = TiledTranslator(translatekit.load(compiled(name, suffix).path), TILE, OVERLAP)
    tiled._fix = None
    assert np.abs(tiled(image).astype(int) - trained).mean() > 1


def test_so_do_those_of_other_precisions(
    models: dict[str, Path], compiled: Compiled, photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nncf")
    out = tmp_path / "model.xml"
    name = "unet per_image"
    source = compiled(name, ".onnx").path
    compile_model(source, out, precision="int8", calibrate=str(photos), check=str(photos), tolerance=20)
    image = picture()
    trained = TiledTranslator(translatekit.load(models[name], "cpu"), TILE, OVERLAP)(image)
    tiled = TiledTranslator(translatekit.load(out), TILE, OVERLAP)(image)
    assert np.mean(np.square(tiled.astype(float) - trained)) < 255**2 / 10**2.5  # 25 dB


def test_run_takes_tiles_with_a_compiled_model(compiled: Compiled, photos: Path, tmp_path: Path) -> None:
    model = compiled("resnet instance", ".xml").path
    translatekit.translate(photos / "3.png", model, tmp_path / "whole.png")
    translatekit.translate(photos / "3.png", model, tmp_path / "tiled.png", tile=64)
    whole, tiled = (read_levels(tmp_path / f"{kind}.png").pixels for kind in ("whole", "tiled"))
    assert whole.shape == tiled.shape == (96, 128, 3)


def test_a_graph_that_looks_at_the_image_in_another_way_is_refused(
    compiled: Compiled, tmp_path: Path
) -> None:
    import onnx

    model = onnx.load(str(compiled("unet per_image", ".onnx").path))
    squeezed = onnx.helper.make_node("GlobalAveragePool", [model.graph.node[8].output[0]], ["squeezed"])
    model.graph.node.append(squeezed)
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(OptionError, match=r"use the \.safetensors model, or leave out --tile"):
        TiledTranslator(translatekit.load(tmp_path / "other.onnx"), TILE, OVERLAP)(picture())


def test_averages_whose_axes_are_counted_from_the_last_are_known_to_openvino(
    compiled: Compiled, tmp_path: Path
) -> None:
    """As they are exported of a network that says ``x.mean((-2, -1))``."""
    import onnx

    path = compiled("unet per_image", ".onnx").path
    model = onnx.load(str(path))
    constants = constants_of(model.graph)
    for name in {node.input[1] for node in model.graph.node if node.op_type == "ReduceMean"}:
        constants[name].CopyFrom(onnx.numpy_helper.from_array(np.array([-2, -1]), name))
    onnx.save(model, str(tmp_path / "other.onnx"))
    expected, tiled = (
        TiledTranslator(translatekit.load(file, backend="openvino"), TILE, OVERLAP)(picture())
        for file in (path, tmp_path / "other.onnx")
    )
    np.testing.assert_array_equal(tiled, expected)


def test_a_missing_package_is_named(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    tiled = TiledTranslator(translatekit.load(compiled("resnet instance", ".onnx").path), TILE, OVERLAP)
    other = TiledTranslator(translatekit.load(compiled("unet running", ".onnx").path), TILE, OVERLAP)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert other(picture()).shape == picture().shape  # normalizes by constants
    with pytest.raises(OptionError, match=r"pip install 'translatekit\[compile\]'"):
        tiled(picture())
