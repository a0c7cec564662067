"""A model repository for NVIDIA's Triton Inference Server: the model under a version, and its configuration."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translatekit.errors import OptionError
from translatekit.interfaces import Progress
from translatekit.model_info import ModelInfo
from translatekit.sizes import Size
from translatekit_tools.backends.batches import graph_dtypes
from translatekit_tools.backends.tensorrt.engine_file import read_header
from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT
from translatekit_tools.publish.forms import compiled
from translatekit_tools.publish.model import Model, Published
from translatekit_tools.publish.options import PublishOptions
from translatekit_tools.publish.output import new_folder, size_of

CONFIG = "config.pbtxt"
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runtime:
    """A backend of Triton.

    Attributes:
        file: what it calls the model's file.
        batches: whether Triton makes batches for it.
        cpu: whether it is told to run on the CPU.
    """

    file: str
    batches: bool = True
    cpu: bool = False


_RUNTIMES = {
    "onnxruntime": _Runtime(file="model.onnx"),
    # Given a batch size, this backend makes the model's batch a fixed one. Left without, it takes any batch and size.
    "openvino": _Runtime(file="model.xml", batches=False, cpu=True),
    "tensorrt": _Runtime(file="model.plan"),
}
"""By their names, which are the same here and in Triton."""


def publish(model: Model, out: Path | None, options: PublishOptions, progress: Progress) -> Published:
    """Write a model into a repository, beside those that are there.

    Args:
        model: what is published.
        out: the repository, which ``tritonserver --model-repository`` names.
        options: those of ``translatekit publish``.
        progress: told what is being done.

    Raises:
        TranslatekitError: the model cannot be run by Triton, or the repository holds another of its name.
    """
    assert out is not None
    backend = options.runtime()
    runtime = _RUNTIMES.get(backend)
    if runtime is None:
        raise OptionError(
            f"Triton runs no models of {backend}: pass --for with one of {', '.join(_RUNTIMES)}"
        )
    if model.info.bridge is not None:
        raise OptionError(
            f"{model.path} takes several passes for an image, and Triton runs one: publish it --as docker or --as hub"
        )
    name = _name(model, options)
    folder = out / name
    with new_folder(folder, "triton", CONFIG, options.force) as made:
        version = made / "1"
        version.mkdir()
        how: dict[str, Any] = {}
        if backend == "tensorrt":
            how = {"flavour": "tensorrt", "batch": f"1,{options.max_batch},{options.max_batch}"}
        form = compiled(model, backend, version, options, progress, **how)
        batch = _largest_batch(form.path, backend, options.max_batch)
        profiles = len(read_header(form.path).profiles) if backend == "tensorrt" else 1
        kept = {runtime.file, "model.bin"}
        form.path.rename(version / runtime.file)
        for path in version.iterdir():
            if path.name not in kept:
                path.unlink()
        text = write_config(name, backend, form.info, batch, profiles)
        (made / CONFIG).write_text(text, encoding="utf-8")
    details = {"name": name, "backend": backend, "input": INPUT, "output": OUTPUT}
    return Published(
        path=folder,
        kind="triton",
        bytes=size_of(folder),
        details=details,
        notes=_notes(model, form.info, out, name),
    )


def _notes(model: Model, info: ModelInfo, out: Path, name: str) -> tuple[str, ...]:
    notes = [f"Serve it with tritonserver --model-repository {out.resolve()}, and ask for the model {name}"]
    if sides := _fixed_sides(info):
        notes.append(f"Triton does not resize: images must have {sides[1]}x{sides[0]} pixels")
    elif info.size_multiple > 1:
        notes.append(
            f"Triton does not pad: the sides of images must be multiples of {info.size_multiple} pixels"
        )
    if model.others:
        notes.append(f"It is {info.direction} alone: publish the run's other directions with --direction")
    return tuple(notes)


def _name(model: Model, options: PublishOptions) -> str:
    """The model's name in the repository, which is a folder's and stands in the addresses of requests."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", model.name).strip("-.") or "model"
    return name if options.direction is None else f"{name}-{model.info.direction}"


def _largest_batch(path: Path, backend: str, asked: int) -> int:
    """The most images at once that the model takes and that are asked for.

    Raises:
        OptionError: Triton cannot run the engine.
    """
    if backend != "tensorrt":
        return asked
    header = read_header(path)
    if header.flavour != "tensorrt":
        raise OptionError(
            "the engine is for TensorRT-RTX, which Triton does not run: compile the model with --flavour tensorrt on a "
            "machine with the server's GPU"
        )
    smallest = max(profile.minimum[0] for profile in header.profiles)
    if smallest > 1:
        raise OptionError(
            f"the engine takes {smallest} images or more at once, and Triton may ask for one: compile it with --batch "
            "1,8,32"
        )
    return min(asked, *(profile.maximum[0] for profile in header.profiles))


def write_config(name: str, backend: str, info: ModelInfo, batch: int, profiles: int = 1) -> str:
    """The text of ``config.pbtxt``, a `ModelConfig` of Triton's model_config.proto.

    Args:
        name: of the model.
        backend: that runs it.
        info: its header.
        batch: the most images at once.
        profiles: how many optimization profiles an engine has. Triton uses the first alone where none are named.
    """
    runtime = _RUNTIMES[backend]
    precision = str(info.compiled.get("precision", "fp32"))
    lines = [
        f"# {_comment(info)}",
        f"name: {json.dumps(name)}",
        f"backend: {json.dumps(backend)}",
        f"default_model_filename: {json.dumps(runtime.file)}",
        f"max_batch_size: {batch if runtime.batches else 0}",
    ]
    ends = zip(
        ("input", "output"), (INPUT, OUTPUT), graph_dtypes(info), (info.input, info.output), strict=True
    )
    sides = _fixed_sides(info) or (-1, -1)
    for side, tensor, dtype, spec in ends:
        dims = [*([] if runtime.batches else [-1]), *sides, spec.count]
        lines.append(
            f"{side} [\n  {{\n    name: {json.dumps(tensor)}\n    data_type: {_TYPES[dtype]}\n"
            f"    dims: [ {', '.join(map(str, dims))} ]  # {'' if runtime.batches else 'images, '}height, width, "
            "channels\n  }\n]"
        )
    if runtime.batches:
        lines.append("dynamic_batching { }")
    on_gpu = precision in ("fp16", "bf16") or profiles > 1
    kind = "KIND_CPU" if runtime.cpu else "KIND_GPU" if on_gpu else None
    if kind is not None:
        numbers = ", ".join(json.dumps(str(number)) for number in range(profiles))
        chosen = f"    profile: [ {numbers} ]\n" if profiles > 1 else ""
        lines.append(f"instance_group [\n  {{\n    count: 1\n    kind: {kind}\n{chosen}  }}\n]")
    if backend == "openvino" and precision == "bf16":
        lines.append('parameters {\n  key: "HINT_BF16"\n  value { string_value: "YES" }\n}')
    return "\n".join(lines) + "\n"


def _fixed_sides(info: ModelInfo) -> tuple[int, int] | None:
    """Height and width of what a graph takes, in pixels; None where they are free, or an engine's own."""
    shapes = info.compiled.get("shapes", "any")
    if not isinstance(shapes, str) or shapes == "any":
        return None
    size = Size.parse(shapes)
    return size.height, size.width


def _comment(info: ModelInfo) -> str:
    """What a reader of the configuration wants to know, on one line."""
    words = f"{info.method} {info.generator}, {info.direction}: {info.input} to {info.output}; sides are multiples of "
    return " ".join(f"{words}{info.size_multiple} pixels".split())
