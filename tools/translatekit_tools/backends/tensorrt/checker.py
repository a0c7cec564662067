"""What a new engine is compared by: itself where a GPU is that runs it, else its graph, simulated on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from translatekit.errors import ModelFileError, OptionError, PluginError
from translatekit.interfaces import Translator
from translatekit_tools.backends.tensorrt.cuda.device import driver
from translatekit_tools.backends.tensorrt.cuda.driver import find_gpu
from translatekit_tools.backends.tensorrt.engine_file import check_gpu, graph_path, read_header
from translatekit_tools.graphs import onnx_file
from translatekit_tools.graphs.half import simulate_half

SIMULATED = "simulated, not run on a GPU"


def load(path: Path, device: str) -> tuple[Translator, str]:
    """A translator that computes as an engine does, and how: `SIMULATED`, or nothing where it is the engine.

    Args:
        path: the engine.
        device: as for ``translatekit compile``.

    Raises:
        PluginError: ONNX Runtime, which simulates, is not installed.
        TranslatekitError: the engine cannot be loaded on the GPU that it was built on.
    """
    from translatekit_tools.backends.tensorrt import translator as tensorrt

    header = read_header(path)
    if header.targets:
        device = "auto" if device == "cpu" else device
        try:
            check_gpu(path, header, find_gpu(device))
            driver()
        except (OptionError, ModelFileError, PluginError):
            return simulate(graph_path(path)), SIMULATED
    return tensorrt.load(path, device), ""


def simulate(graph: Path) -> Translator:
    """A translator that computes an engine's graph on the CPU, rounding as the graph says and nowhere else.

    Args:
        graph: the ONNX file that the engine was built from.

    Raises:
        PluginError: ONNX Runtime is not installed.
    """
    try:
        from translatekit_tools.backends.onnxruntime.translator import OnnxTranslator, onnxruntime
    except ImportError as error:
        raise PluginError(
            f"the engine cannot be compared with the model without a GPU ({error}): "
            "run pip install 'translatekit[tensorrt-rtx]'"
        ) from None
    options = onnxruntime.SessionOptions()
    # Nothing may be left out or put together: casts there and back are what is simulated.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(simulate_half(graph), options, providers=["CPUExecutionProvider"])
    return OnnxTranslator(session, onnx_file.read_info(graph), "cpu", _no_statistics)


def _no_statistics() -> NoReturn:
    raise OptionError("a simulated engine cannot fix statistics: translate whole images")
