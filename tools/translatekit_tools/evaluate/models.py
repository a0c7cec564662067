"""Opening what is evaluated: model files of every backend, runs, and the checkpoints inside of runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import translatekit
from translatekit.errors import DataError, ModelFileError
from translatekit.inference.passes import whole_translator
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import Translator
from translatekit.model_file import find_model, read_info
from translatekit.model_info import ModelInfo
from translatekit.precision import requested_precision
from translatekit.registry import choose_backend
from translatekit_tools.evaluate.options import EvaluateOptions


def open_predictor(path: Path, options: EvaluateOptions) -> Predictor:
    """A model that translates images.

    Args:
        path: a model file, a run's folder, or a run's ``checkpoints/step-XXXXXXXX.pt``.
        options: direction, device, precision and batch size.

    Raises:
        ModelFileError: it is missing or damaged.
    """
    if path.suffix == ".pt" and path.parent.name == "checkpoints":
        translator: Translator = whole_translator(_from_checkpoint(path, options))
    else:
        translator = translatekit.load(
            path, options.device, options.precision, options.direction, options.backend
        )
    return Predictor(translator, batch_size=options.batch_size, passes=options.passes)


def check_channels(images: np.ndarray, info: ModelInfo) -> None:
    """Refuse images (..., C) of other channels than a model takes.

    Raises:
        DataError: these are.
    """
    if images.shape[-1] != info.input.count:
        raise DataError(
            f"the model takes {info.input} and the data have {images.shape[-1]} channels: pass the --dataset and "
            "--dataset-option it was trained with"
        )


def run_of(path: Path) -> Path | None:
    """The folder of the run that a model is of: the path itself, or where the file or checkpoint lies; or None."""
    folders = (
        (path, path.parent, path.parent.parent) if path.parent.name == "checkpoints" else (path, path.parent)
    )
    return next((folder for folder in folders if (folder / "config.toml").is_file()), None)


def display_names(paths: list[Path]) -> list[str]:
    """Short names that tell the models from each other: as few of the last folders as that takes."""
    for parts in range(1, 6):
        names = []
        for path in paths:
            whole = path.resolve()
            # the name of a run, such as run-0.1, has no suffix
            whole = whole if whole.is_dir() or parts > 1 else whole.with_suffix("")
            names.append("/".join(whole.parts[-parts:]))
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]


def _from_checkpoint(path: Path, options: EvaluateOptions) -> Any:
    import torch

    from translatekit.networks.loading import load_weights, make_network
    from translatekit_tools.backends.torch.translator import TorchTranslator, choose_dtype

    choose_backend(Path("model.safetensors"), options.backend)  # a checkpoint is run as this is
    info = read_info(find_model(path.parent.parent, options.direction))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        deployed, averages = state["deployed"], state["ema"]
        name = info.direction if info.direction in deployed else next(iter(deployed))
        step, epoch = state["progress"]["step"], state["progress"]["epoch"]
        weights = state["networks"][deployed[name]]
        if name in averages:
            weights = {
                key.removeprefix("module."): value
                for key, value in averages[name].items()
                if key.startswith("module.")
            }
        shapes = {key: tuple(value.shape) for key, value in weights.items()}
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        raise ModelFileError(
            f"{path} cannot be read as a checkpoint ({' '.join(str(error).split())[:200]}): "
            "give another, or the run's folder"
        ) from None
    network = make_network(info, shapes, path)
    load_weights(network, weights, info, path)
    wanted = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    header = dataclasses.replace(info, step=step, epoch=epoch)
    device, precision = torch.device(wanted), requested_precision(options.precision, "evaluate()")
    return TorchTranslator(network, header, device, choose_dtype(precision, device, path))
