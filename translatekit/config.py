"""All options of a training run: one dataclass that is the command line, the TOML file and the Python API.

Each field's metadata says how it is shown and what it may be: its group in ``--help``, its help text, its range, and
its flag where that is not the field's name. Methods add their own dataclass in the same manner.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w

from translatekit.augmentation import Augment, Fold
from translatekit.errors import OptionError, TrainingError, TranslatekitError
from translatekit.options import LARGEST_SEED, LARGEST_SIDE, Bounds, Choices, Pattern, check_options, written
from translatekit.precision import TrainPrecision
from translatekit.registry import registry
from translatekit.specs import DatasetSpec, MethodSpec
from translatekit.storage import is_uri, open_source, shown
from translatekit.types import AugmentKind, Cache, Direction, NormInference, Schedule, SliceAxis

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


OF_DISCRIMINATORS = (
    "discriminator",
    "discriminator_options",
    "spectral_norm",
    "lr_discriminator",
    "diff_augment",
)
"""Options that a method without a discriminator does not have."""


def option(
    default: Any,
    help: str,
    group: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive_minimum: float | None = None,
    exclusive_maximum: float | None = None,
    **metadata: Any,
) -> Any:
    """A dataclass field with its range and what the command line needs to know of it.

    Args:
        default: its default; ``dataclasses.MISSING`` where it must be given.
        help: one line, shown by ``--help``, which adds the range.
        group: the heading it stands under.
        minimum, maximum: the range of a number, these included. The command line, the TOML file and the Python API
            refuse what lies outside.
        exclusive_minimum, exclusive_maximum: the same, these excluded.
        metadata: ``flags``, the flags where they are not ``--field-name``; ``metavar``; ``multiple`` where a tuple's
            flag may be given several times; ``address`` of a method's option that names a file or folder, which a run
            then keeps as an absolute path.
    """
    bounds = Bounds(
        minimum=minimum,
        maximum=maximum,
        exclusive_minimum=exclusive_minimum,
        exclusive_maximum=exclusive_maximum,
    )
    metadata = {"help": help, "group": group, "bounds": None if bounds == Bounds() else bounds, **metadata}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def with_default(options: type[Any], name: str, default: Any) -> Any:
    """The field of an options dataclass again, with another default: for a subclass of it."""
    (known,) = (item for item in fields(options) if item.name == name)
    return field(default=default, metadata=known.metadata)


@dataclass(kw_only=True)
class PatchOptions:
    """How patches are compared by `translatekit.training.contrast.PatchContrast`: a base for options of methods."""

    patches: int = option(256, "Places of an image that are compared, at each layer.", "Patches", minimum=2)
    temperature: float = option(0.07, "Divides the similarities of patches.", "Patches", exclusive_minimum=0)
    hard_negatives: float = option(
        0.0,
        "How much more the patches count that are more alike to the one compared, as the exponent of their "
        "weights; 0 for all alike.",
        "Patches",
        minimum=0,
        maximum=100,
    )
    layers: str | None = option(
        None,
        "Layers of the generator whose features are compared, by name or number, with commas; 'input' is the "
        "image itself. When not given, the input and four layers up to the middle.",
        "Patches",
    )


def _metrics_of_validations() -> list[str]:
    """The metrics that a validation can measure."""
    specs = (entry.spec for entry in registry("metric").entries())
    return [spec.name for spec in specs if spec.compares in ("pairs", "sets")]


def _loggers() -> list[str]:
    """The installed loggers."""
    return registry("logger").names()


@dataclass(kw_only=True)
class TrainOptions:
    """Everything a training run can be told that does not depend on the method."""

    recipe: str | None = option(
        None,
        "A bundle of defaults: paper has the settings of the method's paper, as without it, and fast is for a good "
        "result soon, where the method has one. What else is given goes before it.",
        "Recipe",
    )

    # data
    dataset: str | None = option(
        None, "How the images are laid out; the method's own choice when not given.", "Data"
    )
    dataset_options: dict[str, Any] = option(
        {}, "An option of the dataset.", "Data", flags=("--dataset-option",), metavar="KEY=VALUE"
    )
    direction: Direction = option("AtoB", "Which side of a pair is the input.", "Data")
    range: str | None = option(
        None,
        "Values that the network sees as black and white, where the numbers in the files are measurements: "
        "-1024..3071, data, 1%..99%, mean±std, or one for each side: A=...,B=... .",
        "Data",
    )
    unit: str | None = option(
        None, "The unit of the values, such as HU; what the files say when not given.", "Data"
    )
    slices: int | None = option(
        None,
        "Neighbouring slices of a volume that the network sees to make the middle one, an odd number.",
        "Data",
        minimum=1,
        maximum=99,
    )
    slice_axis: SliceAxis = option(
        "axial",
        "Which slices of NIfTI volumes are taken, by their place in the body: across it, from back to front, or from "
        "side to side.",
        "Data",
    )
    labels: str | None = option(
        None,
        "Images that are maps of class numbers, which the network sees as one channel a class: "
        "A=19, A=0/7/8/255, A=data, or A=classes.json.",
        "Data",
    )
    load_size: int | None = option(
        286,
        "Resize to this many pixels a side first; 'none' keeps the size.",
        "Data",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    crop_size: int = option(
        256, "Train on random crops of this many pixels a side.", "Data", minimum=1, maximum=LARGEST_SIDE
    )
    flip: bool = option(True, "Mirror left to right, half the time.", "Data")
    augment: Augment | None = option(
        None,
        "Further random changes of training images, the same geometry for both of a pair: rotate=15 (degrees), "
        "scale=0.9..1.1, elastic=0.03 (of a side), color=0.2, or color_A=0.2 for one side alone.",
        "Data",
        metavar="KEY=VALUE,...",
    )
    fold: Fold | None = option(
        None,
        "Leave the second of five parts out of the training images, say, and validate on it: 2/5.",
        "Data",
        metavar="NUMBER/COUNT",
    )
    strict: bool = option(False, "Stop at the first unreadable file instead of skipping it.", "Data")

    # networks
    generator: str | None = option(None, "The generator; the method's own choice when not given.", "Networks")
    generator_options: dict[str, Any] = option(
        {}, "An option of the generator.", "Networks", flags=("-G",), metavar="KEY=VALUE"
    )
    discriminator: str | None = option(
        None, "The discriminator; the method's own when not given.", "Networks"
    )
    discriminator_options: dict[str, Any] = option(
        {}, "An option of the discriminator.", "Networks", flags=("-D",), metavar="KEY=VALUE"
    )
    spectral_norm: bool = option(False, "Spectral normalization of the discriminators' weights.", "Networks")
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = option(
        "normal", "How weights are initialized.", "Networks"
    )
    init_gain: float = option(
        0.02, "Standard deviation (normal) or gain of the initialization.", "Networks", exclusive_minimum=0
    )
    norm_inference: NormInference = option(
        "per_image",
        "Batch normalization at inference: each image's own statistics, or running ones.",
        "Networks",
    )
    start_from: str | None = option(
        None,
        "Start from the weights of a model file or an earlier run, as far as they fit, with networks like its own.",
        "Networks",
        flags=("--from",),
        metavar="MODEL",
    )
    freeze: str | None = option(
        None,
        "Parts of the generator that are not trained, by the names of its modules, with commas: encoder,blocks.0.",
        "Networks",
        metavar="PARTS",
    )

    # optimization
    epochs: int = option(100, "Epochs at the full learning rate.", "Optimization", minimum=0)
    epochs_decay: int = option(100, "Further epochs, over which it falls to zero.", "Optimization", minimum=0)
    schedule: Schedule = option(
        "linear",
        "How it falls: linear epoch by epoch, as in the papers, or as a cosine step by step.",
        "Optimization",
    )
    warmup: int = option(
        0, "First steps, over which it rises linearly to what it then is.", "Optimization", minimum=0
    )
    batch_size: int = option(
        1,
        "Images a batch, on each device: the papers' is 1, and N devices make it N.",
        "Optimization",
        minimum=1,
    )
    accumulate: int = option(
        1,
        "Batches a step on each device, their gradients accumulated: more images a step in the memory of one batch.",
        "Optimization",
        minimum=1,
        maximum=10_000,
    )
    sync_batchnorm: bool = option(
        False,
        "Batch normalization over the images of all devices; without it, each device normalizes its own.",
        "Optimization",
    )
    lr: float = option(
        2e-4,
        "Adam's learning rate; it is not scaled by the number of devices.",
        "Optimization",
        exclusive_minimum=0,
    )
    lr_discriminator: float | None = option(
        None,
        "The discriminators' learning rate, where theirs is another (two time-scale updates).",
        "Optimization",
        exclusive_minimum=0,
    )
    beta1: float = option(0.5, "Adam's beta1.", "Optimization", minimum=0, exclusive_maximum=1)
    beta2: float = option(0.999, "Adam's beta2.", "Optimization", minimum=0, exclusive_maximum=1)
    diff_augment: tuple[AugmentKind, ...] | None = option(
        None,
        "Random changes of all that the discriminators see, for few images (DiffAugment).",
        "Optimization",
    )
    ema: float | None = option(
        None,
        "Deploy an exponential moving average of the weights, such as 0.999; it is shorter in the first steps.",
        "Optimization",
        exclusive_minimum=0,
        exclusive_maximum=1,
    )
    best_by: Annotated[str, Choices(_metrics_of_validations)] = option(
        "l1", "The validation metric that best.safetensors is the best by.", "Optimization"
    )
    patience: int | None = option(
        None, "Stop after this many validations without a better one.", "Optimization", minimum=1
    )
    features: str | None = option(
        None,
        "For metrics of features, such as fid: a timm model instead of Inception, such as resnet18,path=FILE.",
        "Optimization",
        metavar="MODEL",
    )
    seed: int = option(
        0, "Decides initialization, order and augmentation.", "Optimization", minimum=0, maximum=LARGEST_SEED
    )
    max_steps: int | None = option(None, "Stop after this many steps.", "Optimization", minimum=1)

    # the run's folder
    output: str | None = option(
        None,
        "The run's folder, or its address in a store, such as s3://bucket/runs/x; runs/METHOD-DATA when not given.",
        "Output",
        flags=("-o", "--output"),
    )
    log_every: int = option(50, "Steps between lines of the log.", "Output", minimum=1)
    log_to: tuple[Annotated[str, Choices(_loggers)], ...] | None = option(
        ("tensorboard",),
        "Where figures and samples go beside the run's folder, with commas, or none.",
        "Output",
    )
    log_options: dict[str, Any] = option(
        {},
        "An option of those loggers that have it, or of one: mlflow.uri=...",
        "Output",
        flags=("--log-option",),
        metavar="KEY=VALUE",
    )
    sample_every: int | None = option(
        None, "Steps between sample grids; every epoch when not given.", "Output", minimum=1
    )
    checkpoint_every: int | None = option(
        None, "Steps between checkpoints; every epoch when not given.", "Output", minimum=1
    )
    checkpoint_minutes: float = option(
        5.0,
        "Minutes between further checkpoints, the first after the first step; 0 for none.",
        "Output",
        minimum=0,
    )
    keep_checkpoints: int = option(2, "How many checkpoints are kept.", "Output", minimum=1)
    validate_every: int = option(1, "Epochs between validations; 0 for none.", "Output", minimum=0)

    # hardware
    workers: int | None = option(
        None,
        "Processes that read images beside the training; when not given, 0 on a CPU and up to 4 for each GPU.",
        "Hardware",
        minimum=0,
        maximum=1024,
    )
    cache: Cache = option(
        "none",
        "Keep decoded images in memory from the start on, or on disk as they are met, for later runs too.",
        "Hardware",
    )
    precision: TrainPrecision = option(
        "auto",
        "Numbers to compute with; auto takes bf16 or fp16 where this machine is quicker in it, and notes it down.",
        "Hardware",
    )
    accelerator: str = option("auto", "cpu, cuda, mps or auto.", "Hardware")
    devices: Annotated[
        str,
        Pattern(r"auto|[1-9]\d{0,3}|(\d{1,4},)+(\d{1,4})?", "how many, their numbers such as 0,1, or auto"),
    ] = option("1", "How many devices, which ones (0,1), or auto.", "Hardware")
    strategy: Literal["auto", "ddp"] = option(
        "auto", "How devices work together: auto is ddp wherever there are several.", "Hardware"
    )
    process_timeout: float = option(
        30.0,
        "Minutes that one of several processes waits for another before the run ends.",
        "Hardware",
        exclusive_minimum=0,
        maximum=100_000,
    )
    num_nodes: int = option(1, "How many hosts.", "Hardware", minimum=1)
    channels_last: bool | None = option(
        None,
        "Lay tensors out as NHWC; by itself wherever that is quicker, so not at batch size 1 on a CPU.",
        "Hardware",
    )
    compile: bool = option(False, "Compile the networks with torch.compile.", "Hardware")


@dataclass(kw_only=True)
class RunConfig:
    """A training run, resolved: what ``config.toml`` in a run's folder holds.

    Attributes:
        method: its name.
        data: the images' folder, or its address; None for datasets that need none.
        options: the general options.
        method_options: an instance of the method's own options dataclass.
    """

    method: str
    data: str | None
    options: TrainOptions
    method_options: Any

    @classmethod
    def resolve(cls, method: str, data: str | Path | None, given: Mapping[str, Any]) -> RunConfig:
        """Fill in what was not given: the recipe first, then the method's defaults, then the general ones.

        Args:
            method: its name.
            data: the images' folder; None trains a method for pairs on the built-in demo data, unless its own dataset
                draws images.
            given: options of the run and of the method, by field name.

        Raises:
            OptionError: an unknown name or a value that does not fit.
            PluginError: there is no such method.
        """
        spec = registry("method").get(method)
        own_type = spec.load_options()
        own_names = {item.name for item in fields(own_type)}
        own = {name: value for name, value in given.items() if name in own_names}
        general = {name: value for name, value in given.items() if name not in own_names}
        if (
            data is None
            and general.get("dataset") is None
            and spec.data == "paired"
            and registry("dataset").get(spec.dataset).folder is not False  # which draws images of its own
        ):
            general["dataset"] = "demo"
        owner = f"train {method}"
        checked = check_options(TrainOptions, general, owner)
        recipe = spec.recipe(checked.get("recipe"))
        own = {**{name: value for name, value in recipe.items() if name in own_names}, **own}
        defaults = {**dict(spec.defaults), **{key: recipe[key] for key in recipe.keys() - own_names}}
        options = TrainOptions(**{**defaults, **checked})
        for name, default in (
            ("generator", spec.generator),
            ("discriminator", spec.discriminator),
            ("dataset", spec.dataset),
        ):
            if getattr(options, name) is None:
                setattr(options, name, default)
        _check_discriminator(spec, options)
        _merge_network_defaults(options, spec, recipe, checked)
        _check_data(spec, options, data)
        if options.epochs + options.epochs_decay == 0:
            raise OptionError(
                f"{owner}: epochs and epochs_decay are both 0, so nothing would be trained: pass --epochs 1 or more"
            )
        method_options = own_type(**check_options(own_type, own, owner))
        for item in fields(own_type):
            if item.metadata.get("address") and getattr(method_options, item.name) is not None:
                setattr(method_options, item.name, data_address(getattr(method_options, item.name)))
        if options.start_from is not None:
            options.start_from = data_address(options.start_from)
        return cls(
            method=method,
            data=None if data is None else data_address(data),
            options=options,
            method_options=method_options,
        )

    @property
    def data_name(self) -> str:
        """What the images are called: the last part of their address, or the dataset's name."""
        name = Path(self.data).name if self.data else str(self.options.dataset)
        return name.removesuffix(".zip").removesuffix(".tar")

    def to_toml(self) -> str:
        """The text of ``config.toml``; what is None is written as 'none'."""
        content: dict[str, Any] = {"method": self.method}
        if self.data is not None:
            content["data"] = self.data
        content["options"] = _as_toml(self.options)
        content["method_options"] = _as_toml(self.method_options)
        return tomli_w.dumps(content)

    @classmethod
    def from_toml(cls, path: str | Path, given: Mapping[str, Any] | None = None) -> RunConfig:
        """Read ``config.toml``, with some options changed.

        The options of a network or of a dataset are changed one by one; with another one, those of the first are left
        out.

        Raises:
            OptionError: the file is missing or is not such a file, or an option does not fit.
        """
        method, data, saved = read_toml(path)
        given = dict(given or {})
        if given.get("recipe", saved.get("recipe")) != saved.get("recipe"):
            raise OptionError(
                f"{shown(path)} holds all options, and a recipe would change none of them: leave out --recipe, or "
                "start without --config"
            )
        if given.get("data") is not None and data_address(given["data"]) != data:
            saved.get("dataset_options", {}).pop("b", None)  # the second folder of other images
        method, data = given.pop("method", method), given.pop("data", data)
        name = {**saved, **given}.get("dataset")
        if name not in (None, "none") and not _has_direction(
            registry("method").get(method), registry("dataset").get(str(name))
        ):
            saved.pop("direction", None)  # which older versions took and ignored
        for kind in ("generator", "discriminator", "dataset"):
            own = f"{kind}_options"
            if given.get(kind, saved.get(kind)) != saved.get(kind):
                saved.pop(own, None)
            elif own in given:
                given[own] = {**saved.get(own, {}), **given[own]}
        return cls.resolve(method, data, {**saved, **given})

    @classmethod
    def of_model(cls, file: Path) -> RunConfig | None:
        """The configuration of the run that a model file lies in, or None where it lies in none that can be read."""
        config = file.parent / "config.toml"
        if not config.is_file():
            return None
        try:
            return cls.from_toml(config)
        except TranslatekitError:  # such as a method whose plugin is not installed any more
            return None


def data_address(data: str | Path) -> str:
    """Where training images lie, as a run's configuration keeps it: an absolute path, or an address.

    Raises:
        OptionError: the address holds a password or a signature.
    """
    if not is_uri(data):
        return str(Path(data).expanduser().resolve())
    if shown(data) != data:
        raise OptionError(
            f"the address {shown(data)} was given with a password or a signature, which the run's config.toml would "
            "keep: leave it out, and set it in the environment"
        )
    return str(data)


def read_toml(path: str | Path) -> tuple[str, str | None, dict[str, Any]]:
    """Method, data and options of a ``config.toml``, as they stand there.

    Raises:
        OptionError: the file is missing or is not such a file.
    """
    try:
        if is_uri(path):
            place, _, name = str(path).rpartition("/")
            data = open_source(f"{place}/").read(name)
        else:
            data = Path(path).read_bytes()
        content = tomllib.loads(data.decode())
        saved = {**content.get("options", {}), **content.get("method_options", {})}
        unknown = content.keys() - {"method", "data", "options", "method_options"}
        method = str(content["method"])
    except OSError as error:
        raise OptionError(
            f"{shown(path)} cannot be read ({error.strerror}): give a run's config.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{shown(path)} is not the configuration of a run ({error!r}): give a run's config.toml"
        ) from None
    if unknown:
        raise OptionError(
            f"{shown(path)}: {sorted(unknown)[0]!r} would be ignored where it stands: the general options belong under "
            "[options], and the method's own under [method_options]"
        )
    return method, content.get("data"), saved


def run_config(place: str | Path) -> str | Path:
    """The ``config.toml`` of a run, as a path or as an address.

    Args:
        place: the run's folder, or its address in a store.

    Raises:
        TrainingError: there is no run.
    """
    if not holds_run(place):
        raise TrainingError(f"{shown(place)} is not the folder of a run: give one that holds a config.toml")
    return (
        f"{str(place).rstrip('/')}/config.toml" if is_uri(place) else Path(place).expanduser() / "config.toml"
    )


def holds_run(place: str | Path) -> bool:
    """Whether there is a run in a folder or at an address."""
    if is_uri(place):
        return open_source(f"{str(place).rstrip('/')}/").stat("config.toml") is not None
    return (Path(place).expanduser() / "config.toml").is_file()


def _has_direction(method: MethodSpec, dataset: DatasetSpec) -> bool:
    if dataset.provides == "unpaired":
        return method.directed
    return dataset.provides == "paired" and dataset.directed


def _check_discriminator(method: MethodSpec, options: TrainOptions) -> None:
    """Refuse what a method without a discriminator would ignore.

    Raises:
        OptionError: a discriminator, or an option of one.
    """
    plain = TrainOptions()
    if method.discriminator is None:
        for name in OF_DISCRIMINATORS:
            if getattr(options, name) != getattr(plain, name):
                flag = "-D" if name == "discriminator_options" else f"--{name.replace('_', '-')}"
                raise OptionError(f"{method.name} has no discriminator: leave out {flag}")


def _check_data(method: MethodSpec, options: TrainOptions, data: str | Path | None) -> None:
    """Refuse what a dataset would ignore.

    Raises:
        OptionError: a folder for a dataset that reads none, a direction for one that has but one.
    """
    dataset = registry("dataset").get(str(options.dataset))
    dataset.check_folder(data)
    if options.direction == "BtoA" and not _has_direction(method, dataset):
        if dataset.provides == "unpaired":
            raise OptionError(
                f"{method.name} learns both ways at once: leave out --direction BtoA, and "
                "pass it to run for the way back, or swap the two folders"
            )
        raise OptionError(f"dataset {dataset.name!r} has one direction only: leave out --direction BtoA")
    if options.fold is not None and not dataset.folds:
        raise OptionError(
            f"dataset {dataset.name!r} cannot leave a part of its images out: leave out --fold {options.fold}, or make "
            "the parts by translatekit prepare split"
        )


def _merge_network_defaults(
    options: TrainOptions, spec: MethodSpec, recipe: Mapping[str, Any], checked: Mapping[str, Any]
) -> None:
    """A method's or a recipe's options for the method's default networks hold until the user sets the same key."""
    defaults = dict(spec.defaults)
    for network in ("generator", "discriminator"):
        name = f"{network}_options"
        usual = getattr(options, network) == getattr(spec, network)
        own = {**defaults.get(name, {}), **recipe.get(name, {})} if usual else {}
        setattr(options, f"{network}_options", {**own, **checked.get(f"{network}_options", {})})


def _as_toml(options: Any) -> dict[str, Any]:
    """The fields of an options dataclass as TOML holds them."""
    content = {item.name: written(getattr(options, item.name)) for item in fields(options)}
    return dict(_with_none_as_text(content))


def _with_none_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_none_as_text(item) for key, item in value.items()}
    return "none" if value is None else value
