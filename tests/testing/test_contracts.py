"""Every registered thing keeps its contracts: the core's, the methods' and the tools' alike."""

from __future__ import annotations

from typing import Any

import pytest

from translatekit.registry import registry
from translatekit.specs import SPEC_TYPES
from translatekit.testing import Contract, NotApplicableError, Subject, contracts_of

# Smaller networks than the defaults, so that each contract takes a fraction of a second.
SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("generator", "unet"): {"options": {"depth": "5", "width": "4"}},
    ("generator", "encoder_decoder"): {"options": {"depth": "5", "width": "4"}},
    ("generator", "resnet"): {"options": {"blocks": "6", "width": "4"}},
    ("generator", "timm_unet"): {"options": {"encoder": "resnet10t", "width": "4"}},
    ("discriminator", "patch"): {"options": {"width": "8"}},
    ("discriminator", "image"): {"options": {"width": "4"}},
    ("loss", "perceptual"): {"options": {"model": "resnet10t", "pretrained": "false"}},
    ("method", "pix2pix"): {
        "generator_options": {"depth": 5, "width": 4},
        "discriminator_options": {"width": 4},
        "size": 64,
    },
    ("method", "cyclegan"): {
        "generator_options": {"width": 2, "blocks": 6},
        "discriminator_options": {"width": 4},
        "size": 64,
    },
}

EVERYTHING = [
    pytest.param(kind, name, contract, id=f"{kind}-{name}-{contract.name}")
    for kind in SPEC_TYPES
    for name in registry(kind).names()
    for contract in contracts_of(kind)
]


@pytest.mark.parametrize(("kind", "name", "contract"), EVERYTHING)
def test_everything_registered_keeps_its_contracts(kind: str, name: str, contract: Contract) -> None:
    subject = Subject(spec=registry(kind).get(name), **SMALL.get((kind, name), {}))
    try:
        contract.run(subject)
    except NotApplicableError as reason:
        pytest.skip(str(reason))
