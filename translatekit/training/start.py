"""Starting from what there is: the weights of an earlier model, all that fit, and parts that are left as they are."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from translatekit.config import RunConfig
from translatekit.errors import ModelFileError, OptionError
from translatekit.interfaces import Method
from translatekit.model_file import find_model, find_not_finite, read_header
from translatekit.model_info import ModelInfo, brief
from translatekit.options import closest
from translatekit.registry import registry
from translatekit.training.checkpoint import newest_checkpoint
from translatekit.training.method import trains

_OF_METHODS = {"in_channels", "out_channels", "style_size", "embedding_size"}  # arguments that they give
_FOR_LATENTS = {"latent_size", "num_classes", "size"}  # further ones, of generators that start from no image
_NAMED = 3  # weights that a sentence names


def with_networks_of(model: str, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run that starts from a model: its networks are the model's, where no others are asked for.

    Args:
        model: a model file or a run's folder.
        method: of the new run.
        given: the options that a user gave.

    Raises:
        ModelFileError: there is no such model.
        OptionError: it is a compiled one.
        PluginError: the plugin of its generator is not installed.
    """
    path = _find(model)
    info = read_header(path)[0]
    options = dict(given)
    if given.get("generator") in (None, info.generator):
        given_by_methods = _arguments_of_methods(info)
        own = {key: value for key, value in info.generator_options.items() if key not in given_by_methods}
        if "pretrained" in own:
            own["pretrained"] = False  # the model has better weights
        options["generator"] = info.generator
        options["generator_options"] = {**own, **given.get("generator_options", {})}
        options.setdefault("norm_inference", info.norm_inference)
    run = RunConfig.of_model(path)
    if (
        run is not None
        and run.method == method
        and given.get("discriminator") in (None, run.options.discriminator)
    ):
        options["discriminator"] = run.options.discriminator
        options["discriminator_options"] = {
            **run.options.discriminator_options,
            **given.get("discriminator_options", {}),
        }
        options.setdefault("spectral_norm", run.options.spectral_norm)
    return options


def _arguments_of_methods(info: ModelInfo) -> set[str]:
    """What a model's generator was made with that no user chooses: options have defaults.

    Raises:
        PluginError: its plugin is not installed.
    """
    parameters = inspect.signature(registry("generator").load(info.generator)).parameters.values()
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    return _OF_METHODS | needed | (set() if info.source == "image" else _FOR_LATENTS)


def take_weights(method: Method, config: RunConfig) -> list[str]:
    """Give a method's networks the weights of the model that its run starts from, as far as they fit.

    Of a run of the same method all networks are taken, discriminators too; else the generators. Weights fit where there
    are some of the same name and shape; the others stay as they were drawn.

    Returns:
        What was taken and what was not, in sentences.

    Raises:
        ModelFileError: there is no such model, or its weights are no finite numbers.
        OptionError: nothing of it fits.
    """
    place, deployed = str(config.options.start_from), method.deployed()
    files = _files(place, config, tuple(deployed))
    notes, taken = [], []
    for name, path in files.items():
        state = load_file(path)
        wrong = find_not_finite(state)
        if wrong is not None:
            raise ModelFileError(f"{path} cannot be started from, since {wrong}: take an earlier one")
        notes.append(_take(deployed[name].network, state, f"generator {name}", path))
        taken.append(deployed[name].network)
    folder = next(iter(files.values())).parent
    run = RunConfig.of_model(folder / "model.safetensors")
    same = run is not None and run.method == config.method
    checkpoint = newest_checkpoint(folder / "checkpoints") if same else None
    earlier = {} if checkpoint is None else checkpoint["networks"]
    anew = []
    for name, network in method.unwrapped.items():
        if not trains(network) or any(network is generator for generator in taken):
            continue
        if name in earlier:
            notes.append(_take(network, earlier[name], f"network {name}", folder))
        else:
            anew.append(name)
    if anew:
        verb = "starts" if len(anew) == 1 else "start"
        notes.append(
            f"{' and '.join(anew)} {verb} anew: only a run of {config.method} with a checkpoint has their weights"
        )
    return notes


def freeze(method: Method, text: str) -> None:
    """Leave parts of the deployed generators as they are: their weights, and their running statistics.

    Batch normalization in them normalizes as it will in use, else what follows would learn from other features.

    Args:
        method: whose networks are not on a device yet.
        text: names of modules, with commas, such as ``encoder,blocks.0``.

    Raises:
        OptionError: there is no such part, or nothing is left to train.
    """
    for name, deployed in method.deployed().items():
        network = deployed.network
        modules = dict(network.named_modules())
        for part in (word.strip() for word in text.split(",")):
            if not part or part not in modules:
                close = closest(part, modules)
                hint = f"did you mean {close!r}? " if close else ""
                children = ", ".join(child for child, _ in network.named_children())
                raise OptionError(
                    f"--freeze {part}: the generator has no such part: {hint}there are {children}, and what is in them"
                )
            modules[part].requires_grad_(False)
            for layer in modules[part].modules():
                if isinstance(layer, _BatchNorm):
                    frozen: Any = layer.eval()
                    frozen.train = lambda mode=True, layer=layer: layer
        if not trains(network):
            raise OptionError(f"--freeze {text} leaves nothing of the generator {name} to train: name less")


def _files(place: str, config: RunConfig, generators: Sequence[str]) -> dict[str, Path]:
    """The model file of each generator that there is one for, by the names of the generators."""
    main = _find(place)
    named = Path(place).name == main.name
    files = [main] if named else sorted(main.parent.glob("model*.safetensors"))
    by_direction = {read_header(file)[0].direction: file for file in files}
    if len(generators) == 1:
        return {generators[0]: by_direction.get(config.options.direction, main)}
    found = {name: file for name, file in by_direction.items() if name in generators}
    if not found:
        raise OptionError(
            f"{place} translates {' and '.join(by_direction)}, and {config.method} trains {' and '.join(generators)}: "
            "start from another model"
        )
    return found


def _find(place: str) -> Path:
    path = find_model(place)
    if path.suffix != ".safetensors":
        raise OptionError(
            f"{path} is compiled, and training starts from weights: pass --from the .safetensors file it was made of"
        )
    return path


@torch.no_grad()
def _take(network: nn.Module, state: Mapping[str, Tensor], name: str, source: Path) -> str:
    own = network.state_dict()
    fitting = [key for key in own if key in state and state[key].shape == own[key].shape]
    if not fitting:
        raise OptionError(
            f"nothing of {source} fits the {name}: start from a model of the same architecture, "
            f"or leave out --from {quote(str(source))}"
        )
    for key in fitting:
        own[key].copy_(state[key])
    left = [key for key in own if key not in fitting]
    if not left:
        return f"the {name} starts from {source}"
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (
        f"the {name} starts from {source}, but for {len(left)} of its {len(own)} tensors, which have another shape or "
        f"are not there, and start anew: {', '.join(brief(key) for key in left[:_NAMED])}{more}"
    )
