"""Writing ``.onnx`` files, for ONNX Runtime and everybody else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from translatekit.errors import OptionError
from translatekit.interfaces import ModelSource, Progress
from translatekit_tools.backends.options import CompileOptions


def compile(source: ModelSource, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:  # noqa: A001
    """Write an ``.onnx`` file.

    Args:
        source: the model.
        out: the file to write.
        options: ``precision`` is looked at; fp16 and bf16 stand in the graph, and need a GPU to run.
        progress: told what is being done.

    Returns:
        Backend, precision and versions.

    Raises:
        OptionError: int8, which is OpenVINO's; or a precision that cannot be compared on this machine.
    """
    import onnx

    from translatekit_tools.backends.onnxruntime.translator import onnxruntime

    precision = options.precision
    if precision == "int8":
        raise OptionError("int8 is compiled for OpenVINO: let the output end in .xml")
    if precision == "bf16" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise OptionError(
            "a bf16 .onnx runs on CUDA only and cannot be checked here: "
            "compile to .xml for a CPU, or run pip install onnxruntime-gpu on a machine with a GPU"
        )
    progress("exporting to ONNX", None)
    shutil.copyfile(source.onnx(precision), out)
    return {
        "backend": "onnxruntime",
        "precision": precision,
        "shapes": source.info.compiled.get("shapes", "any"),
        "versions": {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
    }
