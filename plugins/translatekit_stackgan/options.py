"""The options of StackGAN."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.config import option


@dataclass(kw_only=True)
class StackGANOptions:
    """What StackGAN can be told (sections 3 and 4 of the paper)."""

    adversarial: str = option("vanilla", "The adversarial loss, by name.", "StackGAN")
    stage_one: str | None = option(
        None,
        "The trained model, or run, of Stage I whose images this run's Stage II makes larger; without it, this run "
        "trains Stage I.",
        "StackGAN",
        metavar="MODEL",
        address=True,
    )
    latent_size: int = option(100, "Length of the noise vector.", "StackGAN", minimum=1, maximum=65536)
    lambda_kl: float = option(
        1.0,
        "Weight of the divergence of conditions from normal(0, 1), a mean over their numbers.",
        "StackGAN",
        minimum=0,
    )
    halve_every: int = option(
        100, "Epochs after which the learning rate is halved, again and again.", "StackGAN", minimum=1
    )
