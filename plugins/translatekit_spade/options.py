"""The options of SPADE."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.config import option


@dataclass(kw_only=True)
class SPADEOptions:
    """What SPADE can be told (section 4 and appendix A of the paper)."""

    adversarial: str = option("hinge", "The adversarial loss, by name.", "SPADE")
    scales: int = option(
        2,
        "Discriminators, each of which sees half the size of the one before.",
        "SPADE",
        minimum=1,
        maximum=8,
    )
    lambda_features: float = option(
        10.0, "Weight of the matching of the discriminator's features; 0 leaves it out.", "SPADE", minimum=0
    )
    lambda_perceptual: float = option(
        0.0,
        "Weight of the perceptual loss, whose trained weights are downloaded; the paper's is 10, 0 leaves it out.",
        "SPADE",
        minimum=0,
    )
    style_encoder: bool = option(
        False,
        "Learn a distribution of styles: an encoder of the photographs, and a style vector for the generator.",
        "SPADE",
    )
    style_size: int = option(
        256, "Length of the style vector, with --style-encoder.", "SPADE", minimum=1, maximum=65536
    )
    lambda_kl: float = option(
        0.05,
        "Weight of the divergence of styles from normal(0, 1), with --style-encoder.",
        "SPADE",
        minimum=0,
    )
