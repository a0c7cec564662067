"""What every method must keep (see `translatekit.interfaces.Method`)."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.config import RunConfig, TrainOptions
from translatekit.image_spec import RGB, ImageSpec, levels_spec
from translatekit.interfaces import DataOptions, Deployed, Method
from translatekit.networks.factory import Networks, make_generator
from translatekit.registry import registry
from translatekit.testing.contracts import Subject, require
from translatekit.testing.datasets import IMAGE_KEYS, NAME_KEYS
from translatekit.testing.networks import check_finite, images
from translatekit.training.discriminators import discriminators_of
from translatekit.training.fabric import Fabric
from translatekit.training.method import trains
from translatekit.training.setup import make_optimizer

NUM_CLASSES = 10
BATCH = 2


def descriptor(subject: Subject) -> None:
    """Its descriptor names networks, a dataset and options that exist and fit."""
    spec = subject.spec
    registry("generator").get(spec.generator)
    if spec.discriminator is not None:
        registry("discriminator").get(spec.discriminator)
    provides = registry("dataset").get(spec.dataset).provides
    require(
        provides == spec.data, f"{subject} trains on {spec.data} data, and its dataset gives {provides} data"
    )
    known = {field.name for field in dataclasses.fields(TrainOptions)}
    for name, _ in spec.defaults:
        require(name in known, f"{subject} has a default for {name!r}, which is no field of TrainOptions")
    known |= {field.name for field in dataclasses.fields(spec.load_options())}
    for recipe, values in spec.recipes.items():
        for name in values:
            require(name in known, f"the recipe {recipe} of {subject} sets {name!r}, which is no option")
        RunConfig.resolve(spec.name, "data", {"recipe": recipe})


def light_options(subject: Subject) -> None:
    """Its options are a dataclass with help texts and defaults, whose module imports no torch."""
    options = subject.spec.load_options()
    require(dataclasses.is_dataclass(options), f"the options of {subject} are {options!r}, not a dataclass")
    options()
    for field in dataclasses.fields(options):
        require(
            bool(field.metadata.get("help")),
            f"the field {field.name} of {subject} has no help: make it with translatekit.config.option",
        )
    module = subject.spec.options.partition(":")[0]
    code = f"import sys, {module}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    require(
        result.stdout.strip() == "False",
        f"the module {module} imports torch, which makes --help slow: keep it light",
    )


def step(subject: Subject) -> None:
    """A step gives finite named losses and changes every network that has weights to train."""
    method = _make(subject)
    before = _copy(method)
    losses = method.step(_batch(subject))
    require(
        isinstance(losses, dict) and bool(losses),
        f"a step of {subject} gives {losses!r}, not a dict of losses",
    )
    for name, loss in losses.items():
        require(
            isinstance(loss, Tensor) and loss.ndim == 0 and not loss.requires_grad,
            f"the loss {name} of {subject} is not a detached scalar tensor",
        )
        check_finite(subject, loss, f"loss {name}")
    for name, parameters in _copy(method).items():
        changed = any(not torch.equal(old, new) for old, new in zip(before[name], parameters, strict=True))
        require(changed, f"a step of {subject} leaves the network {name} as it was: step its optimizer")
    require(
        subject.spec.discriminator is None or bool(discriminators_of(method)),
        f"{subject} has not made its discriminator by the factory it was given: call networks.discriminator()",
    )


def deployed(subject: Subject) -> None:
    """It deploys generators that a model file can describe."""
    method = _make(subject)
    generators = method.deployed()
    require(bool(generators), f"{subject} deploys no generator: there would be nothing to save")
    keys = IMAGE_KEYS[subject.spec.data]
    for name, generator in generators.items():
        require(
            isinstance(generator, Deployed) and isinstance(generator.network, nn.Module),
            f"{subject} deploys {generator!r} as {name}: give a translatekit.interfaces.Deployed",
        )
        for key in (generator.input, generator.target):
            require(
                key in keys or (key is None and generator.input is None),
                f"{subject} says that {name} is trained on {key!r}, and its batches hold {', '.join(keys)}",
            )
        network = generator.network
        require(
            any(network is own for own in method.unwrapped.values()),
            f"{subject} deploys as {name} what is none of its networks: a checkpoint would not hold it",
        )
        arguments: Any = getattr(network, "arguments", None)
        require(
            isinstance(arguments, Mapping),
            f"the generator {name} of {subject} was not made by the factory it was given: call "
            "networks.generator()",
        )
        if generator.bridge is None:
            for key, image in (("in_channels", generator.input), ("out_channels", generator.target)):
                require(
                    image is None or arguments.get(key, RGB.network_channels) == RGB.network_channels,
                    f"{subject} gives its generator {name} {key}={arguments.get(key)}, and the images {image!r} have "
                    f"{RGB.network_channels}: what a model file describes takes and gives images alone",
                )
        again = make_generator(subject.spec.generator, arguments)
        again.load_state_dict(network.state_dict())


def samples(subject: Subject) -> None:
    """Its samples are images in [-1, 1], one of a kind for each of the batch."""
    method = _make(subject)
    for network in method.unwrapped.values():
        network.eval()
    with torch.no_grad():
        columns = method.samples(_batch(subject))
    require(bool(columns), f"{subject} gives no samples to look at")
    for title, column in columns.items():
        require(
            isinstance(column, Tensor) and column.ndim == 4,
            f"the sample {title!r} of {subject} is not a batch of images (N, C, H, W)",
        )
        require(
            len(column) == BATCH,
            f"the sample {title!r} of {subject} has {len(column)} images for a batch of {BATCH}: give one for each",
        )
        check_finite(subject, column, f"sample {title!r}")
        extreme = column.abs().max().item()
        require(
            extreme <= 1 + 1e-5,
            f"the sample {title!r} of {subject} reaches {extreme:.3g}: keep it in [-1, 1]",
        )


def resume(subject: Subject) -> None:
    """What it puts into a checkpoint is all that the next step depends on."""
    one = _make(subject)
    one.step(_batch(subject))
    file = io.BytesIO()
    torch.save({**_states(one), "extra": one.extra_state()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = _make(subject, seed=1)
    for name, network in saved["networks"].items():
        other.unwrapped[name].load_state_dict(network)
    for name, optimizer in saved["optimizers"].items():
        other.optimizers[name].load_state_dict(optimizer)
    other.load_extra_state(saved["extra"])
    batch = _batch(subject, seed=2)
    results = []
    for method in (one, other):
        torch.manual_seed(7)
        results.append(method.step(batch))
    for name, loss in results[0].items():
        require(
            torch.equal(loss, results[1][name]),
            f"the loss {name} of {subject} is {results[1][name]:.6g} after a resume, and {loss:.6g} without: "
            "put what it remembers into extra_state",
        )
    for name, parameters in _copy(one).items():
        same = all(map(torch.equal, parameters, _copy(other)[name]))
        require(
            same,
            f"a step of {subject} changes the network {name} otherwise after a resume than without: put what it "
            "remembers into extra_state",
        )


CONTRACTS = (descriptor, light_options, step, deployed, samples, resume)


class _Data:
    """Stands in for a dataset: all that a method asks of one when it is made."""

    color = "rgb"
    skipped: list[tuple[Path, str]] = []

    def __init__(self, kind: str, side: int) -> None:
        self.specs: dict[str, ImageSpec] = dict.fromkeys(IMAGE_KEYS[kind], RGB)
        self.class_names = tuple(str(label) for label in range(NUM_CLASSES)) if kind == "labelled" else ()
        self.options = DataOptions(crop_size=side)

    def __len__(self) -> int:
        return BATCH


def _settings(subject: Subject) -> TrainOptions:
    """The options it would train with, its networks' replaced by the subject's."""
    options = TrainOptions(**dict(subject.spec.defaults))
    options.crop_size = subject.size or options.crop_size
    options.generator_options = {**options.generator_options, **subject.generator_options}
    options.discriminator_options = {**options.discriminator_options, **subject.discriminator_options}
    return options


def make_method(
    name: str,
    batch: Mapping[str, Any],
    *,
    specs: Mapping[str, ImageSpec] | None = None,
    seed: int = 0,
    **options: Any,
) -> Any:
    """A method on the CPU in fp32, its weights just drawn, for tests that compare its steps with a plain loop.

    Args:
        name: it must be registered.
        batch: what it is begun with, as its dataset would give it: images (N, C, H, W), square, by their keys.
        specs: what the images are; levels of 8 bits when not given.
        seed: of the weights.
        options: of a training with it, as `translatekit.train` takes them.

    Returns:
        A `translatekit.interfaces.Method`, whose ``step`` takes such batches and whose ``unwrapped`` has its networks.

    Raises:
        OptionError: an option does not fit.
    """
    spec = registry("method").get(name)
    keys = IMAGE_KEYS[spec.data]
    config = RunConfig.resolve(name, "data", options)
    data = _Data(spec.data, batch[keys[0]].shape[-1])
    data.specs = dict(specs or {key: levels_spec(batch[key].shape[1]) for key in keys})
    data.options = replace(data.options, direction=config.options.direction)
    return _set_up(spec, config.options, config.method_options, data, batch, seed)


def _make(subject: Subject, seed: int = 0) -> Method:
    settings = _settings(subject)
    settings.generator, settings.discriminator = subject.spec.generator, subject.spec.discriminator
    options = subject.spec.load_options()(**subject.options)
    data = _Data(subject.spec.data, settings.crop_size)
    return _set_up(subject.spec, settings, options, data, _batch(subject), seed)


def _set_up(
    spec: Any, settings: TrainOptions, options: Any, data: _Data, batch: Mapping[str, Any], seed: int
) -> Method:
    torch.manual_seed(seed)
    factory = Networks(
        generator_name=str(settings.generator),
        generator_options=settings.generator_options,
        discriminator_name=settings.discriminator,
        discriminator_options=settings.discriminator_options,
        init=settings.init,
        init_gain=settings.init_gain,
    )
    method: Method = spec.load()(options, factory, data)
    method.begin(batch)
    optimizer = partial(make_optimizer, options=settings)
    method.setup(Fabric(accelerator="cpu", devices=1), optimizer, lambda network: network)
    return method


def _batch(subject: Subject, seed: int = 0) -> dict[str, Any]:
    side, kind = _settings(subject).crop_size, subject.spec.data
    batch: dict[str, Any] = {
        key: images(BATCH, 3, side, seed=seed + number) for number, key in enumerate(IMAGE_KEYS[kind])
    }
    batch |= {key: [f"{number}.png" for number in range(BATCH)] for key in NAME_KEYS[kind]}
    if kind == "labelled":
        batch["label"] = torch.arange(BATCH)
    return batch


def _copy(method: Method) -> dict[str, list[Tensor]]:
    return {
        name: [parameter.detach().clone() for parameter in network.parameters()]
        for name, network in method.unwrapped.items()
        if trains(network)
    }


def _states(method: Method) -> dict[str, dict[str, Any]]:
    return {
        "networks": {name: network.state_dict() for name, network in method.unwrapped.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in method.optimizers.items()},
    }
