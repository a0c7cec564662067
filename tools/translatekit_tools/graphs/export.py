"""From a model file to ONNX, through PyTorch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from translatekit.errors import ModelFileError
from translatekit.model_info import ModelInfo
from translatekit.networks.loading import load_network
from translatekit_tools.deployable import Deployable
from translatekit_tools.graphs.onnx_file import INPUT, OUTPUT, set_info

OPSET = 20


def export_onnx(path: Path, out: Path, dtype: str = "uint8") -> ModelInfo:
    """Write a model file as ONNX in fp32, pre- and post-processing inside the graph.

    The graph maps ``image`` (N, H, W, C) to ``translated`` (N, H, W, C'), images as the header says. N, H and W are
    free, H and W being multiples of the network's size multiple; a network that cannot be traced so keeps the size it
    was trained at. Batch normalization by running statistics is folded into the convolutions.

    Args:
        path: a ``.safetensors`` file.
        out: the file to write.
        dtype: of ``image``, ``uint8`` or ``float32``; and of ``translated``, where its images have levels.

    Returns:
        The header that was written into it.

    Raises:
        ModelFileError: the network cannot be exported.
    """
    network, info = load_network(path)
    model = Deployable(network.eval(), info.input, info.output).eval()
    side = -(-info.size // info.size_multiple) * info.size_multiple
    program, free = _export(model, info, side, path, getattr(torch, dtype))
    shapes = "any" if free else f"{side}x{side}"
    info = replace(info, compiled={"precision": "fp32", "dtype": dtype, "shapes": shapes})
    proto = program.model_proto
    set_info(proto, info)
    out.write_bytes(proto.SerializeToString())
    return info


def _export(model: nn.Module, info: ModelInfo, side: int, path: Path, dtype: torch.dtype) -> tuple[Any, bool]:
    # Two images, and sides that differ: what is 1, or equal, the tracer would take for a constant.
    free = torch.zeros(2, side, side + info.size_multiple, info.input.count, dtype=dtype)
    fixed = torch.zeros(2, side, side, info.input.count, dtype=dtype)
    dynamic = torch.export.Dim.DYNAMIC
    reasons = []
    for image, axes in ((free, (0, 1, 2)), (fixed, (0,))):
        try:
            with _quietly():
                program = torch.onnx.export(
                    model,
                    (image,),
                    dynamo=True,
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_shapes=(dict.fromkeys(axes, dynamic),),
                    verbose=False,
                )
            return program, len(axes) == 3
        except Exception as error:  # the exporter raises nearly anything on what it cannot trace
            reasons.append(" ".join(str(error).split())[:300])
    raise ModelFileError(
        f"the generator {info.generator!r} of {path} cannot be exported to ONNX ({reasons[-1]}): "
        "run it as it is, or change what its forward does with Python values"
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's remarks off the terminal: what goes wrong, it raises."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
