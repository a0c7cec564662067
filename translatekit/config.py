"""All options of a training run: one dataclass that is the command line, the TOML file and the Python API.

Each field's metadata says how it is shown: its group in ``--help``, its help text, and its flag where that is not
the field's name. Methods add their own dataclass in the same manner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from translatekit.interfaces import Direction, NormInference


def option(default: Any, help: str, group: str, **metadata: Any) -> Any:
    """A dataclass field with what the command line needs to know of it.

    Args:
        default: its default.
        help: one line, shown by ``--help``.
        group: the heading it stands under.
        metadata: ``flags``, the flags where they are not ``--field-name``; ``metavar``.
    """
    metadata = {"help": help, "group": group, **metadata}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(kw_only=True)
class TrainOptions:
    """Everything a training run can be told that does not depend on the method."""

    # data
    dataset: str | None = option(None, "How the images are laid out; the method's own choice when not given.", "Data")
    dataset_options: dict[str, Any] = option(
        {}, "An option of the dataset.", "Data", flags=("--dataset-option",), metavar="KEY=VALUE"
    )
    direction: Direction = option("AtoB", "Which side of a pair is the input.", "Data")
    load_size: int | None = option(286, "Resize to this many pixels a side first; 'none' keeps the size.", "Data")
    crop_size: int = option(256, "Train on random crops of this many pixels a side.", "Data")
    flip: bool = option(True, "Mirror left to right, half the time.", "Data")
    cache: bool = option(False, "Keep decoded images in memory.", "Data")
    workers: int = option(0, "Processes that read images beside the training; 0 reads in the training process.", "Data")
    strict: bool = option(False, "Stop at the first unreadable file instead of skipping it.", "Data")

    # networks
    generator: str | None = option(None, "The generator; the method's own choice when not given.", "Networks")
    generator_options: dict[str, Any] = option(
        {}, "An option of the generator.", "Networks", flags=("-G",), metavar="KEY=VALUE"
    )
    discriminator: str | None = option(None, "The discriminator; the method's own when not given.", "Networks")
    discriminator_options: dict[str, Any] = option(
        {}, "An option of the discriminator.", "Networks", flags=("-D",), metavar="KEY=VALUE"
    )
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = option(
        "normal", "How weights are initialized.", "Networks"
    )
    init_gain: float = option(0.02, "Standard deviation (normal) or gain of the initialization.", "Networks")
    norm_inference: NormInference = option(
        "per_image", "Batch normalization at inference: each image's own statistics, or running ones.", "Networks"
    )

    # optimization
    epochs: int = option(100, "Epochs at the full learning rate.", "Optimization")
    epochs_decay: int = option(100, "Further epochs, over which it falls linearly to zero.", "Optimization")
    batch_size: int = option(1, "Images a step, on each device.", "Optimization")
    lr: float = option(2e-4, "Adam's learning rate.", "Optimization")
    beta1: float = option(0.5, "Adam's beta1.", "Optimization")
    beta2: float = option(0.999, "Adam's beta2.", "Optimization")
    ema: float | None = option(None, "Deploy an exponential moving average of the weights, such as 0.999.", "Optimization")
    seed: int = option(0, "Decides initialization, order and augmentation.", "Optimization")
    max_steps: int | None = option(None, "Stop after this many steps.", "Optimization")

    # the run's folder
    output: str | None = option(
        None, "The run's folder; runs/METHOD-DATA when not given.", "Output", flags=("-o", "--output")
    )
    log_every: int = option(50, "Steps between lines of the log.", "Output")
    sample_every: int | None = option(None, "Steps between sample grids; every epoch when not given.", "Output")
    checkpoint_every: int | None = option(None, "Steps between checkpoints; every epoch when not given.", "Output")
    keep_checkpoints: int = option(2, "How many checkpoints are kept.", "Output")
    validate_every: int = option(1, "Epochs between validations; 0 for none.", "Output")

    # hardware
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = option("32-true", "Numbers to compute with.", "Hardware")
    accelerator: str = option("auto", "cpu, cuda, mps or auto.", "Hardware")
    devices: str = option("1", "How many devices, which ones (0,1), or auto.", "Hardware")
    strategy: str = option("auto", "How several devices work together, such as ddp.", "Hardware")
    num_nodes: int = option(1, "How many hosts.", "Hardware")
    channels_last: bool = option(True, "Lay tensors out as NHWC, which convolutions prefer.", "Hardware")
    compile: bool = option(False, "Compile the networks with torch.compile.", "Hardware")
