"""Opening the model that bulk work runs."""

from __future__ import annotations

from pathlib import Path

import translatekit
from translatekit.errors import ModelFileError, OptionError
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import Translator
from translatekit.model_info import ModelInfo, same_direction
from translatekit_tools.bulk.options import RunOptions


def open_model(path: Path, options: RunOptions) -> Translator:
    """Load a model file with the backend for its suffix.

    Raises:
        TranslatekitError: it cannot be loaded, or an option does not fit it.
    """
    translator = translatekit.load(path, options.device, options.precision, backend=options.backend)
    check_direction(translator, path, options)
    if options.noise is not None:
        set_noise = getattr(translator, "set_noise", None)
        if set_noise is None:
            raise OptionError(f"{path} cannot draw noise: leave out --noise, or run a .safetensors model")
        set_noise(options.noise)
    return translator


def make_predictor(translator: Translator, options: RunOptions) -> Predictor:
    """What translates images as the options say.

    Raises:
        OptionError: the tiles do not fit the network.
    """
    return Predictor(
        translator,
        fit=options.fit,
        size=options.size,
        tile=options.tile,
        overlap=options.overlap,
        batch_size=options.batch_size,
        passes=options.passes,
    )


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


def check_shown(info: ModelInfo, what: str) -> None:
    """Refuse a model that does not map gray or RGB images to gray or RGB images.

    Args:
        info: of the model.
        what: holds such images alone, as the error says it.

    Raises:
        ModelFileError: it has other channels.
    """
    for verb, spec in (("takes", info.input), ("gives", info.output)):
        if not spec.shown:
            raise ModelFileError(
                f"the model {verb} {spec}, and {what} hold gray or RGB: run it on image files, or on arrays with "
                "translatekit.open"
            )
