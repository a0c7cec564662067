"""The options of Pix2Pix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from translatekit.config import option, with_default


@dataclass(kw_only=True)
class Pix2PixOptions:
    """What Pix2Pix can be told (section 3 of the paper)."""

    adversarial: str = option("vanilla", "The adversarial loss, by name.", "Pix2Pix")
    reconstruction: Literal["l1", "l2", "none"] = option("l1", "What else the output is held to.", "Pix2Pix")
    lambda_l1: float = option(100.0, "Weight of the reconstruction loss.", "Pix2Pix", minimum=0)
    lambda_perceptual: float = option(
        0.0, "Weight of the perceptual loss; 0 leaves it out.", "Pix2Pix", minimum=0
    )
    lambda_features: float = option(
        0.0, "Weight of the matching of the discriminator's features; 0 leaves it out.", "Pix2Pix", minimum=0
    )
    scales: int = option(
        1,
        "Discriminators, each of which sees half the size of the one before.",
        "Pix2Pix",
        minimum=1,
        maximum=8,
    )


@dataclass(kw_only=True)
class Pix2PixHDOptions(Pix2PixOptions):
    """What Pix2PixHD can be told: Pix2Pix with other defaults (Wang et al., 2018, sections 3.2 and 4)."""

    adversarial: str = with_default(Pix2PixOptions, "adversarial", "lsgan")
    reconstruction: Literal["l1", "l2", "none"] = with_default(Pix2PixOptions, "reconstruction", "none")
    lambda_features: float = with_default(Pix2PixOptions, "lambda_features", 10.0)
    scales: int = with_default(Pix2PixOptions, "scales", 3)
