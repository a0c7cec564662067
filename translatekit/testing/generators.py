"""What every generator must keep (see `translatekit.interfaces.Generator`)."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.image_spec import levels_spec
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.networks.features import feature_layers, inner_features
from translatekit.networks.layers import set_norm_inference
from translatekit.networks.loading import load_network
from translatekit.registry import registry
from translatekit.testing.contracts import NotApplicableError, Subject, require
from translatekit.testing.networks import (
    check_documented_options,
    check_finite,
    check_gradients,
    check_unknown_option,
    images,
)

SMALLEST = 32  # pixels a side: below it, padding by reflection fails in networks that are otherwise sound
LATENT_SIZE, NUM_CLASSES = 16, 10
_IMAGE_ARGUMENTS = {"in_channels": 3, "out_channels": 3}
_LATENT_ARGUMENTS = {
    "latent_size": LATENT_SIZE,
    "num_classes": NUM_CLASSES,
    "out_channels": 3,
    "size": SMALLEST,
}


def options(subject: Subject) -> None:
    """Its options have annotations and defaults, and none is swallowed."""
    check_documented_options(subject, subject.spec.load(), _arguments(subject))
    check_unknown_option(subject, lambda given: _make(subject, given))


def size_multiple(subject: Subject) -> None:
    """Its size_multiple is a whole number, and its descriptor's is that of its defaults."""
    multiple = getattr(_make(subject), "size_multiple", None)
    require(
        isinstance(multiple, int) and multiple >= 1,
        f"{subject} has size_multiple {multiple!r}: set it in the constructor, to 1 if any size will do",
    )
    if not subject.options:
        declared = subject.spec.size_multiple
        require(
            multiple == declared or subject.spec.source == "latent",
            f"the descriptor of {subject} says size_multiple={declared}, its default network says {multiple}: "
            "make them agree",
        )


def output_shape(subject: Subject) -> None:
    """It makes images of the size it is given and the channels it was made for."""
    for channels_in, channels_out in ((3, 3), (1, 3), (3, 1)):
        network = _make(subject, in_channels=channels_in, out_channels=channels_out).eval()
        inputs = _inputs(subject, network, 1, channels_in)
        _check_shape(subject, network, inputs, channels_out)


def any_multiple(subject: Subject) -> None:
    """It takes every size that is a multiple of its size_multiple, square or not."""
    network = _make(subject).eval()
    side = _side(subject, network)
    if subject.spec.source == "latent":
        other = _make(subject, size=2 * side).eval()
        _check_shape(subject, other, _inputs(subject, other, 1, 3), 3)
        return
    multiple = int(network.size_multiple)  # type: ignore[arg-type]
    wide = images(1, 3 + len(subject.spec.conditions), side, side + multiple)
    _check_shape(subject, network, (wide,), 3)


def output_range(subject: Subject) -> None:
    """Its output is finite and within [-1, 1], in training and in evaluation."""
    network = _make(subject)
    with torch.no_grad():
        for mode in (True, False):
            network.train(mode)
            for scale in (1.0, 0.0):
                inputs = _inputs(subject, network, 2, 3)
                output = network(inputs[0] * scale, *inputs[1:])
                check_finite(subject, output)
                low, high = output.min().item(), output.max().item()
                require(
                    low >= -1 and high <= 1,
                    f"the output of {subject} lies in [{low:.3g}, {high:.3g}], not in [-1, 1]: end with tanh",
                )


def gradients(subject: Subject) -> None:
    """Gradients reach every parameter."""
    network = _make(subject).train()
    check_gradients(subject, network, network(*_inputs(subject, network, 2, 3)))


def evaluation(subject: Subject) -> None:
    """In evaluation, an image's result is always the same and does not depend on the others of its batch."""
    network = _make(subject)
    inputs = _inputs(subject, network, 2, 3)
    with torch.no_grad():
        network(*inputs)  # so that running statistics are not those of a new network
        network.eval()
        for mode in ("running", "per_image"):
            set_norm_inference(network, mode)
            together = network(*inputs)
            require(
                torch.equal(together, network(*inputs)),
                f"{subject} gives another output for the same input in evaluation: turn its noise off there",
            )
            alone = network(*(value[:1] for value in inputs))
            difference = (together[:1] - alone).abs().max().item()
            require(
                difference < 1e-4,
                f"the output of {subject} for an image changes by {difference:.2g} with the other images of "
                "its batch in evaluation: normalize by running statistics, or with translatekit's "
                "BatchNorm2d",
            )


def features(subject: Subject) -> None:
    """Its inner features can be had by the names and the numbers of its layers, and gradients pass through them.

    See `translatekit.networks.features`.
    """
    network = _make(subject).eval()
    inputs, names = _inputs(subject, network, 2, 3), feature_layers(network)
    require(bool(names), f"{subject} has no layers to take features from: name some in feature_layers")
    found = inner_features(network, names, *inputs)
    for name, feature in zip(names, found, strict=True):
        require(
            feature.ndim == 4 and len(feature) == 2,
            f"the layer {name!r} of {subject} gives {_shape(feature)}, not features (N, C, H, W): name those that do "
            "in its attribute feature_layers",
        )
        check_finite(subject, feature, f"feature {name!r}")
    numbers = inner_features(network, range(len(names)), *inputs)
    require(
        all(map(torch.equal, found, numbers)), f"{subject} gives other features for the numbers of its layers"
    )
    first = next(iter(network.parameters()))
    (gradient,) = torch.autograd.grad(found[-1].float().sum(), first, allow_unused=True)
    require(gradient is not None, f"no gradient passes through the features of {subject}: do not detach")


def model_file(subject: Subject) -> None:
    """A network that is saved and loaded again gives the same output."""
    network = _make(subject)
    inputs = _inputs(subject, network, 2, 3)
    with torch.no_grad():
        network(*inputs)
        network.eval()
        with _temporary_folder() as folder:
            save_model(folder / "model.safetensors", network.state_dict(), _info(subject, network))
            loaded, _ = load_network(folder / "model.safetensors")
        require(
            torch.equal(network(*inputs), loaded(*inputs)),
            f"{subject} gives another output after it was saved and loaded: keep what it learns in parameters "
            "or buffers",
        )


def export(subject: Subject) -> None:
    """It is exported to ONNX, and TensorRT-RTX builds an engine of it."""
    if subject.spec.source == "latent":
        raise NotApplicableError(f"{subject} starts from no image: nothing is compiled of it")
    backend = registry("backend").get("onnxruntime")
    if backend.missing():
        raise NotApplicableError(
            f"{subject} cannot be exported here: run pip install {' '.join(backend.missing())}"
        )
    compile_model = registry("command").get("compile").load_api()
    network = _make(subject)
    with _temporary_folder() as folder:
        model = folder / "model.safetensors"
        save_model(model, network.state_dict(), _info(subject, network))
        compile_model(model, folder / "model.onnx")
        if importlib.util.find_spec("tensorrt_rtx") is not None:
            compile_model(
                folder / "model.onnx", folder / "model.engine", flavour="tensorrt-rtx", batch="1,2,2"
            )


CONTRACTS = (
    options,
    size_multiple,
    output_shape,
    any_multiple,
    output_range,
    gradients,
    evaluation,
    features,
    model_file,
    export,
)


def _arguments(subject: Subject) -> dict[str, int]:
    return _LATENT_ARGUMENTS if subject.spec.source == "latent" else _IMAGE_ARGUMENTS


def _make(subject: Subject, given: Mapping[str, Any] | None = None, **changed: int) -> nn.Module:
    torch.manual_seed(0)
    arguments = _arguments(subject)
    changed = {name: value for name, value in changed.items() if name in arguments}
    arguments = {**arguments, **changed}
    if subject.spec.source == "image":
        arguments["in_channels"] += len(subject.spec.conditions)
    return make_generator(subject.spec.name, subject.options if given is None else given, **arguments)


def _info(subject: Subject, network: nn.Module) -> ModelInfo:
    arguments: Mapping[str, Any] = network.arguments  # type: ignore[assignment]
    return ModelInfo(
        method="contract",
        generator=subject.spec.name,
        generator_options=dict(arguments),
        source=subject.spec.source,
        input=levels_spec(arguments.get("in_channels", 3)),
        output=levels_spec(arguments["out_channels"]),
        size=_side(subject, network),
        size_multiple=int(network.size_multiple),  # type: ignore[arg-type]
    )


def _side(subject: Subject, network: nn.Module) -> int:
    """The smallest multiple of the network's size_multiple that is not below `SMALLEST`."""
    multiple = int(getattr(network, "size_multiple", 1))
    return -(-SMALLEST // multiple) * multiple if subject.spec.source == "image" else SMALLEST


def _inputs(subject: Subject, network: nn.Module, count: int, channels: int) -> tuple[Tensor, ...]:
    if subject.spec.source == "image":
        return (images(count, channels + len(subject.spec.conditions), _side(subject, network)),)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, LATENT_SIZE, generator=generator), torch.arange(count) % NUM_CLASSES


def _check_shape(subject: Subject, network: nn.Module, inputs: tuple[Tensor, ...], channels: int) -> None:
    with torch.no_grad():
        output = network(*inputs)
    if subject.spec.source == "image":
        expected = (len(inputs[0]), channels, *inputs[0].shape[2:])
    else:
        size = network.arguments["size"]  # type: ignore[index]
        expected = (len(inputs[0]), channels, size, size)
    require(
        isinstance(output, Tensor) and tuple(output.shape) == expected,
        f"{subject} maps an input of shape {_shape(inputs[0])} to {_shape(output)} instead of {expected}",
    )


def _shape(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else f"a {type(output).__name__}"


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="translatekit-") as folder:
        yield Path(folder)
