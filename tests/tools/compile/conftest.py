"""Small trained-looking models to compile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from translatekit_tools.compile import CompileReport, compile_model

from translatekit.images import encode_image, image_of
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.layers import set_norm_inference
from translatekit.networks.resnet import ResNet
from translatekit.networks.unet import UNet


def save_small(
    path: Path, network: nn.Module, generator: str, norm_inference: str, options: dict[str, Any], **info: Any
) -> Path:
    """A model file whose outputs vary as those of a trained network do."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    set_norm_inference(network, norm_inference)  # type: ignore[arg-type]
    header = ModelInfo(
        method="pix2pix",
        generator=generator,
        generator_options=options,
        size=64,
        size_multiple=network.size_multiple,  # type: ignore[arg-type]
        norm_inference=norm_inference,  # type: ignore[arg-type]
        **info,
    )
    save_model(path, network.state_dict(), header)
    return path


MODELS = ("unet running", "unet per_image", "resnet instance")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    unet: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "depth": 5, "width": 8, "norm": "batch"}
    resnet: dict[str, Any] = {
        "in_channels": 3,
        "out_channels": 3,
        "blocks": 2,
        "width": 8,
        "norm": "instance",
    }
    return {
        "unet running": save_small(folder / "a.safetensors", UNet(**unet), "unet", "running", unet),
        "unet per_image": save_small(folder / "b.safetensors", UNet(**unet), "unet", "per_image", unet),
        "resnet instance": save_small(
            folder / "c.safetensors", ResNet(**resnet), "resnet", "running", resnet
        ),
    }


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for index, (height, width) in enumerate(((64, 64), (64, 96), (70, 50), (96, 128))):
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        waves = [np.sin((7 + index) * x + 5 * y), np.cos(9 * y - 4 * x * y), np.sin(11 * x * y + index)]
        pixels = np.rint((np.stack(waves, -1) + 1) * 127.5).astype(np.uint8)
        (folder / f"{index}.png").write_bytes(encode_image(image_of(pixels), ".png"))
    return folder


def takes_signals() -> bool:
    """Whether a signal that Python handles leaves such a process as this one alive; a copy of it is asked."""
    if (copy := os.fork()) == 0:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        os._exit(0)
    return os.waitpid(copy, 0)[1] == 0


Compiled = Callable[[str, str], CompileReport]


@pytest.fixture(scope="session")
def compiled(models: dict[str, Path], photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """From one of `MODELS` and a suffix to that model compiled in fp32, for all tests that only read it.

    A model is exported once: what is not ONNX is made of the ONNX file.
    """

    @cache
    def compile_once(name: str, suffix: str) -> CompileReport:
        source = models[name] if suffix == ".onnx" else compile_once(name, ".onnx").path
        out = tmp_path_factory.mktemp("compiled") / f"model{suffix}"
        return compile_model(source, out, check=str(photos))

    return compile_once
