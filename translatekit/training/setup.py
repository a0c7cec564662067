"""From options to a run that can start: its folder, devices, data, networks and optimizers."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, default_collate

from translatekit.config import RunConfig, TrainOptions, read_toml, run_config
from translatekit.datasets import make_dataset
from translatekit.datasets.layouts import MissingSplitError
from translatekit.errors import OptionError, TrainingError
from translatekit.interfaces import DataOptions, Dataset, Method
from translatekit.networks.factory import Networks
from translatekit.networks.layers import set_norm_inference
from translatekit.precision import FABRIC, choose_for_training, torch_slowness, torch_speeds
from translatekit.registry import registry
from translatekit.storage import TEMPORARY
from translatekit.training.metrics import SET_METRICS
from translatekit.training.sampling import EpochBatches
from translatekit.training.signals import ignore_in_worker
from translatekit.training.state import Training
from translatekit.training.validation import Judge

_MAY_CHANGE_ON_RESUME = {"epochs", "epochs_decay", "max_steps"}
_MAY_CHANGE_GROUPS = {"Output", "Hardware"}


def resolve(
    method: str | None,
    data: str | Path | None,
    config: str | Path | None,
    resume: str | Path | None,
    given: Mapping[str, Any],
) -> tuple[RunConfig, Path]:
    """The run's configuration and its folder."""
    if resume is not None:
        folder = Path(resume)
        path = run_config(folder)
        if config is not None:
            raise OptionError("--resume goes on with a run and --config repeats one: give one of the two")
        may_change = _MAY_CHANGE_ON_RESUME | {
            item.name for item in fields(TrainOptions) if item.metadata["group"] in _MAY_CHANGE_GROUPS
        }
        for name in given:
            if name not in may_change or name == "output":
                raise OptionError(
                    f"{name} cannot change when a run is resumed: leave it out, "
                    f"or start anew with --config {folder / 'config.toml'}"
                )
        if given.get("precision") == "auto":  # which is what the run was started with, and no new choice
            given = {name: value for name, value in given.items() if name != "precision"}
        own_method, own_data, _ = read_toml(path)
        if method not in (None, own_method):
            raise OptionError(
                f"{folder} is a run of {own_method}: leave out {method}, or start anew without --resume"
            )
        changed = dict(given)
        if data is not None:
            changed["data"] = _moved(folder, own_data, data)
        return RunConfig.from_toml(path, changed), folder
    if config is not None:
        changed = dict(given)
        changed.setdefault("output", "none")  # a repeated run gets a folder of its own
        if method is not None:
            changed["method"] = method
        if data is not None:
            changed["data"] = data
        resolved = RunConfig.from_toml(config, changed)
    elif method is None:
        names = ", ".join(registry("method").names())
        raise OptionError(f"name a method to train: one of {names}")
    else:
        resolved = RunConfig.resolve(method, data, given)
    folder = _choose_folder(resolved)
    resolved.options.output = str(folder)
    return resolved, folder


def _moved(folder: Path, own: str | None, data: str | Path) -> str:
    """The images that a run goes on with: its own, wherever they are now.

    Raises:
        OptionError: they are still where they were, and others are named.
    """
    there = str(Path(data).expanduser().resolve())
    if own is None or (there != own and Path(own).exists()):
        raise OptionError(
            f"{folder} goes on with the images that it was trained on ({own or 'the built-in demo'}): "
            f"leave out {data}, or train on it by --config {folder / 'config.toml'}"
        )
    return there


def _choose_folder(config: RunConfig) -> Path:
    if config.options.output is not None:
        folder = Path(config.options.output).expanduser()
        # What a run leaves that was killed while it wrote its configuration is nobody's.
        if folder.exists() and (
            not folder.is_dir() or any(not path.match(TEMPORARY) for path in folder.iterdir())
        ):
            raise TrainingError(
                f"{folder} exists already and nothing in it will be overwritten: "
                "choose another with -o, or go on with that run by --resume"
            )
        return folder
    data = Path(config.data).name if config.data else config.options.dataset
    base = Path("runs") / f"{config.method}-{data}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def settle_precision(options: TrainOptions) -> list[str]:
    """Replace ``auto`` by what is quick on the device, so that the run keeps it wherever it goes on.

    Returns:
        What the user should know: what was chosen, or that what was asked for is slow.

    Raises:
        OptionError: the device does not compute in what was asked for.
    """
    device = _device_type(options.accelerator)
    if options.precision != "auto":
        slow = torch_slowness(options.precision, device)
        return [f"{slow}: --precision fp32 is quicker"] if slow else []
    options.precision = choose_for_training(device)
    if options.precision == "fp32":
        return []
    why = (
        f"measured to be {torch_speeds().gain(options.precision):.1f} times as quick as fp32 on this processor"
        if device == "cpu"
        else "which this GPU is made for"
    )
    return [
        f"training in {options.precision}, {why}; the weights stay in fp32, and --precision fp32 does all in it"
    ]


def _device_type(accelerator: str) -> str:
    """The kind of device that Fabric takes for an accelerator's name."""
    if accelerator in ("auto", "gpu"):
        if torch.backends.mps.is_available():
            return "mps"
        return "cuda" if torch.cuda.is_available() else "cpu"
    return accelerator


def make_fabric(options: TrainOptions) -> Fabric:
    """The engine that knows devices, precision and several processes.

    Raises:
        OptionError: there are no such devices.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # it says in other words what we say
    devices: Any = (
        [int(part) for part in options.devices.split(",") if part]
        if "," in options.devices
        else options.devices
    )
    make = functools.partial(
        Fabric,
        accelerator=options.accelerator,
        devices=devices,
        num_nodes=options.num_nodes,
        precision=FABRIC[options.precision],
    )
    try:
        fabric = make(strategy=options.strategy)
        if not isinstance(fabric.strategy, DDPStrategy):
            return fabric
        # Each process keeps its own running statistics: sending them around would change tensors between two forward
        # passes of one network, of which a GAN's step has several, and would make each forward pass a collective, which
        # one process alone must be free to do.
        known = inspect.signature(DistributedDataParallel).parameters
        buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        limit = timedelta(minutes=options.process_timeout)
        return make(strategy=DDPStrategy(timeout=limit, **{buffers: False}))
    except (TypeError, ValueError, RuntimeError) as error:  # Fabric's MisconfigurationException among them
        raise OptionError(
            f"these devices cannot be used ({str(error).splitlines()[0]}): check the Hardware options"
        ) from None
    except Exception as error:
        if type(error).__name__ != "MisconfigurationException":
            raise
        raise OptionError(f"these devices cannot be used ({error}): check the Hardware options") from None


@dataclass
class Parts:
    """What a run is made of, before any device is used.

    Attributes:
        data, validation, judge: see `translatekit.training.state.Training`.
        method: with its networks.
    """

    data: Dataset
    validation: Dataset | None
    judge: Judge | None
    method: Method


def build(config: RunConfig, fabric: Fabric) -> Parts:
    """Open the data, and make the method with its networks: all that can be refused.

    Raises:
        OptionError: an option does not fit.
        DataError: the images are missing, unmatched or too few.
    """
    options = config.options
    data = _open_data(config, "train")
    validation, judge = _open_validation(config)
    make_batches(data, options, fabric)
    torch.manual_seed(options.seed)  # every process starts from the same weights
    factory = Networks(
        generator_name=str(options.generator),
        generator_options=options.generator_options,
        discriminator_name=str(options.discriminator),
        discriminator_options=options.discriminator_options,
        init=options.init,
        init_gain=options.init_gain,
    )
    method: Method = registry("method").load(config.method)(config.method_options, factory, data)
    for network in method.deployed().values():
        set_norm_inference(network, options.norm_inference)
    return Parts(data, validation, judge, method)


def prepare(parts: Parts, config: RunConfig, folder: Path, fabric: Fabric) -> Training:
    """Put everything on its device; every process must call this."""
    options, method = config.options, parts.method
    method.setup(
        fabric,
        functools.partial(make_optimizer, options=options),
        functools.partial(wrap_network, options=options, device=fabric.device),
    )
    torch.manual_seed(options.seed + 1 + fabric.global_rank)  # each process draws noise of its own
    averages = {}
    if options.ema is not None:
        average = get_ema_multi_avg_fn(options.ema)
        averages = {
            name: AveragedModel(network, multi_avg_fn=average) for name, network in method.deployed().items()
        }
    return Training(
        folder, config, fabric, parts.data, parts.validation, method, averages=averages, judge=parts.judge
    )


def make_batches(data: Dataset, options: TrainOptions, fabric: Fabric) -> EpochBatches:
    """Which images this process takes, in which order.

    Raises:
        DataError: one step needs more images than there are.
    """
    return EpochBatches(len(data), options.batch_size, options.seed, fabric.global_rank, fabric.world_size)


def _open_validation(config: RunConfig) -> tuple[Dataset | None, Judge | None]:
    """The validation images and their judge, where there are any and the method can be measured on them."""
    options = config.options
    kind = registry("method").get(config.method).data
    wanted = kind == "paired" or (kind == "unpaired" and options.best_by in SET_METRICS)
    validation = None
    if options.validate_every and wanted:
        with suppress(MissingSplitError):
            validation = _open_data(config, "val")
    if validation is None:
        if options.patience is not None:
            raise OptionError(
                "--patience waits for a better validation, and this run has none: add validation images, keep "
                "--validate-every above 0, and for unpaired images pass --best-by fid or kid"
            )
        return None, None
    return validation, Judge(options.best_by, kind == "paired", options.features)


def _open_data(config: RunConfig, split: str) -> Dataset:
    options = config.options
    name = str(options.dataset)
    spec = registry("dataset").get(name)
    wanted = registry("method").get(config.method).data
    if spec.provides != wanted:
        raise OptionError(
            f"{config.method} needs {wanted} images, and the dataset {name!r} gives {spec.provides} ones: "
            "pass another --dataset"
        )
    data_options = DataOptions(
        split=split,
        direction=options.direction,
        load_size=options.load_size,
        crop_size=options.crop_size,
        flip=options.flip,
        seed=options.seed,
        cache=options.cache,
        strict=options.strict,
    )
    return make_dataset(name, config.data, data_options, options.dataset_options)


def make_optimizer(parameters: Iterable[nn.Parameter], options: TrainOptions) -> torch.optim.Optimizer:
    """Adam as both papers use it."""
    # Fused is one pass over the memory instead of a dozen: at batch size 1 the optimizer is much of a CPU's step.
    return torch.optim.Adam(parameters, lr=options.lr, betas=(options.beta1, options.beta2), fused=True)


def wrap_network(network: nn.Module, options: TrainOptions, device: torch.device) -> Any:
    """A network in the memory format and compiled as the options say."""
    # On a CPU the optimizer and the matrix products want contiguous weights; convolutions reorder them anyway.
    if use_channels_last(options, device) and device.type != "cpu":
        network = network.to(memory_format=torch.channels_last)
    return torch.compile(network) if options.compile else network


def use_channels_last(options: TrainOptions, device: torch.device) -> bool:
    """Whether images are laid out as NHWC: as the options say, else where it was measured to be quicker."""
    if options.channels_last is not None:
        return options.channels_last
    return device.type != "cpu" or options.batch_size > 1


def to_channels_last(value: Any) -> Any:
    """A batch's images as NHWC in memory; anything else as it is."""
    is_image = isinstance(value, Tensor) and value.ndim == 4
    return value.contiguous(memory_format=torch.channels_last) if is_image else value


def make_loader(training: Training, batches: EpochBatches) -> Any:
    """The training images in the order of `batches`, moved to the device."""
    loader: DataLoader[Any] = DataLoader(
        training.data,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=training.options.workers,
        collate_fn=collate,
        pin_memory=training.fabric.device.type == "cuda",
        worker_init_fn=_start_worker if training.options.workers else None,
        generator=torch.Generator(),  # else each start of an epoch would draw from the noise of the training
    )
    return training.fabric.setup_dataloaders(loader, use_distributed_sampler=False)


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """One batch from its items."""
    return dict(default_collate(items))


def _start_worker(worker: int) -> None:
    """Keep readers from taking the cores that the training computes on, and from hearing its signals."""
    torch.set_num_threads(1)
    ignore_in_worker()
