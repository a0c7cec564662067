"""A run to publish: two directions, a configuration, samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.compile import compile_model
from translatekit_tools.publish import Published, publish

from tests.tools.compile.conftest import save_small
from translatekit.config import RunConfig
from translatekit.images import encode_image, image_of
from translatekit.networks.unet import UNet

NETWORK: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "depth": 3, "width": 4, "norm": "instance"}
HOSTILE = "maps | <b>--- `x`"


def save_model_of(path: Path, **info: Any) -> Path:
    """A small U-Net whose sides are multiples of 8."""
    return save_small(path, UNet(**NETWORK), "unet", "running", NETWORK, **info)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two directions."""
    folder = tmp_path_factory.mktemp("runs") / "summer2winter"
    (folder / "samples").mkdir(parents=True)
    about: dict[str, Any] = {
        "data": {"dataset": "unaligned", "name": HOSTILE, "images": 1200},
        "step": 34_000,
        "epoch": 17,
        "versions": {"translatekit": "0.1.0"},
    }
    save_model_of(folder / "model.safetensors", metrics={"l1": 0.1234, "psnr": 21.5}, **about)
    save_model_of(folder / "model-BtoA.safetensors", direction="BtoA", **about)
    config = RunConfig.resolve("cyclegan", "/home/somebody/private", {"lr": 1e-4})
    (folder / "config.toml").write_text(config.to_toml())
    (folder / "samples" / "000001.png").write_bytes(png(1))
    return folder


@pytest.fixture(scope="session")
def graph(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's model as an ``.onnx`` file, exported once."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    out = tmp_path_factory.mktemp("graphs") / "summer 2 winter.onnx"
    compile_model(run, out)
    return out


def png(seed: int, height: int = 20, width: int = 30) -> bytes:
    """A picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return encode_image(image_of(pixels), ".png")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two pictures, one large."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "a.png").write_bytes(png(1))
    (folder / "b.png").write_bytes(png(2, 400, 200))
    return folder


Publish = Callable[..., Published]


@pytest.fixture
def published(run: Path, tmp_path: Path) -> Publish:
    """Publish the run, or another model, into a new folder."""

    def make(kind: str, model: Path = run, out: str = "out", **options: Any) -> Published:
        return publish(model, tmp_path / out, kind=kind, **options)

    return make
