"""The files that are published: those of the model as it is, and those that it is compiled to for a runtime."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translatekit.errors import OptionError
from translatekit.interfaces import Progress
from translatekit.model_info import ModelInfo
from translatekit.registry import registry
from translatekit.storage import companions
from translatekit_tools.publish.model import Model
from translatekit_tools.publish.options import PublishOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A model file in a folder that is published.

    Attributes:
        path: the file itself.
        info: its header.
        bytes: of it and all that belongs to it.
    """

    path: Path
    info: ModelInfo
    bytes: int


def copied(file: Path, info: ModelInfo, out: Path) -> Form:
    """A model file as it is, with what belongs to it.

    Args:
        file: of any backend.
        info: its header.
        out: the file to write.
    """
    if file.is_dir():
        shutil.copytree(file, out)
        return Form(path=out, info=info, bytes=sum(each.stat().st_size for each in out.rglob("*")))
    pairs = [
        (file, out),
        *zip(map(Path, companions(str(file))), map(Path, companions(str(out))), strict=True),
    ]
    found = [(source, copy) for source, copy in pairs if source.is_file()]
    for source, copy in found:
        shutil.copyfile(source, copy)
    return Form(path=out, info=info, bytes=sum(copy.stat().st_size for _, copy in found))


def compiled(
    model: Model, backend: str, folder: Path, options: PublishOptions, progress: Progress, **how: Any
) -> Form:
    """The model as a runtime takes it: compiled and compared, or copied where its file is that runtime's own.

    Args:
        model: what is published.
        backend: its name.
        folder: where the file goes, which is called ``model`` there.
        options: ``precision`` is looked at.
        progress: told what is being done.
        how: options of the compilation.

    Raises:
        PluginError: there is no such backend, or what compiles for it is not installed.
        OptionError: nothing compiles for it, or the model is compiled for another one.
        ModelFileError: the compiled model is past the tolerance.
    """
    from translatekit.model_file import read_any_info
    from translatekit_tools.compile import compile_model

    spec = registry("backend").get(backend)
    if model.path.suffix in spec.suffixes:
        check_precision(model, options)
        return copied(model.path, model.info, folder / f"model{model.path.suffix}")
    if spec.compiler is None or not spec.suffixes:
        raise OptionError(
            f"nothing is compiled for {backend}: pass --for onnxruntime, or another with a compiler"
        )
    out = folder / f"model{spec.suffixes[0]}"
    if options.precision is not None:
        how["precision"] = options.precision
    report = compile_model(model.path, out, progress=progress, backend=backend, **how)
    return Form(path=out, info=read_any_info(out), bytes=report.bytes)


def check_precision(model: Model, options: PublishOptions) -> None:
    """Refuse to compile what is compiled already in another precision.

    Raises:
        OptionError: another one is asked for.
    """
    own = str(model.info.compiled.get("precision", "fp32"))
    if options.precision not in (None, own):
        raise OptionError(
            f"{model.path} is in {own} and stays so: leave out --precision {options.precision}, or publish the model "
            "file that it was compiled from"
        )
