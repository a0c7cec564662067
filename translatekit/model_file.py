"""The model file: safetensors whose JSON header carries everything that is needed to use the network.

The header is read without torch. Weights are never unpickled.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from translatekit.errors import ModelFileError, OptionError
from translatekit.model_info import ModelInfo, brief, not_understood, parse_object, same_direction
from translatekit.storage import local_copy, write_atomically
from translatekit.storage.copies import RECORD

if TYPE_CHECKING:
    from torch import Tensor

_KEY = "translatekit"
_ABOUT = frozenset({"config.toml", "README.md", RECORD})
"""What lies beside a model file in a folder that is the model's own."""
_MAX_HEADER = 16 * 2**20  # bytes; a hundred thousand tensors
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8}
_BYTES |= {f"{sign}{bits}": bits // 8 for sign in "IU" for bits in (16, 32, 64)}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """What a model file says of one of its tensors.

    Attributes:
        dtype: as safetensors names it, such as ``F32``.
        shape: its sides.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_info(path: str | Path) -> ModelInfo:
    """The header of a ``.safetensors`` model file, read without torch.

    Raises:
        ModelFileError: the file is missing, damaged, or not one of ours.
    """
    return read_header(path)[0]


def read_header(path: str | Path) -> tuple[ModelInfo, dict[str, StoredTensor]]:
    """The header of a ``.safetensors`` model file and what it says of its tensors, by name, read without torch.

    The places of the tensors are checked too: together they are the rest of the file.

    Raises:
        ModelFileError: the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(_MAX_HEADER, size - 8):
                raise ValueError
            header = parse_object(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        if not isinstance(metadata, dict):
            raise ValueError
        stored = [_stored(entry) for entry in header.values()]
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {path}: check the path, or train one first") from None
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read ({error.strerror}): check the path and its permissions"
        ) from None
    except (ValueError, RecursionError):
        raise ModelFileError(
            f"{path} is not a translatekit model file: "
            "give one made by translatekit train, or convert a .pth checkpoint with translatekit import"
        ) from None
    end = max((last for _, _, last in stored), default=0)
    if size < 8 + length + end:
        raise ModelFileError(f"{path} is truncated: copy it again from where it came from")
    if _KEY not in metadata:
        raise ModelFileError(
            f"{path} holds weights but no translatekit header: convert the original checkpoint with translatekit import"
        )
    if not isinstance(metadata[_KEY], str):
        raise not_understood(path, ValueError("it is no text"))
    info = ModelInfo.from_json(metadata[_KEY], path)
    _check_places(path, dict(zip(header, stored, strict=True)), size - 8 - length)
    return info, {name: tensor for name, (tensor, _, _) in zip(header, stored, strict=True)}


def _stored(entry: Any) -> tuple[StoredTensor, int, int]:
    """A tensor, and where it begins and ends behind the header.

    Raises:
        ValueError: it is no entry of a safetensors header.
    """
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError
    return StoredTensor(dtype, tuple(shape)), offsets[0], offsets[1]


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _check_places(path: Path, tensors: Mapping[str, tuple[StoredTensor, int, int]], size: int) -> None:
    """See that the tensors lie one behind the other and fill the file.

    Raises:
        ModelFileError: they do not.
    """
    end = 0
    for name, (tensor, first, last) in sorted(tensors.items(), key=lambda item: item[1][1:]):
        each = _BYTES.get(tensor.dtype)
        if each is None:
            raise ModelFileError(
                f"{path} holds {brief(name)} as {brief(tensor.dtype)}, in which no weights are kept: "
                "train or import the model again"
            )
        if first != end or last - first != each * tensor.elements:
            raise ModelFileError(
                f"{path} is damaged (the place of {brief(name)} does not fit its shape): "
                "copy it again from where it came from"
            )
        end = last
    if end != size:
        raise ModelFileError(
            f"{path} is damaged ({size - end} bytes lie behind its weights): copy it again from where it came from"
        )


def read_any_info(path: str | Path) -> ModelInfo:
    """The header of a model file of any installed backend, as the model is used; the model itself is left unread.

    Of one that takes several passes, this is `ModelInfo.whole`.

    Raises:
        ModelFileError: the file is missing, damaged, or not one of ours.
    """
    from translatekit.registry import backends_of

    path = Path(path)
    for spec in backends_of(path.suffix):
        if path.suffix in spec.suffixes and spec.reader is not None:
            info: ModelInfo = spec.load_reader()(path)
            return info.whole
    return read_info(path).whole


def find_not_finite(state: Mapping[str, Tensor]) -> str | None:
    """What is wrong with weights that cannot give an image, in words; None where all of them are finite numbers.

    Each tensor is passed once, and nothing of its size is made. Running statistics count, whether they are used at
    inference or not, and a running variance is not below 0.

    Args:
        state: a state dict.
    """
    import torch

    for name, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = (value.item() for value in torch.aminmax(tensor.detach()))
        if not math.isfinite(low) or not math.isfinite(high):
            found = "NaN" if math.isnan(low) else "an infinity"
            return f"its weights are not all finite ({brief(name)} holds {found})"
        if low < 0 and name.endswith("running_var"):
            return f"a variance is negative ({brief(name)} goes down to {low:.4g})"
    return None


def save_model(path: str | Path, state: dict[str, Tensor], info: ModelInfo) -> None:
    """Write weights and header, complete or not at all: under a temporary name, flushed to disk, renamed.

    Args:
        path: where to; replaced when it exists.
        state: the network's state dict.
        info: the header.

    Raises:
        ModelFileError: the weights are not finite, or the header could not be read again.
        StorageError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    wrong = find_not_finite(state)
    if wrong is not None:
        raise ModelFileError(
            f"{path} was not written, since {wrong}: take an earlier checkpoint, or train with a lower --lr"
        )
    header = info.to_json()
    try:
        ModelInfo.from_json(header, path)
    except ModelFileError as error:
        raise ModelFileError(f"{path} was not written, since it could not be read again: {error}") from None
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, save(tensors, metadata={_KEY: header}))


def find_model(path: str | Path, direction: str | None = None, *, best: bool = False) -> Path:
    """The model file that a user means: a file, or one of a run's folder or of a published one.

    In a folder it is ``model.safetensors``; the compiled model, such as ``model.onnx``, where there is no trained one
    or PyTorch is not installed to run it; or the only ``.safetensors`` file.

    Args:
        path: a model file of any backend, or a folder that holds some; or the address of one, which is copied to the
            cache.
        direction: which of a run's generators, such as ``BtoA``; None for the main one.
        best: the run's ``best`` weights instead of its newest ones.

    Raises:
        ModelFileError: there is none.
        OptionError: `best` with a file, or a file with another direction than its own.
        StorageError: the store of an address fails.
    """
    path = local_copy(path)
    try:
        is_file = not path.is_dir() or _is_package(path)
        exists = path.exists()
    except OSError as error:  # such as a name that is too long
        raise ModelFileError(f"the model {path} cannot be read ({error.strerror}): check the path") from None
    if not exists:
        raise ModelFileError(
            f"there is no model {path}: check the path, or train one with translatekit train"
        )
    if is_file and best:
        raise OptionError(
            f"--best chooses among a run's models, but {path} is no folder: name the run's folder"
        )
    if is_file:
        if direction is not None and not same_direction(info := read_any_info(path), direction):
            raise OptionError(
                f"{path} translates {info.direction}, not {direction}: leave out --direction, or name the run's folder"
            )
        return path
    name = "best" if best else "model"
    candidates = sorted(path.glob(f"{name}*.safetensors"))
    if not best:
        candidates = _runnable(path, candidates) or candidates
    if not candidates:
        raise ModelFileError(
            f"{path} holds no best.safetensors, which a run with validation images writes: leave out --best"
            if best
            else f"{path} holds no model.safetensors: give a run's folder or a model file"
        )
    if direction is None:
        return next((found for found in candidates if found.stem == name), candidates[0])
    for candidate in sorted(candidates, key=lambda found: found.stem != name):
        if same_direction(read_any_info(candidate), direction):
            return candidate
    known = ", ".join(read_any_info(candidate).direction for candidate in candidates)
    raise ModelFileError(
        f"the best models in {path} have no generator {direction}: there is {known}"
        if best
        else f"{path} has no generator {direction}: it has {known}"
    )


def _runnable(folder: Path, trained: list[Path]) -> list[Path]:
    """The models of a folder that can be run here: the trained ones, or else the compiled ones of one kind.

    Raises:
        ModelFileError: there are several, and nothing says which is meant.
    """
    from translatekit.registry import backends_of

    def is_installed(path: Path) -> bool:
        return any(not spec.missing() for spec in backends_of(path.suffix))

    if trained and is_installed(trained[0]):
        return trained
    compiled = [
        path for path in sorted(folder.glob("model*")) if backends_of(path.suffix) and path not in trained
    ]
    found = [path for path in compiled if is_installed(path)] or ([] if trained else compiled)
    if not found and not trained:
        found = sorted(folder.glob("*.safetensors"))
    kinds = {path.suffix if path in compiled else path.name: path.name for path in found}
    if len(kinds) > 1:
        names = " or ".join(kinds.values())
        raise ModelFileError(f"{folder} holds several models: name one of them, {names}, behind a /")
    return found


def _is_package(path: Path) -> bool:
    """Whether a folder is one model, of a backend whose files are folders."""
    from translatekit.registry import backends_of

    return bool(path.suffix) and any(
        spec.folders and path.suffix in spec.suffixes for spec in backends_of(path.suffix)
    )


def name_of(path: Path) -> str:
    """What people call a model: its run's folder, or the repository that it was copied from; or else the file.

    Args:
        path: of a model file, as `find_model` gives it.
    """
    is_part = path.stem.partition("-")[0] in ("model", "best") and not _ABOUT.isdisjoint(
        other.name for other in path.parent.iterdir()
    )
    return path.resolve().parent.name if is_part else path.stem
