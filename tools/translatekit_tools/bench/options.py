"""The options of ``translatekit bench``."""

from __future__ import annotations

from dataclasses import dataclass

from translatekit.bridge import MAX_STEPS
from translatekit.config import option


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Everything ``translatekit bench`` can be told beside its model."""

    data: str | None = option(
        None, "A folder of images; drawn facades of the model's size when not given.", "Data", metavar="DIR"
    )
    images: int = option(
        200, "Files that each measurement translates; fewer files are repeated.", "Data", minimum=1
    )
    only: str | None = option(
        None,
        "What to measure, such as torch:fp32,openvino:int8; a name alone stands for all its precisions.",
        "What",
        metavar="BACKEND[:PRECISION],...",
    )
    direction: str | None = option(None, "Which generator of a run's folder, such as BtoA.", "What")
    passes: int | None = option(
        None,
        "Passes for an image, of a model that takes several; as many as it was trained for when not given.",
        "What",
        minimum=1,
        maximum=MAX_STEPS,
    )
    rounds: int = option(3, "Measurements of each, taken in turn.", "What", minimum=1)
    batch_size: int | None = option(
        None, "Images at once; what `run` would choose when not given.", "Hardware", minimum=1, maximum=4096
    )
    device: str = option("auto", "cpu, cuda, cuda:1, mps or auto.", "Hardware")
