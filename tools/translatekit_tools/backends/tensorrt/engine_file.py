"""What lies beside a TensorRT engine: a JSON file that says what the engine is, bound to it by its hash.

The engine itself stays as TensorRT wrote it, so that every other tool reads it too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translatekit.errors import ModelFileError
from translatekit.model_info import ModelInfo, brief, parse_object
from translatekit.storage import write_atomically
from translatekit_tools.backends.batches import graph_dtypes, lossless_dtype
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu
from translatekit_tools.backends.tensorrt.flavour import FLAVOURS, FULL
from translatekit_tools.backends.tensorrt.profiles import Profile, write_profiles
from translatekit_tools.backends.tensorrt.targets import TARGETS, runs_on

_PROFILE_SIDES = ("minimum", "optimum", "maximum")
_MAX_SIDE = 2**16  # images, or pixels
_MAX_TEXT = 4096  # characters, as many as a path may have


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHeader:
    """What an engine is, and where it runs.

    Attributes:
        info: the model file's header.
        sha256: of the engine, in hexadecimal digits.
        source: the model it was built from, as it was named then.
        precision: its convolutions compute in.
        profiles: the shapes it takes.
        gpu, compute_capability: of the GPU it was built on, the only one it runs on; empty for TensorRT-RTX.
        tensorrt: the version that built it, the only one that reads it.
        driver: the newest CUDA version of the driver then, for the record; empty where there was none.
        flavour: the library, ``tensorrt`` or ``tensorrt-rtx``.
        targets: compute capabilities it runs on, or ``any``, with commas; empty for the full TensorRT.
        graph: the SHA-256 of the ONNX file beside it that it was built from; empty where there is none.
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
    flavour: str = "tensorrt"
    targets: str = ""
    graph: str = ""

    def rebuild(self, path: Path) -> str:
        """The command that builds the engine at `path` again; its last word are the sizes, so that more can follow."""
        batch, shapes = write_profiles(self.profiles)
        command = ["translatekit", "compile", self.source, "-o", str(path), "--force"]
        command += ["--precision", self.precision]
        dtype = graph_dtypes(self.info)[0]
        if dtype != lossless_dtype(self.info):  # which it would be by itself
            command += ["--dtype", dtype]
        if self.targets:
            command += ["--flavour", self.flavour, "--target", self.targets]
        return shlex.join([*command, "--batch", batch, "--shapes", shapes])


def header_path(path: Path) -> Path:
    """The JSON file of the engine at `path`."""
    return path.with_name(path.name + ".json")


def write_header(path: Path, header: EngineHeader) -> None:
    """Write the JSON file of the engine at `path`.

    Raises:
        StorageError: it could not be written.
    """
    fields: dict[str, Any] = dataclasses.asdict(header)
    fields["translatekit"] = header.info.to_fields()
    del fields["info"]
    write_atomically(header_path(path), (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode())


def read_header(path: Path) -> EngineHeader:
    """What the engine at `path` is, without TensorRT and without a GPU.

    Raises:
        ModelFileError: the JSON file is missing or damaged.
    """
    beside = header_path(path)
    again = f"build it again with translatekit compile MODEL -o {shlex.quote(str(path))} --force"
    try:
        fields = parse_object(beside.read_text(encoding="utf-8"))
        names = {field.name for field in dataclasses.fields(EngineHeader)} - {"info", "profiles"}
        if fields.keys() != {*names, "translatekit", "profiles"}:
            wrong = sorted(fields.keys() ^ {*names, "translatekit", "profiles"})
            raise ValueError(f"the field {brief(wrong[0])} is unknown or missing")
        texts = {name: fields[name] for name in names}
        for name, value in texts.items():
            if not isinstance(value, str) or len(value) > _MAX_TEXT:
                raise ValueError(f"its {name} is no text, but {brief(value)}")
        if texts["flavour"] not in FLAVOURS:
            raise ValueError(f"its flavour is no TensorRT, but {brief(texts['flavour'])}")
        if not isinstance(fields["translatekit"], dict):
            raise ValueError("it holds no model's header")
        info = ModelInfo.from_fields(fields["translatekit"], beside)
        return EngineHeader(info=info, profiles=_read_profiles(fields["profiles"]), **texts)
    except FileNotFoundError:
        raise ModelFileError(
            f"{path} has no {beside.name} beside it, which says what the engine is: copy both, or {again}"
        ) from None
    except OSError as error:
        raise ModelFileError(f"{beside} cannot be read ({error.strerror}): check its permissions") from None
    except (ValueError, RecursionError) as error:
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
        ModelFileError: the JSON file is missing or damaged.
        StorageError: it could not be written.
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


def graph_path(path: Path) -> Path:
    """The ONNX file that the engine at `path` was built from, where it is kept."""
    return path.with_name(path.name + ".onnx")


def hash_engine(plan: bytes | memoryview) -> str:
    """The SHA-256 of an engine, in hexadecimal digits."""
    return hashlib.sha256(plan).hexdigest()


def check_gpu(path: Path, header: EngineHeader, gpu: Gpu) -> None:
    """Refuse an engine that was built on another GPU, or for others.

    Raises:
        ModelFileError: it was.
    """
    if header.targets:
        if not runs_on(header.targets.split(","), gpu.compute_capability):
            again = dataclasses.replace(header, targets=gpu.compute_capability)
            remedy = (
                f"build it for this one with {again.rebuild(path)}"
                if gpu.compute_capability in TARGETS
                else f"TensorRT-RTX has no such target, so build it here with the full TensorRT, --flavour {FULL.name}"
            )
            raise ModelFileError(
                f"{path} was built for compute capability {header.targets}, and {gpu.name} has "
                f"{gpu.compute_capability}: {remedy}"
            )
        return
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
            f"{path} was built by {FLAVOURS[header.flavour].title} {header.tensorrt} and is read by no other version, "
            f"this one is {version}: "
            f"build it again with {header.rebuild(path)}"
        )


def _gpu(name: str, compute_capability: str) -> str:
    return f"{name} (compute capability {compute_capability})"


def _read_profiles(profiles: object) -> tuple[Profile, ...]:
    """The shapes that an engine takes.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(profiles, list) or not profiles or not all(_is_profile(fields) for fields in profiles):
        raise ValueError(f"its profiles are not shapes, but {brief(profiles)}")
    return tuple(Profile(*(tuple(fields[name]) for name in _PROFILE_SIDES)) for fields in profiles)


def _is_profile(fields: object) -> bool:
    return (
        isinstance(fields, dict)
        and fields.keys() == set(_PROFILE_SIDES)
        and all(
            isinstance(shape, list)
            and len(shape) == 3
            and all(type(number) is int and 1 <= number <= _MAX_SIDE for number in shape)
            for shape in fields.values()
        )
        and all(
            low <= best <= high for low, best, high in zip(*(fields[n] for n in _PROFILE_SIDES), strict=True)
        )
    )
