"""Checkpoints of the PyTorch reference implementation of pix2pix and CycleGAN as model files.

Such a checkpoint is a state dict and nothing else: the architecture is inferred from its names and shapes.
"""

from __future__ import annotations

import pickle
import re
import textwrap
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import translatekit
from translatekit.errors import ModelFileError, OptionError
from translatekit.image_spec import specs_of_8_bits
from translatekit.model_file import find_not_finite, save_model
from translatekit.model_info import ModelInfo, brief
from translatekit.networks import make_discriminator, make_generator
from translatekit.networks.layers import Norm
from translatekit.types import Direction, NormInference

State = dict[str, Tensor]
_LFS = b"version https://git-lfs"
_ZIP = b"PK\x03\x04"  # how torch's files begin since 1.6
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # and before
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel and torch.compile
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNT = "num_batches_tracked"
_INFLATED = 20  # times the file's size; weights hardly compress at all
_REUSED = 4  # times that a network may use each of its stored numbers, on average


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
        ModelFileError: the file is missing, damaged, holds more than weights or weights that are not finite, is no
            generator of the reference implementation, or `out` exists.
        OptionError: `out` does not end in ``.safetensors``.
    """
    source = Path(source)
    state = _strip_wrappers(read_checkpoint(source))
    out = source.with_suffix(".safetensors") if out is None else Path(out)
    if out.is_dir():
        out = out / source.with_suffix(".safetensors").name
    if out.suffix != ".safetensors":
        raise OptionError(
            f"{out} would not be found to be a model file, whose name ends in .safetensors: pass -o {out}.safetensors"
        )
    if _is_discriminator(state):
        name, arguments, _ = convert_discriminator(state, str(source))
        raise ModelFileError(
            f"{source} is a discriminator ({name}, {arguments['in_channels']} channels), not a generator: "
            "import the file that was saved beside it as latest_net_G.pth"
        )
    generator, arguments, weights = convert_generator(state, str(source))
    wrong = find_not_finite(weights)
    if wrong is not None:
        raise ModelFileError(
            f"{source} cannot be used, since {wrong}: import the checkpoint of an earlier epoch"
        )
    if out.exists() and not overwrite:
        raise ModelFileError(f"{out} exists already: pass --force to replace it, or another path with -o")
    with torch.device("meta"):
        multiple = int(make_generator(generator, arguments).size_multiple)  # type: ignore[arg-type]
    channels = arguments["in_channels"], arguments["out_channels"]
    # Of the reference implementation's models, 1 channel in and 2 out is its colorization: L in, ab out.
    taken, given = specs_of_8_bits("lab" if channels == (1, 2) else "rgb", *channels)
    info = ModelInfo(
        method="import",
        generator=generator,
        generator_options=arguments,
        input=taken,
        output=given,
        size=multiple if generator == "unet" else 256,
        size_multiple=multiple,
        norm_inference=norm_inference or ("per_image" if arguments["norm"] == "batch" else "running"),
        direction=direction,
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
    if start[8:9] == b"{":
        raise ModelFileError(
            f"{path} is a safetensors file and needs no import if translatekit wrote it: see translatekit info {path}"
        )
    if start.startswith(_ZIP):
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickle protocol, in files that are refused anyway
            # Not memory-mapped: that takes a compressed or short record for the weights themselves.
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:
        raise _explain(path, error, start) from None
    if not isinstance(state, Mapping) or not state:
        raise ModelFileError(
            f"{path} holds no named weights: save the generator's state_dict() and import that"
        )
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelFileError(
                f"{path} holds more than weights ({brief(name)} is not a tensor): {_remedy(path, state)}"
            )
        _check_tensor(path, name, value)
    stored = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in state.values()
    }
    if sum(value.nbytes for value in state.values()) > _REUSED * sum(stored.values()):
        raise ModelFileError(
            f"{path} gives the same stored weights under many names, which no generator does: "
            "save the generator's state_dict() and import that"
        )
    return dict(state)


def _check_archive(path: Path) -> None:
    """Hold the records of a zip file against their checksums, which torch does not look at.

    Raises:
        ModelFileError: it is damaged, ambiguous, or larger than any checkpoint once it is unpacked.
    """
    copy = "copy it again from where it came from"
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if len({record.filename for record in records}) < len(records):
                raise ModelFileError(
                    f"{path} holds two records of one name, of which torch reads either: {copy}"
                )
            unpacked = sum(record.file_size for record in records)
            if unpacked > max(2**30, _INFLATED * path.stat().st_size):
                raise ModelFileError(
                    f"{path} would grow to {unpacked / 1e9:.0f} GB when unpacked, and weights do not: {copy}"
                )
            for record in records:
                if record.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError
                if record.CRC == 0:  # what torch writes where it was told not to compute them
                    continue
                with archive.open(record) as file:
                    while file.read(2**20):
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise ModelFileError(f"{path} is truncated or damaged: {copy}") from None
    except (NotImplementedError, RuntimeError):  # another compression, or a password
        raise ModelFileError(
            f"{path} is packed in a way that PyTorch does not read: unpack it, and pack it again without compression"
        ) from None


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """See that a tensor holds numbers that a network can be given as they are.

    Raises:
        ModelFileError: it does not.
    """
    what = f"{path} holds {brief(name)} as"
    if tensor.is_quantized or (
        tensor.dtype not in _FLOATS and not tensor.is_complex() and not name.endswith(_COUNT)
    ):
        raise ModelFileError(
            f"{what} {str(tensor.dtype).removeprefix('torch.')}, and weights are float16, bfloat16, float32 or "
            "float64: save the state_dict() of the network before it was quantized, or dequantize() it"
        )
    if tensor.is_complex():
        raise ModelFileError(
            f"{what} complex numbers, which no generator has: save real weights, as view_as_real() gives them"
        )
    if tensor.is_nested or tensor.layout is not torch.strided:
        raise ModelFileError(f"{what} a sparse tensor: save it as its to_dense()")
    if tensor.device.type != "cpu":
        raise ModelFileError(
            f"{what} a tensor without values (on the device {tensor.device}): save the real one"
        )
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ModelFileError(
            f"{what} fewer numbers than its shape {brief(tuple(tensor.shape))} has: save it as its contiguous()"
        )


def _remedy(path: Path, state: Mapping[Any, Any]) -> str:
    """What to do with a file that holds something beside weights."""
    if {"state", "param_groups"} <= state.keys():
        return "it is an optimizer's state; give the generator's own file, such as latest_net_G.pth"
    for name, value in state.items():
        weights = (
            isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())
        )
        if weights and isinstance(name, str) and name.isprintable() and len(name) < 60:
            return (
                f"the weights are in its entry {name!r}, so save them alone with "
                f"torch.save(torch.load({path.name!r})[{name!r}], 'latest_net_G.pth') and import that"
            )
    return "save the generator's state_dict() alone and import that"


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
    if last > 3 * len(state):
        raise ValueError(f"model.{last}.weight is not part of it")
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
        for key, tensor in network.state_dict().items():
            found = reader.found.get(key, tensor)
            if found.shape != tensor.shape or found.is_floating_point() != tensor.is_floating_point():
                raise ValueError(
                    f"{key} is {found.dtype} {tuple(found.shape)} in place of {tensor.dtype} {tuple(tensor.shape)}"
                )
        network.load_state_dict(reader.found, assign=True)
    except (KeyError, IndexError, ValueError, RuntimeError, OptionError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        reason = textwrap.shorten(reason.strip().splitlines()[-1].strip().rstrip("."), 200)
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
            return _strip_wrappers({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return state


def _explain(path: Path, error: Exception, start: bytes) -> ModelFileError:
    """One sentence for whatever reading a file raised."""
    code = re.search(r"GLOBAL ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code:
        return ModelFileError(
            f"{path} holds more than weights and would run {code[1]} when loaded, so nothing was loaded: "
            "save the generator's state_dict() and import that"
        )
    if "TorchScript" in str(error):
        return ModelFileError(
            f"{path} is a TorchScript program, which would have to be run: "
            "save the generator's state_dict() and import that"
        )
    damaged = start.startswith(_LEGACY)
    if start.startswith(_ZIP):
        with zipfile.ZipFile(path) as archive:
            damaged = any(name.endswith("data.pkl") for name in archive.namelist())
    if damaged:
        return ModelFileError(f"{path} is truncated or damaged: copy it again from where it came from")
    return ModelFileError(f"{path} is not a PyTorch checkpoint: give a .pth file that torch saved")
