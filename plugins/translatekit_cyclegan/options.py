"""The options of CycleGAN."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.config import option


@dataclass(kw_only=True)
class CycleGANOptions:
    """What CycleGAN can be told (sections 3 and 4 of the paper)."""

    adversarial: str = option("lsgan", "The adversarial loss, by name.", "CycleGAN")
    lambda_a: float = option(
        10.0, "Weight of the cycle A to B to A.", "CycleGAN", flags=("--lambda-A",), minimum=0
    )
    lambda_b: float = option(
        10.0, "Weight of the cycle B to A to B.", "CycleGAN", flags=("--lambda-B",), minimum=0
    )
    lambda_identity: float = option(
        0.5,
        "Weight of the identity loss, as a share of the cycles' weights; 0 leaves it out.",
        "CycleGAN",
        minimum=0,
    )
    pool_size: int = option(
        50, "How many earlier outputs the discriminators are also shown; 0 for none.", "CycleGAN", minimum=0
    )
