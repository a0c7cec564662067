"""What this package offers to translatekit."""

from __future__ import annotations

from collections.abc import Iterable

from translatekit.hookspecs import hookimpl
from translatekit.specs import BackendSpec, CommandSpec


@hookimpl
def register_backends() -> Iterable[BackendSpec]:
    """What runs model files."""
    yield BackendSpec(
        name="torch",
        target="translatekit_tools.backends.torch:load",
        summary="PyTorch, on model files as they come from training",
        suffixes=(".safetensors",),
        devices=("cpu", "cuda", "mps"),
    )
    yield BackendSpec(
        name="tensorrt",
        target="translatekit_tools.backends.tensorrt:load",
        summary="TensorRT, on engines built for the NVIDIA GPU they run on",
        suffixes=(".engine",),
        devices=("cuda",),
        requires=("tensorrt=translatekit[tensorrt]", "pycuda=translatekit[tensorrt]"),
    )


@hookimpl
def register_commands() -> Iterable[CommandSpec]:
    """Commands of the tools."""
    yield CommandSpec(
        name="run",
        target="translatekit_tools.cli.run:run",
        summary="translate files and folders with a trained model",
        api="translatekit_tools.bulk:translate",
    )
    yield CommandSpec(
        name="import",
        target="translatekit_tools.cli.import_checkpoint:import_checkpoint",
        summary="turn a .pth checkpoint of the reference implementation into a model file",
        api="translatekit_tools.importer:import_checkpoint",
    )
    yield CommandSpec(
        name="demo",
        target="translatekit_tools.cli.demo:demo",
        summary="train on drawn facades, translate new ones, and show the result: about a minute",
    )
    yield CommandSpec(
        name="paint",
        target="translatekit_tools.cli.paint:paint",
        summary="a page to draw on and to drop photographs in, with the translation beside it",
        requires=tuple(
            f"{module}=translatekit[paint]" for module in ("starlette", "uvicorn", "python_multipart")
        ),
    )
