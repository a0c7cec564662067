"""From a model file to the network it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from translatekit.errors import ModelFileError, OptionError, PluginError, TranslatekitError
from translatekit.model_file import find_model, find_not_finite, read_header
from translatekit.model_info import ModelInfo, brief
from translatekit.networks.budget import OverBudgetError, budget
from translatekit.networks.factory import make_generator
from translatekit.networks.layers import fold_spectral_norm, set_norm_inference
from translatekit.registry import registry

_AGAIN = "install the version of its plugin that trained it, or train again"
_MAX_REASON = 300  # characters of what a constructor says


def load_network(path: str | Path, direction: str | None = None) -> tuple[nn.Module, ModelInfo]:
    """The network in evaluation mode, on the CPU, and its header.

    A generator's option ``pretrained`` is taken as false: the file has the weights, nothing is downloaded.

    Args:
        path: a ``.safetensors`` model file or a run's folder.
        direction: which of a run's generators.

    Returns:
        The network maps (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    Raises:
        ModelFileError: the file does not hold what its header says, or weights that are not finite.
        OptionError: its generator no longer takes an option that it was made with.
        PluginError: the plugin that its architecture came from is not installed.
    """
    path = find_model(path, direction)
    info, stored = read_header(path)
    network = make_network(info, {name: tensor.shape for name, tensor in stored.items()}, path)
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ModelFileError(
            f"{path} cannot be read ({error}): copy it again from where it came from"
        ) from None
    load_weights(network, state, info, path)
    return network, info


def make_network(info: ModelInfo, shapes: Mapping[str, tuple[int, ...]], path: Path) -> nn.Module:
    """The network that a header describes, its weights not loaded yet.

    Args:
        info: the header.
        shapes: of the weights that are there for it, by name. A network that needs more is not made.
        path: named in errors.

    Raises:
        ModelFileError: the header describes another network than the weights are of.
        OptionError: the generator does not take an option.
        PluginError: the plugin that the architecture came from is not installed.
    """
    _check_installed(info, path)
    options = dict(info.generator_options)
    if "pretrained" in options:
        options["pretrained"] = False
    try:
        with budget(sum(math.prod(shape) for shape in shapes.values()), len(shapes)):
            network = make_generator(info.generator, options)
    except OverBudgetError:
        raise ModelFileError(
            f"the header of {path} describes a {info.generator!r} that is larger than the weights in the file: "
            "copy it again from where it came from, or train again"
        ) from None
    except OptionError as error:
        raise OptionError(f"{_short(error)} (so says the header of {path}): {_AGAIN}") from None
    except TranslatekitError:
        raise
    except (
        Exception
    ) as error:  # a plugin's constructor raises what it likes on options that it was not made for
        raise ModelFileError(
            f"the generator {info.generator!r} of {path} cannot be made as its header says "
            f"({type(error).__name__}: {_short(error)}): {_AGAIN}"
        ) from None
    _check_header(info, network, path)
    return network


def load_weights(network: nn.Module, state: Mapping[str, Tensor], info: ModelInfo, path: Path) -> None:
    """Load the weights of a network that `make_network` made, and make it ready to be used.

    Raises:
        ModelFileError: they are those of another network, or not finite.
    """
    own = network.state_dict()
    for name, tensor in state.items():
        if name in own and own[name].is_floating_point() != tensor.is_floating_point():
            raise ModelFileError(
                f"{path} holds {brief(name)} as {tensor.dtype}, and its generator as {own[name].dtype}: {_AGAIN}"
            )
    wrong = find_not_finite(state)
    if wrong is not None:
        raise ModelFileError(
            f"{path} cannot be used, since {wrong}: take an earlier checkpoint, or train again"
        )
    try:
        network.load_state_dict(dict(state))
    except RuntimeError:
        raise ModelFileError(
            f"the weights in {path} do not fit the generator {info.generator!r} of its header "
            f"({_difference(own, state)}): {_AGAIN}"
        ) from None
    set_norm_inference(network, info.norm_inference)
    fold_spectral_norm(network.eval())


def _check_installed(info: ModelInfo, path: Path) -> None:
    """Name the package of a generator that is not there.

    Raises:
        PluginError: its plugin is not installed, or cannot be used.
    """
    generators = registry("generator")
    if info.package in ("", "translatekit"):
        return
    if (
        info.generator in generators.names() or info.generator in generators.conflicts()
    ):  # which says so itself
        return
    from translatekit.plugins import installed

    version = info.versions.get(info.package, "")
    package = f"{info.package} {version}".strip()
    needed = f"{path} needs the generator {info.generator!r} of the package {package}"
    broken = [plugin for plugin in installed().found if plugin.distribution == info.package]
    if broken:
        raise PluginError(
            f"{needed}, which is installed as {broken[0].version} but does not offer it: see translatekit plugins"
        )
    raise PluginError(f"{needed}, which is not installed: run pip install {info.package}")


def _check_header(info: ModelInfo, network: nn.Module, path: Path) -> None:
    """Hold a header against the network that was made from it.

    Raises:
        ModelFileError: they differ.
    """
    arguments: Mapping[str, object] = network.arguments  # type: ignore[assignment]
    said = {"size_multiple": info.size_multiple, "out_channels": info.out_channels}
    made = {"size_multiple": getattr(network, "size_multiple", 1), **arguments}
    if info.source == "image":
        said["in_channels"] = info.in_channels
    for name, value in said.items():
        if name in made and made[name] != value:
            raise ModelFileError(
                f"the header of {path} says {name}={value}, but its generator {info.generator!r} has "
                f"{brief(made[name])}: train or import the model again"
            )


def _difference(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Where weights differ from those of a network, at most three of each kind."""
    other = [name for name in own if name in state and own[name].shape != state[name].shape]
    kinds = {
        "it lacks": [name for name in own if name not in state],
        "it holds the unknown": [name for name in state if name not in own],
        "another shape has": other,
    }
    parts = []
    for words, names in kinds.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{words} {', '.join(brief(name) for name in names[:3])}{more}")
    return "; ".join(parts) or "they were refused"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MAX_REASON else text[:_MAX_REASON] + "..."
