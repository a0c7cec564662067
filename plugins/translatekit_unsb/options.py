"""The options of UNSB."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.bridge import MAX_STEPS
from translatekit.config import PatchOptions, option


@dataclass(kw_only=True)
class UNSBOptions(PatchOptions):
    """What UNSB can be told (section 4 of the paper)."""

    adversarial: str = option("lsgan", "The adversarial loss, by name.", "UNSB")
    steps: int = option(
        5,
        "Steps from an image to its translation; as many passes are run for an image, or fewer with run --passes.",
        "UNSB",
        minimum=1,
        maximum=MAX_STEPS,
    )
    tau: float = option(
        0.01,
        "Variance of the noise on the way, which also weighs the entropy.",
        "UNSB",
        minimum=0,
        maximum=100,
    )
    lambda_sb: float = option(
        1.0,
        "Weight of the Schrödinger bridge's loss: a short way, of much entropy.",
        "UNSB",
        flags=("--lambda-SB",),
        minimum=0,
    )
    lambda_reg: float = option(
        1.0,
        "Weight of the contrastive loss between input and output.",
        "UNSB",
        minimum=0,
    )
    identity: bool = option(
        True,
        "Hold images of the output's side to their own translations as well, which are to leave them as they are.",
        "UNSB",
    )
