"""From options to a run that can start: its folder, devices, data, networks and optimizers."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from translatekit.config import RunConfig, TrainOptions, data_address, holds_run, read_toml, run_config
from translatekit.datasets import make_dataset
from translatekit.datasets.classes import labels_text, parse_labels
from translatekit.datasets.layouts import MissingSplitError
from translatekit.datasets.palette import PaletteClass, palette_of
from translatekit.datasets.ranges import parse_ranges, ranges_text
from translatekit.datasets.stored import place_of
from translatekit.errors import OptionError, TrainingError, TranslatekitError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import DataOptions, Dataset, Method
from translatekit.metrics import metric_names
from translatekit.networks.factory import Networks
from translatekit.networks.layers import BatchNorm2d, SidesError, set_norm_inference
from translatekit.options import option_types
from translatekit.precision import FABRIC, choose_for_training, torch_slowness, torch_speeds
from translatekit.registry import registry
from translatekit.storage import TEMPORARY, is_uri, open_source, shown
from translatekit.training.accumulation import Recomputed
from translatekit.training.averaging import averages_of
from translatekit.training.batches import first_batch, make_batches, use_channels_last
from translatekit.training.checkpoint import gather_ranks
from translatekit.training.discriminators import DiffAugment, discriminators_of, normalize_spectrally
from translatekit.training.fabric import DDPStrategy, Fabric
from translatekit.training.loggers import check_loggers
from translatekit.training.losses import LossLog
from translatekit.training.method import trains
from translatekit.training.processes import launched_processes
from translatekit.training.remote import Keeper, is_taken, working_folder
from translatekit.training.start import freeze, with_networks_of
from translatekit.training.state import Training
from translatekit.training.validator import Validator

_MAY_CHANGE_ON_RESUME = {"epochs", "epochs_decay", "max_steps", "accumulate"}
_MAY_CHANGE_GROUPS = {"Output", "Hardware"}
_MEASURED = {"range", "labels"}  # which a run keeps as what they came to


def resolve(
    method: str | None,
    data: str | Path | None,
    config: str | Path | None,
    resume: str | Path | None,
    given: Mapping[str, Any],
    autoresume: bool = False,
) -> tuple[RunConfig, Path, bool]:
    """The run's configuration, its folder, and whether it goes on."""
    if autoresume:
        if resume is not None or not given.get("output"):
            raise OptionError(
                "--autoresume starts the run in the folder of --output, or goes on with it: pass -o, and no --resume"
            )
        place = str(given["output"])
        if holds_run(place):
            wanted, _, _ = resolve(method, data, config, None, {**given, "output": None})
            asked = given if config is None else {**vars(wanted.options), **vars(wanted.method_options)}
            _check_unchanged(place, wanted, set(asked))
            given = {name: value for name, value in given.items() if name in _may_change_on_resume()}
            method, data, config, resume = None, None, None, place
    if resume is not None:
        path, folder = run_config(resume), shown(resume)
        if config is not None:
            raise OptionError("--resume goes on with a run and --config repeats one: give one of the two")
        own_method, own_data, saved = read_toml(path)
        b = saved.get("dataset_options", {}).get("b")  # the second folder, where A and B are two
        if data is not None and b is not None and given.get("dataset_options", {}).keys() == {"b"}:
            b = _moved(folder, b, given["dataset_options"]["b"])
            given = {name: value for name, value in given.items() if name != "dataset_options"}
        for name in given:
            if name not in _may_change_on_resume():
                raise OptionError(
                    f"{name} cannot change when a run is resumed: leave it out, "
                    f"or start anew from its weights with --config {shown(path)} --from {folder}"
                )
        if given.get("precision") == "auto":  # which is what the run was started with, and no new choice
            given = {name: value for name, value in given.items() if name != "precision"}
        if method not in (None, own_method):
            raise OptionError(
                f"{folder} is a run of {own_method}: leave out {method}, or start anew without --resume"
            )
        changed = dict(given)
        if data is not None:
            changed["data"] = _moved(folder, own_data, data)
            if b is not None:
                changed["dataset_options"] = {"b": b}
        resolved = RunConfig.from_toml(path, changed)
        resolved.options.output = str(resume)  # which may have moved, too
        return resolved, working_folder(resume), True
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
        if (model := given.get("start_from")) is not None:
            given = with_networks_of(str(model), method, given)
        resolved = RunConfig.resolve(method, data, given)
    resolved.options.output = _choose_place(resolved)
    return resolved, working_folder(resolved.options.output), False


def _may_change_on_resume() -> set[str]:
    groups = {item.name for item in fields(TrainOptions) if item.metadata["group"] in _MAY_CHANGE_GROUPS}
    return (_MAY_CHANGE_ON_RESUME | groups) - {"output"}


def _check_unchanged(place: str, wanted: RunConfig, names: set[str]) -> None:
    """Refuse to go on with a run that is not the one that was asked for.

    Args:
        place: of the run.
        wanted: what was asked for.
        names: of the options that were.

    Raises:
        OptionError: it is of other images, another method or other options.
    """
    saved = RunConfig.from_toml(run_config(place))
    asked = {"method": (wanted.method, saved.method), "data": (wanted.data, saved.data)}
    for name in names - _may_change_on_resume() - {"output", *_MEASURED}:
        for new, old in ((wanted.options, saved.options), (wanted.method_options, saved.method_options)):
            if hasattr(new, name) and hasattr(old, name):
                asked[name] = (getattr(new, name), getattr(old, name))
    for name in names & _MEASURED:
        new, old = getattr(wanted.options, name), getattr(saved.options, name)
        if (_other_range if name == "range" else _other_labels)(new, old):
            asked[name] = (new, old)
    for name, (new, old) in asked.items():
        if new != old:
            raise OptionError(
                f"{shown(place)} is a run with {name} {old}, and {new} was asked for: give what it was started with, "
                "or choose another folder with -o"
            )


def _other_range(asked: str | None, kept: str | None) -> bool:
    """Whether a run's ranges are not those that are asked for, as far as these do not depend on the images."""
    if asked is None or kept is None:
        return asked != kept
    rules = parse_ranges(asked)
    for side, own in parse_ranges(kept).items():
        rule = rules.get(side, rules.get(""))
        if rule is None or not rule.is_given:
            continue
        alike = (
            rule.bounds == own.bounds
            if len(rule.bounds) == len(own.bounds)
            else set(rule.bounds) == set(own.bounds)  # one for all channels
        )
        if not alike or rule.clip != own.clip:
            return True
    return False


def _other_labels(asked: str | None, kept: str | None) -> bool:
    """The same of its classes."""
    if asked is None or kept is None:
        return asked != kept
    rules = parse_labels(asked)
    return any(
        _wherever_it_is_read(rules.get(side, rules.get("", "data")))
        not in ("data", _wherever_it_is_read(own))
        for side, own in parse_labels(kept).items()
    )


def _wherever_it_is_read(rule: str) -> str:
    """A rule of `parse_labels`, the file that it may name as an absolute path, where that can be written so."""
    path = Path(rule).expanduser()
    absolute = str(path.resolve())
    return absolute if path.is_file() and not {",", "="} & set(absolute) else rule


def _moved(run: str, own: str | None, data: str | Path) -> str:
    """The images that a run goes on with: its own, wherever they are now.

    Raises:
        OptionError: they are still where they were, and others are named.
    """
    there = data_address(data)
    if own is None or (there.rstrip("/") != own.rstrip("/") and _is_there(own)):
        raise OptionError(
            f"{run} goes on with the images that it was trained on ({own or 'the built-in demo'}): "
            f"leave out {data}, or train on it by --config {run}/config.toml"
        )
    return there


def _is_there(images: str) -> bool:
    """Whether there is anything at a path or an address; not, where nobody can look."""
    if not is_uri(images):
        return Path(images).exists()
    with suppress(TranslatekitError):
        return next(iter(open_source(images).list()), None) is not None
    return False


def _choose_place(config: RunConfig) -> str:
    if config.options.output is not None and is_uri(config.options.output):
        place = config.options.output
        if is_taken(place):
            raise TrainingError(
                f"there is something at {shown(place)} already and nothing of it will be overwritten: "
                "choose another with -o, or go on with that run by --resume"
            )
        return place
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
        return str(folder)
    base = Path("runs") / f"{config.method}-{config.data_name}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return str(folder)


def resolve_precision(options: TrainOptions) -> list[str]:
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
        f"measured to be {torch_speeds().speedup(options.precision):.1f} times as quick as fp32 on this processor"
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
        else options.devices.lower()
    )
    nodes = options.num_nodes
    if (launched := launched_processes()) is not None:
        asked = len(devices) if isinstance(devices, list) else devices
        if asked not in ("auto", "1") and int(asked) != launched[0]:
            raise OptionError(
                f"--devices {options.devices} does not fit the {launched[0]} process(es) that were started on this "
                "host: leave it out, or start as many"
            )
        devices, nodes = launched
    make = functools.partial(
        Fabric,
        accelerator=options.accelerator,
        devices=devices,
        num_nodes=nodes,
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
        data, validation, validator: see `translatekit.training.state.Training`.
        method: with its networks.
        augment: what changes what its discriminators see.
        held_out: see `translatekit.training.state.Training`.
    """

    data: Dataset
    validation: Dataset | None
    validator: Validator | None
    method: Method
    augment: DiffAugment | None = None
    held_out: Dataset | None = None


def build(config: RunConfig, fabric: Fabric) -> Parts:
    """Open the data, and make the method with its networks: all that can be refused.

    Raises:
        OptionError: an option does not fit.
        DataError: the images are missing, unmatched or too few.
    """
    options = config.options
    check_loggers(options)
    data = _open_data(config, "train")
    _resolve_values(options, data)
    _check_colors(options, data)
    validation, validator = _open_validation(config, data.specs)
    make_batches(data, options, fabric)
    torch.manual_seed(options.seed)  # every process starts from the same weights
    method, augment = make_equipped(config, data)
    _check_crop(method, options)
    if validator is not None:
        validator.check_images(data.specs[next(iter(method.deployed().values())).target])
    return Parts(data, validation, validator, method, augment, _open_held_out(config, data, method))


def make_equipped(config: RunConfig, data: Dataset) -> tuple[Method, DiffAugment | None]:
    """The method of a run with all that the run's options make of its networks; and what changes what is judged.

    Raises:
        OptionError: an option does not fit.
    """
    options = config.options
    method = make_method(config, data)
    for deployed in method.deployed().values():
        set_norm_inference(deployed.network, options.norm_inference)
    if options.sync_batchnorm:
        _synchronize_batchnorm(method)
    augment = None
    if options.diff_augment:
        channels = {data.specs[deployed.target].network_channels for deployed in method.deployed().values()}
        augment = DiffAugment(options.diff_augment, options.seed, channels)
        augment.attach(method)
    return method, augment


def _check_crop(method: Method, options: TrainOptions) -> None:
    """Refuse crops that a generator cannot take: not every network says so itself.

    Raises:
        SidesError: their sides are no multiples of what it needs.
    """
    crop = options.crop_size
    for deployed in method.deployed().values():
        multiple = int(getattr(deployed.network, "size_multiple", 1))
        if deployed.input is not None and crop % multiple:
            raise SidesError(
                f"{options.generator} needs sides that are multiples of {multiple}, got {crop}x{crop}",
                max(1, round(crop / multiple)) * multiple,
            )


def _synchronize_batchnorm(method: Method) -> None:
    """Let batch normalization take the statistics of the images of all processes.

    Raises:
        OptionError: there is none, or one that is not ours to change.
    """
    layers = [
        (name, layer)
        for name, network in method.unwrapped.items()
        if trains(network)
        for layer in network.modules()
        if isinstance(layer, _BatchNorm)
    ]
    if not layers:
        raise OptionError(
            "--sync-batchnorm is for batch normalization, and these networks have none: leave it out"
        )
    for name, layer in layers:
        if not isinstance(layer, BatchNorm2d):
            raise OptionError(
                f"the batch normalization of {name} is a {type(layer).__name__}, which --sync-batchnorm cannot change: "
                "leave it out"
            )
        layer.synchronized = True


def make_method(config: RunConfig, data: Dataset) -> Method:
    """The method of a run with all of its networks, on the CPU; their weights are drawn from torch's generator."""
    options = config.options
    factory = Networks(
        generator_name=str(options.generator),
        generator_options=options.generator_options,
        discriminator_name=options.discriminator,
        discriminator_options=options.discriminator_options,
        init=options.init,
        init_gain=options.init_gain,
    )
    method: Method = registry("method").load(config.method)(config.method_options, factory, data)
    kinds = {item.kind for item in inspect.signature(method.step).parameters.values()}
    if options.accumulate > 1 and inspect.Parameter.VAR_POSITIONAL not in kinds:
        raise OptionError(f"{config.method} cannot accumulate gradients: leave out --accumulate")
    method.begin(first_batch(data, options.batch_size))
    if options.spectral_norm:
        if options.accumulate > 1:
            raise OptionError(
                "with --spectral-norm, weights change a little with each pass, and --accumulate computes passes twice: "
                "leave one of the two out"
            )
        normalize_spectrally(method)
    if options.freeze is not None:
        freeze(method, options.freeze)
    return method


def prepare(parts: Parts, config: RunConfig, folder: Path, fabric: Fabric, keeper: Keeper) -> Training:
    """Put everything on its device; every process must call this."""
    options, method = config.options, parts.method
    if parts.augment is not None:
        parts.augment.rank = fabric.global_rank
    wrap = functools.partial(wrap_network, options=options, device=fabric.device)
    set_up(method, config, fabric, wrap)
    torch.manual_seed(options.seed + 1 + fabric.global_rank)  # each process draws noise of its own
    return Training(
        folder,
        config,
        fabric,
        parts.data,
        parts.validation,
        method,
        LossLog(fabric, folder, options.precision),
        keeper,
        augment=parts.augment,
        held_out=parts.held_out,
        ema=averages_of(method, options.ema),
        validator=parts.validator,
        notes=list(parts.validator.notes) if parts.validator else [],
        palettes=_palettes(config, parts) if fabric.is_global_zero else {},
    )


def set_up(method: Method, config: RunConfig, fabric: Fabric, wrap: Callable[[nn.Module], Any]) -> None:
    """Put a method's networks on their device, with optimizers as a run's options say; every process must call this.

    Raises:
        OptionError: an option of the optimizers does not fit.
    """
    judging = {id(item) for network in discriminators_of(method) for item in network.parameters()}
    if config.options.lr_discriminator is not None and not judging:
        raise OptionError(f"{config.method} has made no discriminator: leave out --lr-discriminator")
    method.setup(fabric, functools.partial(make_optimizer, options=config.options, judging=judging), wrap)
    for optimizer in method.optimizers.values():
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # which the schedule starts from


def agree_on_precision(fabric: Fabric, precision: str) -> None:
    """Refuse a run whose processes would compute in different precisions: ``auto`` on machines of several kinds.

    Raises:
        TrainingError: they would.
    """
    chosen = sorted({state["precision"] for state in gather_ranks(fabric, {"precision": precision})})
    if len(chosen) > 1:
        raise TrainingError(
            f"the processes of this run would compute in {' and '.join(chosen)}: pass --precision fp32"
        )


def _palettes(config: RunConfig, parts: Parts) -> dict[str, list[PaletteClass]]:
    """The colours of each deployed generator's inputs, none where they are no label maps."""
    root = None if config.data is None else place_of(config.data)
    return {
        name: palette_of(parts.data, deployed.input, root) or []
        for name, deployed in parts.method.deployed().items()
    }


def _resolve_values(options: TrainOptions, data: Dataset) -> None:
    """Replace ranges and classes that depend on the images by numbers, so that the run keeps them wherever it goes on.

    Raises:
        OptionError: they are given for images that there are not.
    """
    sides: Mapping[str, ImageSpec] = getattr(data, "sides", {})
    for name, text in (("range", options.range), ("labels", options.labels)):
        named = {part.rpartition("=")[0].strip() for part in (text or "").split(",")} - {""}
        if text is not None and (not sides or not named <= sides.keys()):
            kinds = f"its images are {' and '.join(sides)}" if sides else "it makes its own images"
            raise OptionError(f"the dataset {options.dataset!r} takes no --{name} {text}: {kinds}")
    if options.slices is not None and not any(spec.slices == options.slices for spec in sides.values()):
        raise OptionError(
            f"--slices {options.slices} is for volumes in two folders, and {options.dataset!r} gives none: "
            "leave it out"
        )
    if options.slice_axis != "axial" and not any(
        spec.slice_axis == options.slice_axis for spec in sides.values()
    ):
        raise OptionError(
            f"--slice-axis {options.slice_axis} is for NIfTI volumes, and {options.dataset!r} gives none: leave it out"
        )
    if options.range is not None:
        measured = {
            side: spec for side, spec in sides.items() if not spec.levels and spec.meaning != "labels"
        }
        options.range = ranges_text(measured)
    if options.labels is not None:
        rules = parse_labels(options.labels)
        options.labels = ",".join(
            f"{side}={labels_text(_wherever_it_is_read(rules.get(side, rules.get('', ''))), spec)}"
            for side, spec in sides.items()
            if spec.meaning == "labels"
        )


def _open_held_out(config: RunConfig, data: Dataset, method: Method) -> Dataset | None:
    """Validation images, cropped and changed as training images are; None where there are none, or no discriminator."""
    if not config.options.validate_every or not discriminators_of(method):
        return None
    with suppress(
        TranslatekitError
    ):  # such as images that are too small for the crop, which a validation resizes
        return _open_data(config, "val", data.specs, random=True)
    return None


def _check_colors(options: TrainOptions, data: Dataset) -> None:
    """Refuse changes of colours that would change nothing.

    Raises:
        OptionError: of a side that there is not, or of label maps.
    """
    sides: Mapping[str, ImageSpec] = getattr(data, "sides", {})
    for side in "AB":
        own = None if options.augment is None else getattr(options.augment, f"color_{side.lower()}")
        if own and side not in getattr(data, "side_of", {}).values():
            raise OptionError(
                f"the dataset {options.dataset!r} has no side {side}: pass --augment color={own:g}"
            )
        if own and side in sides and sides[side].meaning == "labels":
            raise OptionError(
                f"the images of {side} are label maps, whose numbers are no colours: leave out color_{side} in "
                "--augment"
            )


def _open_validation(
    config: RunConfig, specs: Mapping[str, ImageSpec]
) -> tuple[Dataset | None, Validator | None]:
    """The validation images and what measures on them, where there are any and the method can be measured on them."""
    options = config.options
    kind = registry("method").get(config.method).data
    if kind == "unpaired" and options.best_by not in ("l1", *metric_names("sets")):  # l1 is what nobody chose
        raise OptionError(
            f"--best-by {options.best_by} needs pairs, and these images have none: pass --best-by "
            f"{' or '.join(metric_names('sets'))}"
        )
    wanted = kind == "paired" or (kind == "unpaired" and options.best_by in metric_names("sets"))
    validation = None
    if options.validate_every and wanted:
        with suppress(MissingSplitError):
            validation = _open_data(config, "val", specs)
    if validation is None:
        if options.validate_every and options.best_by != "l1":
            raise OptionError(
                f"--best-by {options.best_by} chooses among validations, and this run has none: "
                + (
                    "add validation images"
                    if wanted
                    else f"leave it out, since {config.method} is not validated"
                )
            )
        if options.patience is not None:
            raise OptionError(
                "--patience waits for a better validation, and this run has none: add validation images, keep "
                f"--validate-every above 0, and for unpaired images pass --best-by {' or '.join(metric_names('sets'))}"
            )
        return None, None
    if options.features is not None and "features" not in option_types(
        registry("metric").load(options.best_by)
    ):
        raise OptionError(
            f"--features is for metrics of features, and this run's best is chosen by {options.best_by}: leave it out, "
            f"or pass --best-by {' or '.join(metric_names('sets'))}"
        )
    return validation, Validator(options.best_by, kind == "paired", options.features)


def _open_data(
    config: RunConfig, split: str, specs: Mapping[str, ImageSpec] | None = None, random: bool | None = None
) -> Dataset:
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
        cache="none" if random else options.cache,  # of which few are looked at
        strict=options.strict,
        range=options.range,
        unit=options.unit or "",
        labels=options.labels,
        slices=options.slices,
        slice_axis=options.slice_axis,
        valid=split != "train" and not random,
        augment=options.augment,
        fold=options.fold,
        random=random,
        specs=specs or _known_specs(config),
    )
    return make_dataset(name, config.data, data_options, options.dataset_options)


def _known_specs(config: RunConfig) -> Mapping[str, ImageSpec]:
    """What the images are, where a method knows it before they are seen, as one that learns from a model does."""
    method_type = registry("method").load(config.method)
    known: Mapping[str, ImageSpec] = getattr(method_type, "image_specs", lambda options: {})(
        config.method_options
    )
    return known


def make_optimizer(
    parameters: Iterable[nn.Parameter],
    *,
    options: TrainOptions,
    judging: Collection[int] = (),
    lr: float | None = None,
    betas: tuple[float, float] | None = None,
) -> torch.optim.Optimizer:
    """Adam as both papers use it, by the run's options where a method does not say otherwise.

    Args:
        parameters: to train.
        options: of the run.
        judging: the ids of the discriminators' parameters, for which a rate of their own goes before the method's.
        lr, betas: as the method says.

    Raises:
        OptionError: discriminators are to have a rate of their own, and share an optimizer with other networks.
    """
    parameters = list(parameters)
    if options.lr_discriminator is not None:
        theirs = {id(item) in judging for item in parameters}
        if theirs == {True, False}:
            raise OptionError(
                "this method trains its discriminators with other networks by one optimizer: leave out "
                "--lr-discriminator"
            )
        lr = options.lr_discriminator if theirs == {True} else lr
    # Fused is one pass over the memory instead of a dozen: at batch size 1 the optimizer is much of a CPU's step.
    return torch.optim.Adam(
        parameters,
        lr=options.lr if lr is None else lr,
        betas=(options.beta1, options.beta2) if betas is None else betas,
        fused=True,
    )


def wrap_network(network: nn.Module, options: TrainOptions, device: torch.device) -> Any:
    """A network in the memory format and compiled as the options say."""
    # On a CPU the optimizer and the matrix products want contiguous weights; convolutions reorder them anyway.
    if use_channels_last(options, device) and device.type != "cpu":
        network = network.to(memory_format=torch.channels_last)
    if options.compile:
        network = torch.compile(network)  # type: ignore[assignment]
    return Recomputed(network) if options.accumulate > 1 else network
