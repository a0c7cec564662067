"""Training: the loop, checkpoints, what is logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def train(
    method: str | None = None,
    data: str | Path | tuple[str | Path, str | Path] | None = None,
    *,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    autoresume: bool = False,
    **options: Any,
) -> Path:
    """Train a translator.

    Args:
        method: such as ``pix2pix``. Not needed with `config` or `resume`.
        data: the images' folder, or two: of A and of B. Without one, a method for pairs trains on the built-in demo
            data. With `resume`, where the images of the run are now, if they have moved.
        config: a run's ``config.toml``, whose options hold where `options` does not say otherwise.
        resume: a run's folder: go on from its newest checkpoint, exactly. Only options of output and hardware and
            the number of epochs or steps may then be given.
        autoresume: go on with the run in the folder `output` if there is one, else start it there: for whatever starts
            the same call again when it has failed.
        options: fields of `translatekit.config.TrainOptions` and of the method's own options.

    Returns:
        The run's folder, which holds ``model.safetensors``.

    Raises:
        OptionError: an option has an unknown name or a value that does not fit.
        DataError: there are no images, or not what the method needs.
        TrainingError: the run cannot start or go on.
    """
    from translatekit.config import data_address
    from translatekit.training.loop import run

    if isinstance(data, tuple):
        data, b = data
        own = {"b": data_address(b), **options.get("dataset_options", {})}
        options["dataset_options"] = own
    return run(method, data, config=config, resume=resume, given=options, autoresume=autoresume)
