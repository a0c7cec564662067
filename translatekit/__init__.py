"""translatekit: train image-to-image translators on your own images and run them over folders.

The functions here import what they need when they are called, so that importing the package costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from translatekit.version import __version__ as __version__

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Unpack

    from translatekit.arguments import CompileArguments, EvaluateArguments, TrainArguments, TranslateArguments
    from translatekit.inference.predictor import Predictor
    from translatekit.interfaces import Translator
    from translatekit.model_info import ModelInfo
    from translatekit.results import CompileReport, Evaluation, Result, Summary

__all__ = ["compile", "evaluate", "load", "load_network", "open", "read_info", "train", "translate"]


def open(  # noqa: A001 - translatekit.open, as one says Image.open
    model: str | Path,
    device: str = "auto",
    precision: str | None = "auto",
    direction: str | None = None,
    backend: str | None = None,
    *,
    fit: Literal["pad", "resize", "crop"] = "pad",
    size: int | str | tuple[int, int] | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    batch_size: int | None = None,
    passes: int | None = None,
) -> Predictor:
    """Open a model, ready to translate images of any size: arrays, Pillow images and files.

    Args:
        model: a model file of any installed backend, or a run's folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: as of `load`.
        direction: which of a run's generators, such as ``BtoA``.
        backend: as of `load`.
        fit: how sides become multiples of what the network needs: ``pad`` reflects the image at its borders and cuts
            the translation back, ``resize`` goes to the nearest multiples and back, ``crop`` takes the largest centre.
        size: what every image is resized to first, ``256``, ``"512x256"`` or ``(512, 256)`` (width first); None keeps
            its own.
        tile: side of the overlapping tiles, in pixels, that larger images are translated in; None for whole images.
        overlap: pixels that tiles overlap by; a quarter of the tile when not given.
        batch_size: images of one shape at once; by device and shape when not given.
        passes: how many are run for an image, by a model that takes several; as it was trained when not given.

    Returns:
        A `translatekit.inference.predictor.Predictor`: its ``translate`` takes an image, its ``translate_many`` any
        number of them, in batches.

    Raises:
        ModelFileError: there is no such file, or it is damaged.
        PluginError: no installed backend runs files of its suffix.
        OptionError: an option has a value that does not fit, or the backend does not compute in the precision.
    """
    from translatekit.inference.predictor import Predictor
    from translatekit.options import check_options

    how = {
        "fit": fit,
        "size": size,
        "tile": tile,
        "overlap": overlap,
        "batch_size": batch_size,
        "passes": passes,
    }
    checked = check_options(Predictor, how, "open()", skip=("translator",))
    return Predictor(load(model, device, precision, direction, backend), **checked)


def load(
    path: str | Path,
    device: str = "auto",
    precision: str | None = "auto",
    direction: str | None = None,
    backend: str | None = None,
) -> Translator:
    """Open a model as it is, which takes batches of the sizes that its network takes; `open` takes any image.

    Args:
        path: a model file of any installed backend, or a run's folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``; ``auto`` (or None) for what a compiled file was made for,
            as far as this processor is made for it, and else for fp32, which gives the same on every machine.
        direction: which of a run's generators, such as ``BtoA``.
        backend: what runs the file where several can, such as ``openvino`` for an ``.onnx``; None for the one whose own
            file it is.

    Returns:
        A `translatekit.interfaces.Translator`: (N, H, W, C) of its ``info.input`` in, (N, H, W, C) of its
        ``info.output`` out.

    Raises:
        ModelFileError: there is no such file, or it is damaged.
        PluginError: no installed backend runs files of its suffix.
        OptionError: the backend does not compute in the precision, or runs other files.

    Warns:
        TranslatekitWarning: the precision is slow on this machine.
    """
    from translatekit.inference.passes import whole_translator
    from translatekit.model_file import find_model
    from translatekit.precision import requested_precision
    from translatekit.registry import choose_backend

    path = find_model(path, direction)
    asked = requested_precision(precision, "load()")
    translator: Translator = choose_backend(path, backend).load()(path, device, asked)
    return whole_translator(translator)


def load_network(path: str | Path, direction: str | None = None) -> tuple[nn.Module, ModelInfo]:
    """The network of a model file, a torch module: see `translatekit.networks.loading.load_network`."""
    from translatekit.requirements import NETWORKS, require

    require("load_network()", NETWORKS)
    from translatekit.networks.loading import load_network

    return load_network(path, direction)


def read_info(model: str | Path, direction: str | None = None) -> ModelInfo:
    """What a model file says of itself, read without its weights and without what runs it.

    Args:
        model: a model file of any installed backend, or a run's folder.
        direction: which of a run's generators, such as ``BtoA``.

    Raises:
        ModelFileError: there is no such file, or it is damaged.
    """
    from translatekit.model_file import find_model, read_any_info

    return read_any_info(find_model(model, direction))


@overload
def train(
    method: str | None = None,
    data: str | Path | tuple[str | Path, str | Path] | None = None,
    *,
    config: str | Path | None = None,
    resume: str | Path | None = None,
    **options: Unpack[TrainArguments],
) -> Path: ...
@overload
def train(
    method: str | None = None,
    data: str | Path | tuple[str | Path, str | Path] | None = None,
    **options: Any,
) -> Path: ...
def train(
    method: str | None = None,
    data: str | Path | tuple[str | Path, str | Path] | None = None,
    **options: Any,
) -> Path:
    """Train, as ``translatekit train`` does.

    Args:
        method: such as ``pix2pix``. Not needed with `config` or `resume`.
        data: the images' folder, or two: of A and of B. Without one, a method for pairs trains on the built-in demo
            data. With `resume`, where the images of the run are now, if they have moved.
        options: ``config``, a run's ``config.toml`` whose options hold where no other is given; ``resume``, a run's
            folder to go on from; `TrainArguments`, and those of the method itself.

    Returns:
        The run's folder, which holds ``model.safetensors``.

    Raises:
        TranslatekitError: see `translatekit.training.train`.
    """
    from translatekit.requirements import TRAINING, require

    require("train()", TRAINING)
    from translatekit.training import train

    return train(method, data, **options)


def translate(
    inputs: str | Path | Sequence[str | Path],
    model: str | Path | Translator,
    out: str | Path | None = None,
    *,
    progress: Callable[[Result], object] | None = None,
    **options: Unpack[TranslateArguments],
) -> Summary:
    """Translate files, folders and videos, as ``translatekit run`` does.

    Args:
        inputs: a file, folder or glob, or several.
        model: a model file, a run's folder, or a loaded model.
        out: the output folder; beside the inputs when not given.
        progress: is told of each input when it is finished, in order.
        options: those of ``translatekit run``, with underscores.

    Returns:
        What was translated, skipped and failed. A file that fails does not stop the others.

    Raises:
        TranslatekitError: nothing can be done at all.
    """
    summary: Summary = _command("run")(inputs, model, out, progress=progress, **options)
    return summary


def compile(  # noqa: A001 - as the command is called
    model: str | Path,
    out: str | Path,
    *,
    progress: Callable[[str, float | None], None] | None = None,
    **options: Unpack[CompileArguments],
) -> CompileReport:
    """Compile a trained model for another runtime, as ``translatekit compile`` does.

    Args:
        model: a model file or a run's folder.
        out: the file to write; its suffix says for which runtime.
        progress: told what is being done, and the share of it that is done, in [0, 1], or None where nobody knows.
        options: those of ``translatekit compile``, with underscores.

    Returns:
        What was written, and how close it is to the model in fp32.

    Raises:
        TranslatekitError: the model cannot be compiled, or the compiled one is past the tolerance; then nothing is
            written.
    """
    report: CompileReport = _command("compile")(model, out, progress=progress, **options)
    return report


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    *,
    compare: Sequence[str | Path] = (),
    temporal: Sequence[str | Path] = (),
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[EvaluateArguments],
) -> Evaluation:
    """Measure a model, or several, on images, as ``translatekit evaluate`` does.

    Args:
        model: a model file, a run's folder, or a checkpoint in it.
        data: the images' folder; None for those of the run that the model lies in.
        compare: further models, measured on the same images and compared with the first.
        temporal: videos to measure the flicker of translations on.
        progress: told how many images of how many are done.
        options: those of ``translatekit evaluate``, with underscores.

    Returns:
        The figures, with 95 % confidence intervals.

    Raises:
        TranslatekitError: a model, the images or what a metric needs is missing, or an option does not fit.
    """
    evaluation: Evaluation = _command("evaluate")(
        model, data, compare=compare, temporal=temporal, progress=progress, **options
    )
    return evaluation


def _command(name: str) -> Callable[..., Any]:
    """The function behind a command of the tools, which the core knows by its name alone."""
    from translatekit.registry import registry

    function: Callable[..., Any] = registry("command").get(name).load_api()
    return function
