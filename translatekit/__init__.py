"""translatekit: train image-to-image translators on your own images and run them over folders.

The functions here import what they need when they are called, so that importing the package costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from translatekit.interfaces import Translator
    from translatekit.model_info import ModelInfo

__version__ = "0.1.0"
__all__ = ["load", "load_network", "train", "translate"]


def load(
    path: str | Path, device: str = "auto", precision: str | None = "auto", direction: str | None = None
) -> Translator:
    """Open a model, ready to translate arrays of images.

    Args:
        path: a model file of any installed backend, or a run's folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``; ``auto`` (or None) for what a compiled file was made for,
            as far as this processor is made for it, and else for fp32, which gives the same on every machine.
        direction: which of a run's generators, such as ``BtoA``.

    Returns:
        A `translatekit.interfaces.Translator`: (N, H, W, C) uint8 in, (N, H, W, C) uint8 out.

    Raises:
        ModelFileError: there is no such file, or it is damaged.
        PluginError: no installed backend runs files of its suffix.
        OptionError: the backend does not compute in the precision.

    Warns:
        TranslatekitWarning: the precision is slow on this machine.
    """
    from translatekit.errors import PluginError
    from translatekit.model_file import find_model
    from translatekit.precision import asked_for
    from translatekit.registry import registry

    path = find_model(path, direction)
    asked = asked_for(precision, "load()")
    backends = registry("backend")
    for entry in backends.entries():
        if path.suffix in entry.spec.suffixes:
            translator: Translator = entry.spec.load()(path, device, asked)
            return translator
    known = ", ".join(suffix for entry in backends.entries() for suffix in entry.spec.suffixes)
    raise PluginError(f"no installed backend runs {path.suffix or path.name!r} files: give one of {known}")


def load_network(path: str | Path, direction: str | None = None) -> tuple[nn.Module, ModelInfo]:
    """The network of a model file, a torch module: see `translatekit.networks.loading.load_network`."""
    from translatekit.requirements import NETWORKS, require

    require("load_network()", NETWORKS)
    from translatekit.networks.loading import load_network

    return load_network(path, direction)


def train(method: str | None = None, data: str | Path | None = None, **options: Any) -> Path:
    """Train, as ``translatekit train`` does: see `translatekit.training.train` for its arguments.

    Returns:
        The run's folder.
    """
    from translatekit.registry import registry

    folder: Path = registry("command").get("train").load_api()(method, data, **options)
    return folder


def translate(inputs: Any, model: str | Path, out: str | Path | None = None, **options: Any) -> Any:
    """Translate files and folders, as ``translatekit run`` does.

    Args:
        inputs: a path or glob, or several.
        model: a model file or a run's folder.
        out: the output folder.
        options: those of ``translatekit run``, with underscores.

    Returns:
        A summary: what was translated, skipped and failed.
    """
    from translatekit.registry import registry

    return registry("command").get("run").load_api()(inputs, model, out, **options)
