"""How often a run's own discriminator is right on images that it was not trained on."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from translatekit.config import RunConfig
from translatekit.errors import TrainingError
from translatekit.interfaces import Dataset, Method
from translatekit.networks.factory import Networks
from translatekit.registry import registry
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.setup import collate, make_fabric
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
        TrainingError: there is no run with a checkpoint.
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
    options = config.options
    fabric = make_fabric(options)
    fabric.launch()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = Networks(
            generator_name=str(options.generator),
            generator_options=options.generator_options,
            discriminator_name=str(options.discriminator),
            discriminator_options=options.discriminator_options,
            init=options.init,
            init_gain=options.init_gain,
        )
        method: Method = registry("method").load(config.method)(config.method_options, networks, data)
        method.setup(fabric, lambda parameters: torch.optim.SGD(parameters, lr=0.0), lambda network: network)
        try:
            for name, network in method.bare.items():
                network.load_state_dict(state["networks"][name])
        except (RuntimeError, KeyError) as error:
            raise TrainingError(
                f"the checkpoint of {run} does not fit its networks ({str(error).splitlines()[-1].strip()}): "
                "install the plugin versions that trained it"
            ) from None
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
