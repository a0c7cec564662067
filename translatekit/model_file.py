"""The model file: safetensors whose JSON header carries everything that is needed to use the network.

The header is read without torch. Weights are never unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from translatekit.errors import ModelFileError
from translatekit.interfaces import Color, NormInference

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
_KEY = "translatekit"
_MAX_HEADER = 100 * 2**20  # bytes; safetensors' own limit


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says of itself.

    Attributes:
        method: that trained it.
        generator, generator_options: the architecture's name and the keyword arguments it was made with.
        source: what it maps from.
        in_channels, out_channels: of the network.
        size: it was trained at, in pixels a side.
        size_multiple: each side of an input must be a multiple of this, in pixels.
        norm_inference: batch normalization by ``running`` statistics, or by each image's own (``per_image``).
        direction: the name of this generator among those its method deploys, such as ``AtoB``.
        color: what the channels mean (`translatekit.interfaces.Color`).
        classes: names by label, where it was trained on labels.
        data: where and how it was trained: dataset, folder's name, number of images.
        metrics: on the validation images, when it was saved.
        step, epoch: of training, when it was saved.
        versions: of translatekit, torch and the plugins that made it.
        compiled: of a compiled file: backend, precision, shapes, versions and the parity with the model in fp32.
        format: of this header.
    """

    method: str
    generator: str
    generator_options: dict[str, Any] = field(default_factory=dict)
    source: Literal["image", "latent"] = "image"
    in_channels: int = 3
    out_channels: int = 3
    size: int = 256
    size_multiple: int = 1
    norm_inference: NormInference = "running"
    direction: str = "AtoB"
    color: Color = "rgb"
    classes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    compiled: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def image_in_channels(self) -> int:
        """Channels of the images a `Translator` takes: those of the network."""
        return self.in_channels

    @property
    def image_out_channels(self) -> int:
        """Channels of the images a `Translator` gives back: those of the network, or 3 where it predicts ab."""
        return 3 if self.color == "lab" else self.out_channels

    def to_json(self) -> str:
        """The header's text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, path: Path) -> ModelInfo:
        """Parse a header.

        Raises:
            ModelFileError: it was written by a newer translatekit, or is not a header.
        """
        try:
            fields = json.loads(text)
            if fields.get("format", 0) > FORMAT:
                raise ModelFileError(
                    f"{path} was written by a newer translatekit ({fields.get('versions', {}).get('translatekit')}): "
                    "run pip install -U translatekit"
                )
            fields["classes"] = tuple(fields.get("classes", ()))
            return cls(**fields)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ModelFileError(
                f"the header of {path} cannot be understood ({error}): train or import the model again"
            ) from None


def read_info(path: str | Path) -> ModelInfo:
    """The header of a ``.safetensors`` model file, read without torch.

    Raises:
        ModelFileError: the file is missing, damaged, or not one of ours.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(_MAX_HEADER, path.stat().st_size - 8):
                raise ValueError
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {path}: check the path, or train one first") from None
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read ({error.strerror}): check the path and its permissions"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise ModelFileError(
            f"{path} is not a translatekit model file: "
            "give one made by translatekit train, or convert a .pth checkpoint with translatekit import"
        ) from None
    if path.stat().st_size < 8 + length + end:
        raise ModelFileError(f"{path} is truncated: copy it again from where it came from")
    if _KEY not in metadata:
        raise ModelFileError(
            f"{path} holds weights but no translatekit header: convert the original checkpoint with translatekit import"
        )
    return ModelInfo.from_json(metadata[_KEY], path)


def read_any_info(path: str | Path) -> ModelInfo:
    """The header of a model file of any installed backend, the model itself left unread.

    Raises:
        ModelFileError: the file is missing, damaged, or not one of ours.
    """
    from translatekit.registry import registry

    path = Path(path)
    for entry in registry("backend").entries():
        if path.suffix in entry.spec.suffixes and entry.spec.reader is not None:
            info: ModelInfo = entry.spec.load_reader()(path)
            return info
    return read_info(path)


def save_model(path: str | Path, state: dict[str, Tensor], info: ModelInfo) -> None:
    """Write weights and header, complete or not at all: under a temporary name, flushed to disk, renamed.

    Args:
        path: where to; replaced when it exists.
        state: the network's state dict.
        info: the header.

    Raises:
        ModelFileError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_atomically(path, save(tensors, metadata={_KEY: info.to_json()}))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that at every moment either the old or the new one is there, whole.

    Raises:
        ModelFileError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes its name when it is complete and on the disk, and leaves nothing when it is not.

    Raises:
        ModelFileError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ModelFileError(
            f"{path} could not be written ({error.strerror}): free some space or choose another folder"
        ) from None
    finally:
        with contextlib.suppress(OSError):  # where the folder itself is at fault, there is nothing to remove
            temporary.unlink(missing_ok=True)


def find_model(path: str | Path, direction: str | None = None) -> Path:
    """The model file that a user means: a file, or a run's folder.

    Args:
        path: a model file of any backend, or a run's folder.
        direction: which of a run's generators, such as ``BtoA``; None for the main one.

    Raises:
        ModelFileError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ModelFileError(
                f"there is no model {path}: check the path, or train one with translatekit train"
            )
        return path
    candidates = sorted(path.glob("model*.safetensors"))
    if not candidates:
        raise ModelFileError(f"{path} holds no model.safetensors: give a run's folder or a model file")
    if direction is None:
        main = path / "model.safetensors"
        return main if main in candidates else candidates[0]
    for candidate in candidates:
        if read_info(candidate).direction == direction:
            return candidate
    there = ", ".join(read_info(candidate).direction for candidate in candidates)
    raise ModelFileError(f"{path} has no generator {direction}: it has {there}")
