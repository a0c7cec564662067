"""The options of the conditional GAN."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.config import option


@dataclass(kw_only=True)
class CGANOptions:
    """What the conditional GAN can be told."""

    adversarial: str = option(
        "vanilla",
        "The adversarial loss, by name: vanilla is the non-saturating one, minimax the other.",
        "cGAN",
    )
    conditional: bool = option(True, "Condition on the labels; without, it is the plain GAN.", "cGAN")
    latent_size: int = option(100, "Length of the noise vector.", "cGAN", minimum=1, maximum=65536)
