"""Every registered thing keeps its contracts: the core's, the methods' and the tools' alike."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.registry import registry
from translatekit.specs import SPEC_TYPES
from translatekit.testing import Contract, NotApplicableError, Subject, contracts_of

# Smaller networks than the defaults, so that each contract takes a fraction of a second.
SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("generator", "unet"): {"options": {"depth": "5", "width": "4"}},
    ("generator", "encoder_decoder"): {"options": {"depth": "5", "width": "4"}},
    ("generator", "resnet"): {"options": {"blocks": "6", "width": "4"}},
    ("generator", "coarse_to_fine"): {
        "options": {
            "width": "4",
            "downsamplings": "2",
            "blocks": "1",
            "enhancers": "1",
            "enhancer_blocks": "1",
            "upsampling": "nearest",
        }
    },
    ("generator", "spade"): {
        "options": {"width": "4", "upsamplings": "3", "hidden": "8", "style_size": "6", "style": "1"}
    },
    ("generator", "stackgan"): {"options": {"width": "2", "condition_size": "4", "blocks": "1"}},
    ("discriminator", "stackgan"): {"options": {"width": "4", "condition_size": "4"}},
    ("generator", "timm_unet"): {"options": {"encoder": "resnet10t", "width": "4"}},
    ("discriminator", "patch"): {"options": {"width": "8"}},
    ("discriminator", "image"): {"options": {"width": "4"}},
    ("loss", "perceptual"): {"options": {"model": "resnet10t", "pretrained": "false"}},
    ("method", "pix2pix"): {
        "generator_options": {"depth": 5, "width": 4},
        "discriminator_options": {"width": 4},
        "size": 64,
    },
    ("method", "pix2pixhd"): {
        "generator_options": {"width": 2, "downsamplings": 2, "blocks": 1},
        "discriminator_options": {"width": 4, "layers": 1},
        "size": 64,
    },
    ("method", "spade"): {
        "options": {"style_encoder": True, "style_size": 8},
        "generator_options": {"width": 2, "upsamplings": 3, "hidden": 8},
        "discriminator_options": {"width": 4, "layers": 1},
        "size": 64,
    },
    ("method", "stackgan"): {
        "options": {"latent_size": 8},
        "generator_options": {"width": 2, "condition_size": 4},
        "discriminator_options": {"width": 4, "condition_size": 4},
        "size": 16,
    },
    ("method", "cyclegan"): {
        "generator_options": {"width": 2, "blocks": 6},
        "discriminator_options": {"width": 4},
        "size": 64,
    },
    ("method", "distill"): {
        "generator_options": {"width": 2, "blocks": 1},
        "discriminator_options": {"width": 4},
        "size": 64,
    },
    **{
        ("method", name): {
            "options": {"patches": 16},
            "generator_options": {"width": 2, "blocks": 6},
            "discriminator_options": {"width": 4},
            "size": 64,
        }
        for name in ("cut", "fastcut")
    },
    ("method", "unsb"): {
        "options": {"patches": 16, "steps": 2},
        "generator_options": {"width": 4, "blocks": 2},
        "discriminator_options": {"width": 4, "layers": 2},
        "size": 32,
    },
    ("generator", "bridge-resnet"): {"options": {"width": 4, "blocks": 2}},
    ("discriminator", "conditional-patch"): {"options": {"width": 4}},
}

EVERYTHING = [
    pytest.param(kind, name, contract, id=f"{kind}-{name}-{contract.name}")
    for kind in SPEC_TYPES
    for name in registry(kind).names()
    for contract in contracts_of(kind)
]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A timm model whose weights are drawn at random, as ``--features`` takes it."""
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t").state_dict(), path)
    return f"resnet10t,path={path}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model file to learn from, its weights drawn at random."""
    path = tmp_path_factory.mktemp("teacher") / "model.safetensors"
    network = make_generator("resnet", {"width": 2, "blocks": 2}, in_channels=3, out_channels=3)
    header = ModelInfo(
        method="pix2pix", generator="resnet", generator_options=network.arguments, size=64, size_multiple=4
    )
    save_model(path, network.state_dict(), header)
    return str(path)


@pytest.mark.parametrize(("kind", "name", "contract"), EVERYTHING)
def test_everything_registered_keeps_its_contracts(
    kind: str, name: str, contract: Contract, features: str, teacher: str
) -> None:
    small = {"options": {"features": features}} if name in ("fid", "kid") else SMALL.get((kind, name), {})
    if name in ("distill", "taught"):
        own = (
            {"teacher": teacher, "lambda_gan": 1.0}
            if kind == "method"
            else {"teacher": teacher, "images": "demo"}
        )
        small = {**small, "options": own}
    subject = Subject(spec=registry(kind).get(name), **small)
    try:
        contract.run(subject)
    except NotApplicableError as reason:
        pytest.skip(str(reason))
