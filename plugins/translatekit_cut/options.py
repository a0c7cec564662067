"""The options of CUT and FastCUT."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.config import PatchOptions, option, with_default


@dataclass(kw_only=True)
class CUTOptions(PatchOptions):
    """What CUT can be told (section 3 and appendix A of the paper)."""

    adversarial: str = option("lsgan", "The adversarial loss, by name.", "CUT")
    lambda_x: float = option(
        1.0,
        "Weight of the contrastive loss between input and output.",
        "CUT",
        flags=("--lambda-X",),
        minimum=0,
    )
    lambda_y: float = option(
        1.0,
        "Weight of the contrastive loss between an image of the output's side and its own translation, which "
        "is to leave it as it is; 0 leaves it out.",
        "CUT",
        flags=("--lambda-Y",),
        minimum=0,
    )
    flip_equivariance: bool = option(
        False, "Mirror the inputs half the time, and hold the output to the input as it was.", "CUT"
    )


@dataclass(kw_only=True)
class FastCUTOptions(CUTOptions):
    """What FastCUT can be told: CUT with other defaults (appendix A of the paper)."""

    lambda_x: float = with_default(CUTOptions, "lambda_x", 10.0)
    lambda_y: float = with_default(CUTOptions, "lambda_y", 0.0)
    flip_equivariance: bool = with_default(CUTOptions, "flip_equivariance", True)
