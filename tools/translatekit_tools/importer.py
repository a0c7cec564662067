"""Checkpoints of the PyTorch reference implementation of pix2pix and CycleGAN as model files.

Such a checkpoint is a bare state dict: the architecture is inferred from its names and shapes.
"""

from __future__ import annotations

import pickle
import re
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import translatekit
from translatekit.errors import ModelFileError, OptionError
from translatekit.interfaces import Color, Direction, NormInference
from translatekit.model_file import ModelInfo, save_model
from translatekit.networks import make_discriminator, make_generator
from translatekit.networks.layers import Norm

State = dict[str, Tensor]
_LFS = b"version https://git-lfs"
_ZIP = b"PK\x03\x04"  # how torch's files begin since 1.6
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # and before
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


def import_checkpoint(
    source: str | Path,
    out: str | Path | None = None,
    *,
    norm_inference: NormInference | None = None,
    direction: Direction = "AtoB",
    overwrite: bool = False,
) -> Path:
    """Turn a generator's checkpoint (``latest_net_G.pth``) into a model file.

    Architecture, channels, width, normalization and, for a ResNet, dropout are inferred from the names and
    shapes of its parameters. A U-Net's dropout leaves no trace there: 0.5, the default of both
    implementations, is assumed, which matters for further training and for noise at inference alone.

    Args:
        source: a state dict saved by torch. Nothing in it is executed.
        out: where to, a file or a folder; `source` with the suffix ``.safetensors`` when not given.
        norm_inference: what batch normalization does at inference: ``running`` statistics or ``per_image``
            ones. When not given, ``per_image``: the reference's test program keeps its networks in training
            mode and gives them one image at a time.
        direction: what the generator translates, kept in the header.
        overwrite: replace `out` if it exists.

    Returns:
        `out`.

    Raises:
        ModelFileError: the file is missing, damaged, holds more than weights, is no generator of the
            reference implementation, or `out` exists.
    """
    source = Path(source)
    out = source.with_suffix(".safetensors") if out is None else Path(out)
    if out.is_dir():
        out = out / source.with_suffix(".safetensors").name
    state = _strip_wrappers(read_checkpoint(source))
    if _is_discriminator(state):
        name, arguments, _ = convert_discriminator(state, str(source))
        raise ModelFileError(
            f"{source} is a discriminator ({name}, {arguments['in_channels']} channels), not a generator: "
            "import the file that was saved beside it as latest_net_G.pth"
        )
    generator, arguments, weights = convert_generator(state, str(source))
    if out.exists() and not overwrite:
        raise ModelFileError(f"{out} exists already: pass --force to replace it, or another path with -o")
    with torch.device("meta"):
        multiple = int(make_generator(generator, arguments).size_multiple)  # type: ignore[arg-type]
    channels = arguments["in_channels"], arguments["out_channels"]
    info = ModelInfo(
        method="import",
        generator=generator,
        generator_options=arguments,
        in_channels=channels[0],
        out_channels=channels[1],
        size=multiple if generator == "unet" else 256,
        size_multiple=multiple,
        norm_inference=norm_inference or ("per_image" if arguments["norm"] == "batch" else "running"),
        direction=direction,
        color=_color(*channels),
        data={"checkpoint": source.name[:255]},
        package="translatekit",
        versions={"translatekit": translatekit.__version__, "torch": torch.__version__},
    )
    save_model(out, weights, info)
    return out


def read_checkpoint(path: str | Path) -> State:
    """The state dict in a file that torch saved; nothing in it is executed.

    Raises:
        ModelFileError: it is missing, damaged, or holds anything but named tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise ModelFileError(f"there is no checkpoint {path}: check the path") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): give a checkpoint file") from None
    if not start:
        raise ModelFileError(f"{path} is empty: copy it again from where it came from")
    if start.startswith(_LFS):
        raise ModelFileError(f"{path} is a Git LFS pointer, not the checkpoint itself: run git lfs pull")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle protocol, in files that are refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=start.startswith(_ZIP))
    except Exception as error:
        raise _explain(path, error, start) from None
    if not isinstance(state, Mapping) or not state:
        raise ModelFileError(
            f"{path} holds no named weights: save the generator's state_dict() and import that"
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelFileError(
                f"{path} holds more than weights ({textwrap.shorten(repr(name), 40)} is not a tensor): "
                "save the generator's state_dict() alone and import that"
            )
    return dict(state)


def convert_generator(state: State, source: str = "the checkpoint") -> tuple[str, dict[str, Any], State]:
    """A generator's weights under our names.

    Args:
        state: a generator's state dict of the reference implementation.
        source: named in errors.

    Returns:
        The generator's name, the complete arguments for `translatekit.networks.make_generator`, and a state
        dict that fits the network so made (float32, no memory shared with `state`).

    Raises:
        ModelFileError: the names and shapes are not those of one of its U-Nets or ResNets.
    """
    state = _strip_wrappers(state)
    if "model.model.0.weight" in state:
        return _finish(_unet, state, source)
    if "model.10.conv_block.1.weight" in state:
        return _finish(_resnet, state, source)
    names = textwrap.shorten(", ".join(state), 80, placeholder=" ...")
    raise ModelFileError(
        f"{source} is no U-Net or ResNet generator of the reference implementation (it holds {names}): "
        "give the file that it saved as latest_net_G.pth"
    )


def convert_discriminator(state: State, source: str = "the checkpoint") -> tuple[str, dict[str, Any], State]:
    """A discriminator's weights under our names: `convert_generator` for the ``basic`` and ``pixel`` ones.

    Raises:
        ModelFileError: the names and shapes are not those of one of its discriminators.
    """
    state = _strip_wrappers(state)
    if not _is_discriminator(state):
        raise ModelFileError(
            f"{source} is no discriminator of the reference implementation: "
            "give the file that it saved as latest_net_D.pth"
        )
    return _finish(_pixel if "net.0.weight" in state else _patch, state, source)


def _is_discriminator(state: State) -> bool:
    return "model.0.weight" in state or "net.0.weight" in state


class _Reader:
    """Takes layers out of a reference state dict and puts them under our names.

    Attributes:
        norm: what follows the convolutions. Batch normalization has weights of its own. Instance
            normalization has none, but the convolutions before it have a bias, which they lack where
            nothing follows.
        found: tensors under our names.
        left: tensors that were not taken yet.
    """

    def __init__(self, state: State, conv: str, norm: str) -> None:
        """Tell the normalization by one convolution and the place of the normalization behind it."""
        self.left = dict(state)
        self.found: State = {}
        self.norm: Norm = "none"
        if f"{norm}.weight" in state:
            self.norm = "batch"
        elif f"{conv}.bias" in state:
            self.norm = "instance"

    def conv(self, ours: str, theirs: str) -> None:
        """A convolution, with its bias where it has one."""
        for name in ("weight", "bias"):
            if f"{theirs}.{name}" in self.left:
                self.found[f"{ours}.{name}"] = self.left.pop(f"{theirs}.{name}")

    def layer(self, conv: tuple[str, str], norm: tuple[str, str]) -> None:
        """A convolution and the normalization behind it, as pairs of our name and theirs."""
        self.conv(*conv)
        ours, theirs = norm
        if self.norm == "batch":
            self.conv(ours, theirs)
        for name in _STATISTICS:
            tensor = self.left.pop(f"{theirs}.{name}", None)
            # Before torch 0.4, instance normalization kept statistics too, and never used them.
            if tensor is not None and self.norm == "batch":
                self.found[f"{ours}.{name}"] = tensor

    def fill(self, expected: Mapping[str, Tensor]) -> None:
        """Add what the reference does not save though our network has it."""
        for name in expected.keys() - self.found.keys():
            if name.endswith(".num_batches_tracked"):  # not there before torch 0.4.1
                self.found[name] = torch.tensor(0)
            elif self.norm == "none" and name.endswith(".bias"):
                self.found[name] = torch.zeros(expected[name].shape)


def _unet(state: State) -> tuple[str, dict[str, Any], _Reader]:
    # A level's modules: LeakyReLU 0, conv 1, norm 2, the level within 3, ReLU 4, conv 5, norm 6. The
    # outermost begins with its convolution, the innermost has neither norm 2 nor a level within.
    levels = ["model.model."]
    inner = "model.model.1.model."
    while f"{inner}1.weight" in state:
        levels.append(inner)
        inner += "3.model."
    depth = len(levels)
    if depth < 2:
        raise ValueError(f"{inner}1.weight is missing")
    reader = _Reader(state, f"{levels[1]}1", f"{levels[1]}2")
    for level, prefix in enumerate(levels):
        encoder, decoder = f"encoder.{level}", f"decoder.{depth - 1 - level}"
        if level == 0:
            reader.conv(f"{encoder}.conv", f"{prefix}0")
            reader.conv(f"{decoder}.conv", f"{prefix}3")
            continue
        if level < depth - 1:
            reader.layer((f"{encoder}.conv", f"{prefix}1"), (f"{encoder}.norm", f"{prefix}2"))
            up, norm = 5, 6
        else:
            reader.conv(f"{encoder}.conv", f"{prefix}1")
            up, norm = 3, 4
        reader.layer((f"{decoder}.conv", f"{prefix}{up}"), (f"{decoder}.norm", f"{prefix}{norm}"))
    first, last = reader.found["encoder.0.conv.weight"], reader.found[f"decoder.{depth - 1}.conv.weight"]
    arguments = {"in_channels": first.shape[1], "out_channels": last.shape[1], "depth": depth}
    return "unet", {**arguments, "width": first.shape[0], "norm": reader.norm}, reader


def _resnet(state: State) -> tuple[str, dict[str, Any], _Reader]:
    # Modules: padding 0, (conv, norm, ReLU) from 1, 4 and 7, blocks from 10, (conv, norm, ReLU) twice,
    # padding, conv. A block's: padding 0, conv 1, norm 2, ReLU 3, dropout 4 if any, padding, conv, norm.
    blocks = 0
    while f"model.{10 + blocks}.conv_block.1.weight" in state:
        blocks += 1
    dropout = "model.10.conv_block.6.weight" in state and state["model.10.conv_block.6.weight"].dim() == 4
    reader = _Reader(state, "model.1", "model.2")
    for stage, index in enumerate((1, 4, 7)):
        reader.layer((f"encoder.{stage}.0", f"model.{index}"), (f"encoder.{stage}.1", f"model.{index + 1}"))
    second = 6 if dropout else 5
    for block in range(blocks):
        ours, theirs = f"blocks.{block}", f"model.{10 + block}.conv_block"
        reader.layer((f"{ours}.conv1", f"{theirs}.1"), (f"{ours}.norm1", f"{theirs}.2"))
        reader.layer((f"{ours}.conv2", f"{theirs}.{second}"), (f"{ours}.norm2", f"{theirs}.{second + 1}"))
    for stage, index in enumerate((10 + blocks, 13 + blocks)):
        reader.layer((f"decoder.{stage}.0", f"model.{index}"), (f"decoder.{stage}.1", f"model.{index + 1}"))
    reader.conv("head.0", f"model.{17 + blocks}")
    first, last = reader.found["encoder.0.0.weight"], reader.found["head.0.weight"]
    arguments = {"in_channels": first.shape[1], "out_channels": last.shape[0], "blocks": blocks}
    options = {"width": first.shape[0], "norm": reader.norm, "dropout": 0.5 if dropout else 0.0}
    return "resnet", {**arguments, **options}, reader


def _patch(state: State) -> tuple[str, dict[str, Any], _Reader]:
    # Modules: conv 0, LeakyReLU 1, then (conv, norm, LeakyReLU) from 2 on, and a last conv: the same as ours.
    last = max(int(match[1]) for name in state if (match := re.fullmatch(r"model\.(\d+)\.weight", name)))
    reader = _Reader(state, "model.2", "model.3")
    reader.conv("model.0", "model.0")
    for index in range(2, last, 3):
        reader.layer((f"model.{index}", f"model.{index}"), (f"model.{index + 1}", f"model.{index + 1}"))
    reader.conv(f"model.{last}", f"model.{last}")
    width, in_channels = state["model.0.weight"].shape[:2]
    arguments = {"in_channels": in_channels, "layers": (last - 2) // 3, "width": width, "norm": reader.norm}
    return "patch", arguments, reader


def _pixel(state: State) -> tuple[str, dict[str, Any], _Reader]:
    reader = _Reader(state, "net.2", "net.3")
    reader.conv("model.0", "net.0")
    reader.layer(("model.2", "net.2"), ("model.3", "net.3"))
    reader.conv("model.5", "net.5")
    width, in_channels = state["net.0.weight"].shape[:2]
    return "pixel", {"in_channels": in_channels, "width": width, "norm": reader.norm}, reader


def _finish(
    read: Callable[[State], tuple[str, dict[str, Any], _Reader]], state: State, source: str
) -> tuple[str, dict[str, Any], State]:
    """Read a state dict, and hold the result against the network that it says it is."""
    try:
        name, arguments, reader = read(state)
        make = make_discriminator if read in (_patch, _pixel) else make_generator
        with torch.device("meta"):
            network = make(name, arguments)
        reader.fill(network.state_dict())
        if reader.left:
            raise ValueError(f"{next(iter(reader.left))} is not part of it")
        network.load_state_dict(reader.found, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError, OptionError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        reason = reason.strip().splitlines()[-1].strip().rstrip(".")
        raise ModelFileError(
            f"{source} resembles a {read.__name__[1:]} of the reference implementation, but differs "
            f"({reason}): only unchanged architectures can be imported"
        ) from None
    complete: dict[str, Any] = network.arguments  # type: ignore[assignment]
    weights = {
        key: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
        for key, tensor in reader.found.items()
    }
    return name, complete, weights


def _strip_wrappers(state: State) -> State:
    for prefix in _WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _color(in_channels: int, out_channels: int) -> Color:
    if (in_channels, out_channels) == (1, 2):
        return "lab"  # the reference's colorization: L in, ab out
    return "gray" if in_channels == out_channels == 1 else "rgb"


def _explain(path: Path, error: Exception, start: bytes) -> ModelFileError:
    """One sentence for whatever reading a file raised."""
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code:
        return ModelFileError(
            f"{path} holds more than weights and would run {code[1]} when loaded, so nothing was loaded: "
            "save the generator's state_dict() and import that"
        )
    if start.startswith(_LEGACY) or (start.startswith(_ZIP) and not zipfile.is_zipfile(path)):
        return ModelFileError(f"{path} is truncated or damaged: copy it again from where it came from")
    return ModelFileError(f"{path} is not a PyTorch checkpoint: give a .pth file that torch saved")
