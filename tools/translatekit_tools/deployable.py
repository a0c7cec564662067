"""The network as it is deployed: images in, images out, with all arithmetic between inside of the graph."""

from __future__ import annotations

import torch
from torch import nn

from translatekit.images.color_torch import gray_to_l, lab_to_rgb
from translatekit.types import Color


class NotFiniteError(Exception):
    """An output is not a finite number."""


class Deployable(nn.Module):
    """A generator between the pixels of decoded images.

    Traces and exports as one graph for each dtype of its input: only tensor operations depend on the data.
    """

    def __init__(self, network: nn.Module, color: Color = "rgb", *, checks: bool = False) -> None:
        """Wrap a network.

        Args:
            network: maps (N, C, H, W) in [-1, 1] to (N, C', H, W) in [-1, 1], in evaluation mode.
            color: what its channels mean; ``lab`` is L in and ab out, made from gray and into RGB here.
            checks: raise `NotFiniteError` where an output is no number, which 8 bits would show as black. Such a
                module cannot be exported.
        """
        super().__init__()
        self.network = network
        self.color = color
        self.checks = checks

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Translate a batch.

        Args:
            batch: (N, H, W, C), uint8 in [0, 255] or float32 in [0, 1].

        Raises:
            NotFiniteError: with `checks`, an output is NaN or infinite.

        Returns:
            (N, H, W, C') of the same dtype, rounded to the nearest level and clamped; C' is 3 for ``lab``.
        """
        # Cast first: TensorRT has uint8 only at the ends of a graph, directly beside a cast.
        images = batch.to(torch.float32).permute(0, 3, 1, 2)
        if batch.dtype == torch.uint8:
            images = images / 255.0
        if self.color == "lab":
            lightness = gray_to_l(images)
            result = lab_to_rgb(lightness, self.network(lightness).to(torch.float32))
        else:
            result = (self.network(images * 2.0 - 1.0).to(torch.float32) + 1.0) / 2.0
        if self.checks and not bool(result.isfinite().all()):
            raise NotFiniteError
        result = result.clamp(0.0, 1.0).permute(0, 2, 3, 1)
        if batch.dtype == torch.uint8:
            return torch.round(result * 255.0).to(torch.uint8)
        return result
