"""The options of a search; no torch is imported for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from translatekit.config import option
from translatekit.options import LARGEST_SEED, Pattern

_GROUP = "Search"


@dataclass(kw_only=True)
class TuneOptions:
    """Everything ``translatekit tune`` can be told beside the method, the images, the space and the folder."""

    trials: int = option(
        50, "How many trials the study is to have, those of all processes together.", _GROUP, minimum=1
    )
    budget: Annotated[str, Pattern(r"\d+(\.\d+)?\s*(s|min|h)", "a time, such as 90s, 20min or 2h")] | None = (
        option(None, "No trial begins here when this time is over.", _GROUP, metavar="2h")
    )
    prune: bool = option(
        True, "End a trial that is worse than the median of those before it at the same epoch.", _GROUP
    )
    prune_after: int = option(5, "Trials that run to their end before any is pruned.", _GROUP, minimum=1)
    seed: int | None = option(
        None,
        "Of what is tried next, for a study by one process; the seed of a training is an option of the space.",
        _GROUP,
        minimum=0,
        maximum=LARGEST_SEED,
    )
