"""The options of Pix2Pix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from translatekit.config import option


@dataclass(kw_only=True)
class Pix2PixOptions:
    """What Pix2Pix can be told (section 3 of the paper)."""

    adversarial: str = option("vanilla", "The adversarial loss, by name.", "Pix2Pix")
    reconstruction: Literal["l1", "l2", "none"] = option("l1", "What else the output is held to.", "Pix2Pix")
    lambda_l1: float = option(100.0, "Weight of the reconstruction loss.", "Pix2Pix", minimum=0)
    lambda_perceptual: float = option(
        0.0, "Weight of the perceptual loss; 0 leaves it out.", "Pix2Pix", minimum=0
    )
