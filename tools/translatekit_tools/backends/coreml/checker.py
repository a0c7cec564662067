"""What a new package is compared by: Core ML where it is, else its own program, computed in PyTorch."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from translatekit.interfaces import Translator
from translatekit.model_info import ModelInfo
from translatekit_tools.backends.coreml import translator
from translatekit_tools.backends.coreml.ends import is_image
from translatekit_tools.backends.coreml.package import read_info
from translatekit_tools.backends.coreml.program import Program

COMPUTED = "not run by Core ML, which is on macOS only: its operations and weights were computed in PyTorch"


def load(path: Path, device: str) -> tuple[Translator, str]:
    """A translator that computes as a package does, and how: `COMPUTED`, or nothing where it is Core ML itself.

    Args:
        path: the package, without a report in its header yet.
        device: as for ``translatekit compile``.

    Raises:
        TranslatekitError: the package cannot be loaded or computed.
    """
    if sys.platform == "darwin":
        return translator.load(path, device), ""
    info = read_info(path)
    return translator.CoreMLTranslator(partial(_compute, Program(path), info), info, "cpu"), COMPUTED


def _compute(program: Program, info: ModelInfo, image: np.ndarray) -> np.ndarray:
    """Translate an image (H, W, C) by a program."""
    dtype = str(info.compiled.get("dtype", "uint8"))
    given = torch.from_numpy(np.array(image, np.float32))[None]
    with torch.inference_mode():
        output = program(given.permute(0, 3, 1, 2) if is_image(info.input, dtype) else given)
    values = (output.permute(0, 2, 3, 1) if is_image(info.output, dtype) else output)[0].numpy()
    return values.clip(0, 255).round() if info.output.levels and dtype == "uint8" else values
