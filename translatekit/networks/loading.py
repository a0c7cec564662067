"""From a model file to the network it holds."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from translatekit.errors import ModelFileError
from translatekit.model_file import ModelInfo, find_model, read_info
from translatekit.networks.factory import make_generator
from translatekit.networks.layers import set_norm_inference


def load_network(path: str | Path, direction: str | None = None) -> tuple[nn.Module, ModelInfo]:
    """The bare network in evaluation mode, on the CPU, and its header.

    A generator's option ``pretrained`` is taken as false: the file has the weights, nothing is downloaded.

    Args:
        path: a ``.safetensors`` model file or a run's folder.
        direction: which of a run's generators.

    Returns:
        The network maps (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1].

    Raises:
        ModelFileError: the file does not hold what its header says.
        OptionError: its generator no longer takes an option that it was made with.
        PluginError: the plugin that its architecture came from is not installed.
    """
    path = find_model(path, direction)
    info = read_info(path)
    options = dict(info.generator_options)
    if "pretrained" in options:
        options["pretrained"] = False
    network = make_generator(info.generator, options)
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelFileError(
            f"the weights in {path} do not fit the generator {info.generator!r} of its header ({reason}): "
            "install the version of its plugin that trained it, or train again"
        ) from None
    set_norm_inference(network, info.norm_inference)
    return network.eval(), info
