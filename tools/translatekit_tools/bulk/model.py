"""Opening the model that bulk work runs."""

from __future__ import annotations

from pathlib import Path

import translatekit
from translatekit.errors import ModelFileError, OptionError
from translatekit.inference.tiles import TiledTranslator
from translatekit.interfaces import Translator
from translatekit.model_info import same_direction
from translatekit_tools.bulk.options import RunOptions


def open_model(path: Path, options: RunOptions) -> Translator:
    """Load a model file with the backend for its suffix.

    Raises:
        TranslatekitError: it cannot be loaded, or an option does not fit it.
    """
    translator = translatekit.load(path, options.device, options.precision)
    check_direction(translator, path, options)
    if options.noise is not None:
        set_noise = getattr(translator, "set_noise", None)
        if set_noise is None:
            raise OptionError(
                f"{path} cannot use dropout as noise: leave out --noise, or run a .safetensors model"
            )
        set_noise(options.noise)
    return translator if options.tile is None else TiledTranslator(translator, options.tile, options.overlap)


def batch_size(translator: Translator, options: RunOptions, height: int, width: int) -> int:
    """Images of one size at once: as asked for, or enough to keep the device busy."""
    if options.batch_size is not None:
        return options.batch_size
    preferred = getattr(translator, "preferred_batch", None)
    on_cpu = str(getattr(translator, "device", "cpu")).startswith("cpu")
    most, pixels = (4, 2**19) if on_cpu else (16, 2**22)
    return max(1, min(preferred or most, pixels // (height * width)))


def check_direction(translator: Translator, path: Path, options: RunOptions) -> None:
    """Refuse a file that was named together with another direction than its own.

    Raises:
        OptionError: it goes the other way.
    """
    direction = translator.info.direction
    if options.direction is not None and not same_direction(translator.info, options.direction):
        raise OptionError(
            f"{path} translates {direction}, not {options.direction}: "
            "leave out --direction, or name the run's folder"
        )


def check_channels(translator: Translator) -> None:
    """Refuse a model that does not map gray or RGB images to gray or RGB images.

    Raises:
        ModelFileError: it has other channels.
    """
    info = translator.info
    for what, channels in (("takes", info.image_in_channels), ("gives", info.image_out_channels)):
        if channels not in (1, 3):
            raise ModelFileError(
                f"the model {what} {channels} channels, and image files hold 1 or 3: "
                "call it on arrays with translatekit.load"
            )
