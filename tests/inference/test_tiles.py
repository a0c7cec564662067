"""Large images in tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from translatekit_tools.backends.torch.translator import TorchTranslator

from translatekit.errors import OptionError, TranslatekitWarning
from translatekit.image_spec import levels_spec
from translatekit.images import encode_image, image_of, read_levels
from translatekit.inference.tiles import TiledTranslator, split
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.layers import set_norm_inference
from translatekit.networks.resnet import ResNet
from translatekit.networks.unet import UNet


def translator(
    network: torch.nn.Module, norm_inference: str = "running", **options: object
) -> TorchTranslator:
    set_norm_inference(network, norm_inference)  # type: ignore[arg-type]
    info = ModelInfo(
        method="pix2pix",
        generator="resnet",
        generator_options=dict(options),
        size_multiple=network.size_multiple,  # type: ignore[arg-type]
        norm_inference=norm_inference,  # type: ignore[arg-type]
    )
    return TorchTranslator(network.eval(), info, torch.device("cpu"), torch.float32)


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, and different in each corner, so that the statistics of its parts differ."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(9 * x + 5 * y * y), np.cos(7 * y - 3 * x * y), x * y * 2 - 1]
    return np.rint((np.stack(waves, -1) + 1) * 127.5).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"), [(64, 96, 32, 8), (70, 40, 64, 0), (30, 30, 32, 8)]
)
def test_the_weights_of_all_tiles_add_up_to_one_everywhere(
    height: int, width: int, tile: int, overlap: int
) -> None:
    total = np.zeros((height, width))
    for part in split(height, width, tile, overlap):
        total[part.place] += part.weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("norm_inference", ["running", "per_image"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_tiles_agree_with_the_whole_image(norm: str, norm_inference: str) -> None:
    torch.manual_seed(0)
    whole = translator(ResNet(3, 3, blocks=2, width=8, norm=norm), norm_inference, norm=norm)  # type: ignore[arg-type]
    image = picture(192, 256)[None]
    tiled = TiledTranslator(whole, 96, 48)
    assert psnr(tiled(image), whole(image)) > 40


def test_without_the_whole_images_statistics_they_would_not() -> None:
    torch.manual_seed(0)
    whole = translator(ResNet(3, 3, blocks=2, width=8), norm="instance")
    image = picture(192, 256)[None]
    parts = TiledTranslator(whole, 96, 48)
    parts._fix = None
    assert psnr(parts(image), whole(image)) < 30


def test_the_network_is_as_it_was_afterwards() -> None:
    torch.manual_seed(0)
    whole = translator(UNet(3, 3, depth=4, width=8), "per_image")
    image = picture(64, 64)[None]
    before = whole(image)
    TiledTranslator(whole, 32, 16)(image)
    np.testing.assert_array_equal(whole(image), before)


def test_an_image_no_larger_than_a_tile_is_translated_whole() -> None:
    torch.manual_seed(0)
    whole = translator(ResNet(3, 3, blocks=1, width=4))
    image = picture(32, 24)[None]
    np.testing.assert_array_equal(TiledTranslator(whole, 32, 8)(image), whole(image))


def test_deep_images_stay_deep() -> None:
    whole = translator(ResNet(3, 3, blocks=1, width=4))
    image = picture(64, 64)[None].astype(np.float32) / 255
    assert TiledTranslator(whole, 32, 8)(image).dtype == np.float32


@pytest.mark.parametrize(
    ("tile", "overlap", "says"),
    [
        (100, None, "--tile must be a multiple of 16"),
        (64, 5, "--overlap must be"),
        (64, 64, "--overlap must be"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tile: int, overlap: int | None, says: str) -> None:
    whole = translator(UNet(3, 3, depth=4, width=4))
    with pytest.raises(OptionError, match=says):
        TiledTranslator(whole, tile, overlap)


def test_a_backend_that_cannot_fix_statistics_is_refused_where_they_matter() -> None:
    class Compiled:
        def __init__(self, **options: object) -> None:
            self.info = ModelInfo(method="pix2pix", generator="unet", **options)  # type: ignore[arg-type]

        def __call__(self, batch: np.ndarray) -> np.ndarray:
            return batch

    with pytest.raises(OptionError, match=r"use the \.safetensors model"):
        TiledTranslator(Compiled(generator_options={"norm": "instance"}), 64)
    image = picture(96, 96)[None]
    tiled = TiledTranslator(Compiled(generator_options={"norm": "batch"}), 64)
    np.testing.assert_array_equal(tiled(image), image)


def test_run_takes_tiles(tmp_path: Path) -> None:
    import translatekit

    torch.manual_seed(0)
    network = ResNet(3, 3, blocks=1, width=4)
    info = ModelInfo(
        method="pix2pix",
        generator="resnet",
        generator_options={"in_channels": 3, "out_channels": 3, "blocks": 1, "width": 4},
        size_multiple=4,
    )
    save_model(tmp_path / "model.safetensors", network.state_dict(), info)
    (tmp_path / "in.png").write_bytes(encode_image(image_of(picture(130, 90)), ".png"))
    model = tmp_path / "model.safetensors"
    whole = translatekit.translate(tmp_path / "in.png", model, tmp_path / "whole.png")
    tiled = translatekit.translate(tmp_path / "in.png", model, tmp_path / "tiled.png", tile=64, overlap=32)
    assert (whole.failed, tiled.failed) == ([], [])
    results = [read_levels(tmp_path / name).pixels for name in ("whole.png", "tiled.png")]
    assert results[1].shape == (130, 90, 3)
    assert psnr(*results) > 35


def test_tiles_that_cannot_overlap_are_told(recwarn: pytest.WarningsRecorder) -> None:
    whole = translator(UNet(3, 3, depth=4, width=4))
    with pytest.warns(
        TranslatekitWarning, match="tiles of 16 pixels cannot overlap, .* pass --tile 32, or --overlap 0"
    ):
        TiledTranslator(whole, 16)
    recwarn.clear()
    TiledTranslator(whole, 16, 0)
    TiledTranslator(whole, 32)
    assert not recwarn.list


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml"])
def test_tiles_of_floats_are_the_whole_where_a_quarter_of_the_overlap_is_all_that_a_pixel_depends_on(
    tmp_path: Path, suffix: str
) -> None:
    """Beside the statistics of the whole image, by which the network normalizes."""
    import translatekit

    pytest.importorskip("openvino")
    torch.manual_seed(1)
    options = {"blocks": 1, "width": 4, "norm": "instance"}
    network = ResNet(3, 3, **options)  # type: ignore[arg-type]
    spec = levels_spec(3, "float32")
    info = ModelInfo(
        method="pix2pix",
        generator="resnet",
        generator_options={"in_channels": 3, "out_channels": 3, **options},
        input=spec,
        output=spec,
        size_multiple=4,
    )
    path = tmp_path / "model.safetensors"
    save_model(path, network.state_dict(), info)
    if suffix != ".safetensors":
        path = translatekit.compile(path, tmp_path / f"model{suffix}", dtype="float32", precision="fp32").path
    whole = translatekit.load(path, "cpu")
    image = (picture(368, 240)[None] / np.float32(255)).astype(np.float32)
    tiled = TiledTranslator(whole, 192, 96)(image)
    assert np.abs(tiled - whole(image)).max() <= 1 / 65535
