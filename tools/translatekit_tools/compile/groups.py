"""Which part of a network loses most at a precision, by rounding one part at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from translatekit.networks.loading import load_network
from translatekit_tools.backends.parity import compare_outputs
from translatekit_tools.deployable import Deployable

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def worst_group(path: Path, precision: str, images: Sequence[np.ndarray]) -> tuple[str, float] | None:
    """The child module of the network whose convolutions alone, at that precision, cost most.

    Weights and inputs of the convolutions are rounded and the sums are taken in float32, which is what hardware does.

    Args:
        path: a ``.safetensors`` file.
        precision: ``fp16``, ``bf16`` or ``int8``.
        images: (H, W, C), of the dtype that the graph takes.

    Returns:
        Its name and the PSNR in dB that is left when only it is rounded; None where there are not two to choose from.
    """
    if precision not in ("fp16", "bf16", "int8"):
        return None
    network, info = load_network(path)
    model = Deployable(network.eval(), info.input, info.output).eval()
    groups = {
        name: [module for module in child.modules() if isinstance(module, _CONVOLUTIONS)]
        for name, child in network.named_children()
    }
    groups = {name: modules for name, modules in groups.items() if modules}
    if len(groups) < 2:
        return None

    def outputs() -> list[np.ndarray]:
        with torch.inference_mode():
            return [model(torch.from_numpy(np.array(image))[None]).numpy() for image in images]

    expected = outputs()
    scores = {}
    for name, modules in groups.items():
        with ExitStack() as stack:
            for module in modules:
                _round(module, precision, stack)
            scores[name] = compare_outputs(zip(expected, outputs(), strict=True), "", info.output).psnr
    worst = min(scores, key=scores.__getitem__)
    return worst, scores[worst]


def _round(module: nn.Module, precision: str, undo: ExitStack) -> None:
    rounded = _to_int8 if precision == "int8" else _to_half(precision)
    weight: Tensor = module.weight  # type: ignore[assignment]
    original = weight.data
    outputs_first = isinstance(module, nn.Conv2d)
    weight.data = rounded(original, 0 if outputs_first else 1)
    hook = module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0], None), *inputs[1:]))
    undo.callback(hook.remove)
    undo.callback(setattr, weight, "data", original)


def _to_half(precision: str) -> Callable[[Tensor, int | None], Tensor]:
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return lambda values, axis: values.to(dtype).to(torch.float32)


def _to_int8(values: Tensor, axis: int | None) -> Tensor:
    """Symmetric levels; a scale a channel along `axis`, or one for all."""
    others = [other for other in range(values.ndim) if other != axis]
    scale = values.abs().amax(dim=others, keepdim=True).clamp_min(1e-12) / 127
    return torch.round(values / scale) * scale
