"""A model file's network between its images, for converters that take PyTorch modules."""

from __future__ import annotations

from pathlib import Path

from translatekit.errors import OptionError
from translatekit.model_info import ModelInfo
from translatekit.networks.loading import load_network
from translatekit_tools.deployable import Deployable


def load_deployable(path: Path, made: str) -> tuple[Deployable, ModelInfo]:
    """A network in evaluation mode with pre- and post-processing around it, and its header.

    Args:
        path: a ``.safetensors`` file.
        made: what is made of it, for the error.

    Raises:
        OptionError: it is a file of another kind.
        ModelFileError: it is damaged.
    """
    if path.suffix != ".safetensors":
        raise OptionError(
            f"{made} is made of the network itself, and {path} is a graph already: give the run's folder or its "
            ".safetensors file"
        )
    network, info = load_network(path)
    return Deployable(network.eval(), info.input, info.output).eval(), info
