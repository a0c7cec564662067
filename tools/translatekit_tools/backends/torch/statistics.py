"""Normalization of an image's parts by the statistics of the whole image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.inference.statistics import Parts
from translatekit.networks.layers import BatchNorm2d


class _MeasuredError(Exception):
    """Ends a pass at the layer whose statistics it is for."""


class _Layer:
    """One normalization layer, while its statistics are fixed."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None
        self.sums: list[Tensor] = []

    def measure(self, x: Tensor, weights: Tensor) -> None:
        pooled = F.adaptive_avg_pool2d(weights[None, None], (x.shape[2], x.shape[3]))
        x = x.double()
        area = (weights.shape[0] / x.shape[2]) * (weights.shape[1] / x.shape[3])
        w = pooled.double() * area
        parts = [w.sum(), (x * w).sum(dim=(0, 2, 3)), (x.square() * w).sum(dim=(0, 2, 3))]
        self.sums = [a + b for a, b in zip(self.sums, parts, strict=True)] if self.sums else parts

    def fix(self) -> None:
        total, first, second = self.sums
        self.mean = first / total
        self.variance = (second / total - self.mean.square()).clamp_min(0)
        self.sums = []

    def normalize(self, x: Tensor) -> Tensor:
        assert self.mean is not None
        assert self.variance is not None
        weight = getattr(self.module, "weight", None)
        bias = getattr(self.module, "bias", None)
        eps: float = self.module.eps  # type: ignore[assignment]
        mean, variance = self.mean.float(), self.variance.float()
        result = F.batch_norm(x.float(), mean, variance, weight, bias, training=False, eps=eps)
        return result.to(x.dtype)


@contextlib.contextmanager
def fixed_statistics(model: nn.Module, parts: Parts, run: Callable[[np.ndarray], Any]) -> Iterator[None]:
    """Within, layers that normalize by an image's own statistics use those of the image that `parts` make up.

    A layer's statistics depend on those of the layers before, so there is one pass over the parts for each layer,
    which ends at that layer.

    Args:
        model: whose layers.
        parts: of the image.
        run: sends one part through `model`.

    Raises:
        OptionError: there is a layer of another kind that depends on the whole image.
    """
    layers = {module: _Layer(module) for module in model.modules() if _by_image(module)}
    refused = [
        type(module).__name__ for module in model.modules() if isinstance(module, nn.GroupNorm | nn.LayerNorm)
    ]
    if refused:
        raise OptionError(f"--tile cannot fix the statistics of {refused[0]} over tiles: leave it out")
    current: dict[str, Any] = {"weights": None}

    def forward(layer: _Layer) -> Callable[[Tensor], Tensor]:
        def normalize(x: Tensor) -> Tensor:
            if layer.mean is None:
                layer.measure(x, current["weights"].to(x.device))
                current["measured"] = layer
                raise _MeasuredError
            return layer.normalize(x)

        return normalize

    with contextlib.ExitStack() as stack:
        for module, layer in layers.items():
            module.forward = forward(layer)
            stack.callback(module.__dict__.pop, "forward")
        for _ in layers:
            current["measured"] = None
            for part, weights in parts():
                current["weights"] = torch.from_numpy(np.ascontiguousarray(weights))
                with contextlib.suppress(_MeasuredError):
                    run(part)
            if current["measured"] is None:  # a layer that the network never comes to
                break
            current["measured"].fix()
        yield


def _by_image(module: nn.Module) -> bool:
    if isinstance(module, BatchNorm2d):
        return module.inference == "per_image"
    return isinstance(module, nn.InstanceNorm2d) and not module.track_running_stats
