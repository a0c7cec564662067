"""How often a run's own discriminator is right on images that it was not trained on."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from translatekit.config import RunConfig
from translatekit.errors import OptionError, TrainingError
from translatekit.interfaces import Dataset
from translatekit.registry import registry
from translatekit.training.batches import collate
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.saving import load_networks
from translatekit.training.setup import make_fabric, make_method, make_optimizer
from translatekit_tools.evaluate.models import run_of


def discriminator_accuracy(model: Path, data: Dataset, images: int) -> dict[str, list[float]]:
    """The accuracies that a method's step reports, image by image, with the newest checkpoint and nothing learned.

    The step is the one of the training, so that the networks are in training mode, but its optimizers have a rate of 0.

    Args:
        model: a run's folder, or a file in it.
        data: the images, as the method was trained on.
        images: how many of them.

    Returns:
        Shares in [0, 1] by name, such as ``accuracy_real``.

    Raises:
        TrainingError: there is no run with a checkpoint, or its method has no discriminator.
        OptionError: the discriminators judge several slices, and the images are single ones.
    """
    run = run_of(model)
    if run is None:
        raise TrainingError(
            f"{model} is no run, which has a discriminator: name the folder of one, or leave out --discriminator"
        )
    state = load_checkpoint(run / "checkpoints")
    hardware = {
        "accelerator": "auto",
        "devices": "1",
        "strategy": "auto",
        "num_nodes": 1,
        "precision": "fp32",
    }
    config = RunConfig.from_toml(run / "config.toml", hardware)
    if config.options.discriminator is None:
        raise TrainingError(
            f"{run} is a run of {config.method}, which has no discriminator: leave out --discriminator"
        )
    slices = config.options.slices or 1
    if slices > 1 and registry("method").get(config.method).data == "unpaired":
        raise OptionError(
            f"the discriminators of {run} judge {slices} neighbouring slices, and the middle one alone is measured: "
            "leave out --discriminator"
        )
    fabric = make_fabric(config.options)
    fabric.launch()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        method = make_method(config, data)
        method.setup(fabric, partial(make_optimizer, options=config.options), lambda network: network)
        for optimizer in method.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = 0.0
        load_networks(method, state, run)
        some: Any = Subset(data, range(images))  # type: ignore[arg-type]
        loader: DataLoader[Any] = DataLoader(
            some, batch_size=1, collate_fn=collate, generator=torch.Generator()
        )
        found: dict[str, list[float]] = defaultdict(list)
        for batch in loader:
            for name, value in method.step(fabric.to_device(batch)).items():
                if name.startswith("accuracy"):
                    found[name].append(float(value))
    return dict(found)
