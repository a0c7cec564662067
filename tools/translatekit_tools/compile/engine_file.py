"""What lies beside a TensorRT engine: a JSON file that says what the engine is, bound to it by its hash.

The engine itself stays as TensorRT wrote it, so that every other tool reads it too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translatekit.errors import ModelFileError
from translatekit.model_file import ModelInfo, write_atomically
from translatekit_tools.compile.profiles import Profile, write_profiles
from translatekit_tools.cuda.driver import Gpu

_PROFILE_SIDES = ("minimum", "optimum", "maximum")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHeader:
    """What an engine is, and where it runs.

    Attributes:
        info: the model file's header.
        sha256: of the engine, in hexadecimal digits.
        source: the model it was built from, as it was named then.
        precision: its convolutions compute in.
        profiles: the shapes it takes.
        gpu, compute_capability: of the GPU it was built on, the only one it runs on.
        tensorrt: the version that built it, the only one that reads it.
        driver: the newest CUDA version of the driver then, for the record.
    """

    info: ModelInfo
    sha256: str
    source: str
    precision: str
    profiles: tuple[Profile, ...]
    gpu: str
    compute_capability: str
    tensorrt: str
    driver: str

    def rebuild(self, path: Path) -> str:
        """The command that builds the engine at `path` again; its last word are the sizes, so that more can follow."""
        batch, shapes = write_profiles(self.profiles)
        command = ["translatekit", "compile", self.source, "-o", str(path), "--precision", self.precision]
        return shlex.join([*command, "--batch", batch, "--shapes", shapes])


def header_path(path: Path) -> Path:
    """The JSON file of the engine at `path`."""
    return path.with_name(path.name + ".json")


def write_header(path: Path, header: EngineHeader) -> None:
    """Write the JSON file of the engine at `path`.

    Raises:
        ModelFileError: it could not be written.
    """
    fields: dict[str, Any] = dataclasses.asdict(header)
    fields["translatekit"] = fields.pop("info")
    write_atomically(header_path(path), (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode())


def read_header(path: Path) -> EngineHeader:
    """What the engine at `path` is, without TensorRT and without a GPU.

    Raises:
        ModelFileError: the JSON file is missing or damaged.
    """
    beside = header_path(path)
    again = f"build it again with translatekit compile MODEL -o {shlex.quote(str(path))}"
    try:
        fields = json.loads(beside.read_text(encoding="utf-8"))
        info = ModelInfo.from_json(json.dumps(fields.pop("translatekit")), beside)
        profiles = tuple(_read_profile(profile) for profile in fields.pop("profiles"))
        header = EngineHeader(info=info, profiles=profiles, **fields)
        if not profiles or not all(isinstance(value, str) for value in fields.values()):
            raise ValueError("a field has the wrong type")
        return header
    except FileNotFoundError:
        raise ModelFileError(
            f"{path} has no {beside.name} beside it, which says what the engine is: copy both, or {again}"
        ) from None
    except OSError as error:
        raise ModelFileError(f"{beside} cannot be read ({error.strerror}): check its permissions") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{beside} cannot be understood ({error}): {again}") from None


def read_info(path: Path) -> ModelInfo:
    """The model file's header of the engine at `path`.

    Raises:
        ModelFileError: the JSON file is missing or damaged.
    """
    return read_header(path).info


def write_info(path: Path, info: ModelInfo) -> None:
    """Put another model file's header beside the engine at `path`.

    Raises:
        ModelFileError: the JSON file is missing or damaged, or could not be written.
    """
    write_header(path, dataclasses.replace(read_header(path), info=info))


def read_engine(path: Path, header: EngineHeader) -> bytes:
    """The engine at `path`, as TensorRT takes it.

    Raises:
        ModelFileError: it is missing, or not the one that the header was written for.
    """
    try:
        plan = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"there is no engine {path}: build it with {header.rebuild(path)}") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}): check its permissions") from None
    if hash_engine(plan) != header.sha256:
        raise ModelFileError(
            f"{path} is not the engine that {header_path(path).name} describes (their hashes differ): "
            f"copy both anew, or build it again with {header.rebuild(path)}"
        )
    return plan


def hash_engine(plan: bytes | memoryview) -> str:
    """The SHA-256 of an engine, in hexadecimal digits."""
    return hashlib.sha256(plan).hexdigest()


def check_gpu(path: Path, header: EngineHeader, gpu: Gpu) -> None:
    """Refuse an engine that was built on another GPU.

    Raises:
        ModelFileError: it was.
    """
    built, here = (header.gpu, header.compute_capability), (gpu.name, gpu.compute_capability)
    if built != here:
        raise ModelFileError(
            f"{path} was built on {_gpu(*built)} and runs on no other GPU, this one is {_gpu(*here)}: "
            f"build it here with {header.rebuild(path)}"
        )


def check_tensorrt(path: Path, header: EngineHeader, version: str) -> None:
    """Refuse an engine that was built by another version of TensorRT.

    Raises:
        ModelFileError: it was.
    """
    if header.tensorrt != version:
        raise ModelFileError(
            f"{path} was built by TensorRT {header.tensorrt} and is read by no other version, this one is {version}: "
            f"build it again with {header.rebuild(path)}"
        )


def _gpu(name: str, compute_capability: str) -> str:
    return f"{name} (compute capability {compute_capability})"


def _read_profile(fields: Mapping[str, Any]) -> Profile:
    sides = []
    for name in _PROFILE_SIDES:
        images, height, width = (int(number) for number in fields[name])
        sides.append((images, height, width))
    return Profile(*sides)
